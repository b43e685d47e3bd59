"""The space that Hydra's overrides describe: `lr=tag(log, interval(1e-5, 1e-1)) model=mlp,cnn`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
    Transformer,
)

from raysearch.core.values import identity, plain
from raysearch.errors import LocatedError, SpecError, unknown
from raysearch.space.space import Space

LOG = "log"
MOST = 10_000  # values of a range
LIST_THEM = "write interval({0}, {1}), or int(interval({0}, {1})) for whole numbers"


@dataclass(frozen=True, slots=True)
class Swept:
    """A key of Hydra's that is searched.

    Attributes:
        key: as Hydra spells it, with `+` and `@package`.
        texts: identity of a listed value -> how the override writes it; empty for numbers of an interval.
    """

    key: str
    texts: Mapping[Hashable, str] = field(default_factory=dict)

    def override(self, value: Any) -> str:
        """`lr=0.01`: the override that gives the key this value."""
        value = plain(value)
        text = self.texts.get(identity(value))
        return f"{self.key}={Override._get_value_element_as_str(value) if text is None else text}"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line and `hydra.sweeper.params` say.

    Attributes:
        space: of the keys that are searched, by their names: `optimizer.lr`, `db.engine` for `db/engine`.
        swept: name in the space -> the key.
        fixed: the other overrides, as they were written.
    """

    space: Space
    swept: Mapping[str, Swept]
    fixed: tuple[str, ...]


def read_overrides(
    arguments: Sequence[str], params: Mapping[str, Any], loader: ConfigLoader | None = None
) -> Overrides:
    """The space and the fixed overrides; an argument comes before the parameter of its key.

    >>> found = read_overrides(["lr=tag(log, interval(0.001, 1))", "epochs=3"], {"layers": "range(1, 4)"})
    >>> found.space.to_dict(), found.fixed
    ({'layers': {'randint': [1, 3]}, 'lr': {'loguniform': [0.001, 1.0]}}, ('epochs=3',))

    Args:
        loader: of the application's configurations, in which `glob` looks.

    Raises:
        SpecError: a sweep cannot be searched, or nothing is swept.
        hydra.errors.HydraException: an override is not of Hydra's grammar.
    """
    lines = [f"{key}={'null' if value is None else value}" for key, value in params.items()]
    parser = OverridesParser.create(config_loader=loader)
    latest = {one.get_key_element(): one for one in parser.parse_overrides([*lines, *arguments])}
    forms: dict[str, Any] = {}
    swept: dict[str, Swept] = {}
    fixed: list[str] = []
    for key, override in latest.items():
        if not override.is_sweep_override():
            fixed.append(str(override.input_line))
            continue
        form, texts = _read(override)
        if form is None:
            fixed.append(f"{key}={next(iter(texts.values()))}")
            continue
        name = _name(override)
        if name in swept:
            raise SpecError(f"{override.input_line}: {swept[name].key} is swept too; leave out one of them")
        forms[name], swept[name] = form, Swept(key, texts)
    if not forms:
        raise SpecError(
            "hydra/sweeper=raysearch: nothing is swept; give at least one key values to choose from, such as "
            "'lr=tag(log, interval(0.0001, 0.1))' or model=mlp,cnn, here or under hydra.sweeper.params"
        )
    return Overrides(Space.from_dict(forms), swept, tuple(fixed))


def _name(override: Override) -> str:
    package = f"@{override.package}" if override.package else ""
    return override.key_or_group.replace("/", ".") + package


def _read(override: Override) -> tuple[dict[str, Any] | None, dict[Hashable, str]]:
    """The domain in a space's form and the texts of its values; None for the form of a single value."""
    value = override.value()
    tags: set[str] = getattr(value, "tags", set())
    if others := tags - {LOG}:
        raise SpecError(f"{override.input_line}: {unknown('tag', sorted(others)[0], [LOG])}")
    is_log = LOG in tags
    texts: dict[Hashable, str] = {}
    if isinstance(value, IntervalSweep):
        form = _interval(value, is_log)
    elif is_log:
        raise SpecError(
            f"{override.input_line}: the tag log is for an interval: tag(log, interval(low, high))"
        )
    else:
        listed = _listed(override)
        texts = {identity(plain(one)): text for one, text in listed}
        values = [one for one, _ in listed]
        if len(texts) < len(values):
            raise SpecError(f"{override.input_line}: a value is listed twice; leave it out once")
        if len(values) == 1:
            return None, texts
        form = _ordered(values) if isinstance(value, RangeSweep) else {"choice": values}
    try:
        Space.from_dict({"value": form})
    except LocatedError as error:
        raise SpecError(f"{override.input_line}: {error.text}") from None
    return form, texts if "choice" in form else {}


def _interval(value: IntervalSweep, is_log: bool) -> dict[str, Any]:
    """Numbers between the bounds; of an interval that was cast to whole numbers, both bounds too."""
    bounds: list[Any] = [value.start, value.end]
    is_whole = all(isinstance(bound, int) for bound in bounds)
    kind = ("lograndint" if is_log else "randint") if is_whole else "loguniform" if is_log else "uniform"
    return {kind: bounds}


def _listed(override: Override) -> list[tuple[Any, str]]:
    """(value, how the override writes it) of each value of a choice, range or glob."""
    value = override.value()
    if isinstance(value, RangeSweep):
        start, stop, step = (float(x or 0) for x in (value.start, value.stop, value.step))
        if step == 0 or (stop - start) / step > MOST:
            many = "has no end" if step == 0 else f"has more than {MOST:,} values"
            raise SpecError(f"{override.input_line}: {many}; {LIST_THEM.format(value.start, value.stop)}")
    if isinstance(value, (RangeSweep, ChoiceSweep)):
        value.shuffle = False  # drawn at random anyway, and two iterators shuffle differently
    values = override.sweep_iterator(transformer=_value)
    texts = override.sweep_string_iterator()
    found = [*zip(values, texts, strict=True)]
    if not found:
        raise SpecError(f"{override.input_line}: has no value; see what there is to choose from")
    return found


def _value(element: Any) -> Any:
    """A listed element as a value of the space; a list, a mapping and null as Hydra writes them."""
    return element.text if isinstance(element, QuotedString) else Transformer.encode(element)


def _ordered(values: list[Any]) -> dict[str, Any]:
    """The numbers of a range, in order."""
    low, high = min(values), max(values)
    if all(isinstance(one, int) for one in values) and high - low == len(values) - 1:
        return {"randint": [low, high]}
    return {"ordinal": sorted(values)}
