"""From a search at a small scale to settings for its target, with what is to be doubted about them.

Public as `raysearch.scaling`:

    found = raysearch.scaling.transfer(raysearch.load("runs/small"))
    print(found)
    results = raysearch.launch.launch(found.spec)      # one guarded training at the target, nudged by panda
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.core.formatting import number
from raysearch.core.segment import Config
from raysearch.core.values import is_number
from raysearch.core.yaml_io import write_yaml
from raysearch.errors import RunError, SpecError
from raysearch.space.domains import Domain
from raysearch.space.names import dotted
from raysearch.space.numeric import Interval
from raysearch.space.space import Space
from raysearch.spec.scale import SAME, SEARCH, Scale, scale_of, sizes_of
from raysearch.spec.search_spec import SearchSpec, load_spec
from raysearch.storage.atomic import replace_text
from raysearch.storage.mirror import storage_of
from raysearch.storage.paths import COORDINATE_CHECK, RunPaths
from raysearch.strategies import registry
from raysearch.strategies.base import abilities_of
from raysearch.strategies.scale_laws import (
    Along,
    Kind,
    Law,
    Ruled,
    best_value,
    fit_law,
    kind_of,
    ruled,
)

if TYPE_CHECKING:
    from raysearch.results.results import Results
    from raysearch.torch.scaling import CoordinateCheck

__all__ = ["Transfer", "Transferred", "transfer"]

NARROW = 32  # Tensor Programs V, appendix D.4, advises at least as much for heads of attention
EDGE = 0.05  # of a domain: so near to an end, in its own scale, a best value lies at the edge
AROUND = 4.0  # panda may move a hyper-parameter on a log scale this far from where it begins
SPEC_FILE, SETTINGS_FILE = "target.yaml", "target-settings.yaml"
NO_CHECK = (
    "no coordinate check lies in the run's folder, so nobody saw whether models of all widths learn alike: "
    "raysearch.torch.scaling.coordinate_check(make, widths).save(folder) takes seconds"
)


@dataclass(frozen=True, slots=True)
class Transferred:
    """A hyper-parameter at the scale of the search and at the target.

    Attributes:
        name: with dots between group and member.
        by: which rule or law gave the value.
        interval: 95%, of a fitted law; None of a rule.
        transfers: False where the value is carried although nothing says that it holds at the target.
        doubts: in words; empty where nothing is known against it.
        past: how often it held in earlier transfers, in words; empty where that is not known.
    """

    name: str
    proxy: Any
    value: Any
    by: str
    interval: tuple[float, float] | None
    transfers: bool
    doubts: tuple[str, ...]
    past: str = ""


@dataclass(frozen=True)
class Transfer:
    """Settings for the target of a search.

    Attributes:
        settings: the configuration at the target, without the sizes.
        sizes: of the target.
        values: one for each hyper-parameter.
        check: the coordinate check in the run's folder; None without one.
        spec: one guarded training at the target: panda from these settings, put back where it spikes.

    `print` it for a table in words.
    """

    settings: Config
    sizes: Mapping[str, Any]
    values: tuple[Transferred, ...]
    check: CoordinateCheck | None
    spec: SearchSpec
    scale: Scale

    @property
    def verdict(self) -> str:
        """Whether to believe the settings: `transfers`, `in doubt: ...` or `does not transfer: ...`."""
        if self.check is not None and not self.check.passed and _has_shape(self.scale):
            return f"does not transfer: the coordinate check {self.check.verdict}"
        lost = [one.name for one in self.values if not one.transfers and kind_of(one.name) is not Kind.OTHER]
        if lost:
            return f"does not transfer: {', '.join(lost)}; search at the target"
        doubted = [one.name for one in self.values if one.doubts]
        why = [f"{', '.join(doubted)} (see below)"] if doubted else []
        if self.check is None and _has_shape(self.scale):
            why.append("no coordinate check")
        why += _narrow(self.scale)
        return f"in doubt: {'; '.join(why)}" if why else "transfers"

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """Writes the target's spec and its settings into a folder; returns the two files."""
        spec, settings = Path(folder) / SPEC_FILE, Path(folder) / SETTINGS_FILE
        replace_text(spec, self.spec.to_yaml())
        rows = {
            one.name: {
                "proxy": one.proxy,
                "target": one.value,
                "by": one.by,
                "interval": None if one.interval is None else list(one.interval),
                "transfers": one.transfers,
                "doubts": list(one.doubts),
                **({"past": one.past} if one.past else {}),
            }
            for one in self.values
        }
        written = {"verdict": self.verdict, "settings": {**self.settings, **self.sizes}, "values": rows}
        replace_text(settings, write_yaml(written))
        return spec, settings

    def __str__(self) -> str:
        grown = ", ".join(
            f"{name} {number(self.scale.proxy[name])} -> {number(size)}" for name, size in self.sizes.items()
        )
        lines = [f"{grown}, parametrization {self.scale.parametrization}: {self.verdict}"]
        lines += [f"  {_line(one)}" for one in self.values]
        lines += [f"  {one.name}: {doubt}" for one in self.values for doubt in one.doubts]
        if self.check is not None:
            lines.append(f"  coordinate check {self.check.verdict}")
        elif _has_shape(self.scale):
            lines.append(f"  {NO_CHECK}")
        return "\n".join(lines)


def transfer(results: Results, others: Sequence[Results] = (), *, trainable: Any = None) -> Transfer:
    """The settings of a run's winner at the target that its spec's `scale` names.

    Args:
        others: runs of the same search at other sizes in one dimension. Where the best values of two or more
            scales contradict the rule, the power law fitted through them takes its place, if it is narrow.
        trainable: needed where the run's spec cannot name it, as for `raysearch.resume`.

    Raises:
        RunError: the run has no winner.
        SpecError: its spec has no `scale`, the strategy does not say how long a training is, or the other
            runs are none of the same search.
    """
    spec = load_spec(RunPaths(results.path).spec)
    if not spec.scale:
        raise SpecError(
            f"{results.path}: its spec has no scale; add one, such as scale: {{width: 64, target: 1024}}"
        )
    scale, best = scale_of(spec.scale), results.best.config
    laws = _laws(spec, results, others) if others else {}
    flat = spec.space.flatten({k: v for k, v in best.items() if k in _groups(spec.space)})
    optimizer = str({**spec.config, **best}.get("optimizer", "adam"))
    check = _check(results.path)
    believed = check is None or check.passed or not _has_shape(scale)
    values = tuple(
        _with_edge(
            _transferred(name, value, scale, optimizer, laws.get(name), believed), spec.space.domains[name]
        )
        for name, value in flat.items()
    )
    at_target = {name: one.value for name, one in zip(flat, values, strict=True)}
    return Transfer(
        spec.space.nest(at_target),
        dict(scale.target),
        values,
        check,
        _target_spec(spec, results, at_target, scale, trainable),
        scale,
    )


def _check(run: Path) -> CoordinateCheck | None:
    """The coordinate check in a run's folder; torch is imported only where there is one."""
    if not (run / COORDINATE_CHECK).is_file():
        return None
    from raysearch.torch.scaling.coordinates import load_check

    return load_check(run)


def _transferred(
    name: str, value: Any, scale: Scale, optimizer: str, law: tuple[str, Law] | None, believed: bool
) -> Transferred:
    shown = dotted(name)
    if not is_number(value) or isinstance(value, bool):
        return Transferred(shown, value, value, "as it is", None, True, ())
    rule, by = _rule(name, scale, optimizer)
    doubts = list(rule.doubts)
    if not believed and rule.transfers and kind_of(name) is not Kind.OTHER:
        doubts.append("the rule rests on what the coordinate check did not find")
    new = value * rule.factor
    if law is None:
        return Transferred(shown, value, _like(value, new), by, None, rule.transfers, tuple(doubts))
    dimension, fitted = law
    at, low, high = fitted.at(scale.target[dimension])
    text = f"law fitted along {dimension}: {shown} ~ {dimension}^{fitted.exponent:+.2f}"
    if not fitted.transfers(scale.target[dimension]):
        doubts.append(
            f"{text} ± {fitted.half_width:.2f}, {_span(low, high)} at the target: too wide to say more"
        )
        return Transferred(shown, value, _like(value, new), by, (low, high), rule.transfers, tuple(doubts))
    both = f"{by}; {text} agrees"
    if rule.transfers and believed and low <= new <= high:
        return Transferred(shown, value, _like(value, new), both, (low, high), True, tuple(doubts))
    if rule.transfers and believed:
        doubts.append(f"the rule ({by}) gives {number(new)}, beyond what was found at the smaller scales")
    return Transferred(shown, value, _like(value, at), text, (low, high), True, tuple(doubts))


def _with_edge(one: Transferred, domain: Domain) -> Transferred:
    """The same, in doubt where the search found its best value at an edge of the space."""
    if not isinstance(domain, Interval) or domain.step is not None or kind_of(one.name) is Kind.OTHER:
        return one
    if EDGE < domain.to_unit(one.proxy) < 1.0 - EDGE:
        return one
    doubt = (
        f"the best value found, {number(one.proxy)}, lies at an edge of the space, {domain.describe()}: "
        "better ones may lie beyond it; widen the space and search on before going to the target"
    )
    return dataclasses.replace(one, doubts=(*one.doubts, doubt))


def _rule(name: str, scale: Scale, optimizer: str) -> tuple[Ruled, str]:
    """(what the rule does, its name)."""
    own = scale.rules.get(name, scale.rules.get(dotted(name)))
    if own == SAME:
        return Ruled(1.0, (), ()), "as it is, as the spec says"
    if own == SEARCH:
        return Ruled(
            1.0, (), ("the spec says that it does not transfer: carried as it is",), False
        ), "as it is"
    if own is not None:
        factor = math.prod(scale.growth[dimension] ** exponent for dimension, exponent in own.items())
        words = " ".join(f"{dimension}^{exponent:g}" for dimension, exponent in own.items())
        return Ruled(factor, (), ()), f"x {words}, as the spec says"
    growth: dict[Along, float] = {}
    for dimension, times in scale.growth.items():
        kind = scale.kinds[dimension]
        growth[kind] = growth.get(kind, 1.0) * times
    rule = ruled(name, growth, scale.parametrization, optimizer)
    if not rule.sources:
        return rule, "as it is"
    change = "as it is" if rule.factor == 1.0 else f"x {number(rule.factor)}"
    return rule, f"{change} ({', '.join(rule.sources)})"


def _laws(spec: SearchSpec, results: Results, others: Sequence[Results]) -> dict[str, tuple[str, Law]]:
    """Hyper-parameter -> (dimension, law through its best values in all runs), of numbers above 0."""
    runs = [(results, spec), *((one, load_spec(RunPaths(one.path).spec)) for one in others)]
    for one, its in runs:
        if sizes_of(its.scale).keys() != sizes_of(spec.scale).keys() or its.space.names != spec.space.names:
            raise SpecError(f"{one.path}: is no search of the same space and dimensions as {results.path}")
        if (one.metric, one.mode) != (results.metric, results.mode):
            raise SpecError(
                f"{one.path}: compares {one.metric} ({one.mode}), not {results.metric} ({results.mode})"
            )
    sizes = [sizes_of(its.scale) for _, its in runs]
    differ = [name for name in sizes[0] if len({size[name] for size in sizes}) > 1]
    if len(differ) != 1:
        words = f"differ in {' and '.join(differ)}" if differ else "have all the same sizes"
        raise SpecError(f"the runs {words}; a law is fitted along one dimension in which they differ")
    found = {}
    tables = [longest_trials(one) for one, _ in runs]
    for name in spec.space.free:
        domain = spec.space.domains[name]
        column = f"config.{dotted(name)}"
        is_positive = domain.is_numeric and all(
            (table[column] > 0).all() for table in tables if column in table
        )
        if not is_positive or not all(column in table for table in tables):
            continue
        seen = []
        for (one, _), table, size in zip(runs, tables, sizes, strict=True):
            sign = 1.0 if one.mode == "min" else -1.0
            losses = [sign * value for value in table["value"].tolist()]
            try:
                seen.append(best_value(table[column].tolist(), losses, float(size[differ[0]])))
            except ValueError as error:
                raise SpecError(f"{one.path}: {error}; give it more samples") from None
        found[name] = differ[0], fit_law(seen)
    return found


def longest_trials(results: Results) -> Any:
    """The trials of a run that were trained the longest. Raises RunError where none has ended."""
    table = results.trials()
    if table.empty:
        raise RunError(f"{results.path}: no trial has ended yet")
    return table[table["iterations"] == table["iterations"].max()]


def _target_spec(
    spec: SearchSpec, results: Results, values: Mapping[str, Any], scale: Scale, trainable: Any
) -> SearchSpec:
    """A guarded training of one model at the target that begins with the settings."""
    horizon = abilities_of(spec.strategy).max_iterations
    if horizon is None:
        raise SpecError(
            f"strategy {spec.strategy.name} does not say how long a training is (max_iterations), so there "
            "is no spec of one at the target"
        )
    domains = {name: _around(domain, values.get(name)) for name, domain in spec.space.domains.items()}
    space = Space(domains, spec.space.conditions, spec.space.constraints)
    return dataclasses.replace(
        spec,
        trainable=spec.trainable if trainable is None else trainable,
        name=f"{spec.name}-at-target",
        space=space,
        strategy=registry.recipe("panda", {"max_iterations": max(2, horizon), "budget": 1.0}),
        baseline=space.nest(values),
        config={**spec.config, **scale.target},
        scale={},
        storage=storage_of(results.path),
        memory=None,
        known_good=(),
        priors={},
        notes=(),
    )


def _around(domain: Domain, value: Any) -> Domain:
    """The domain near a value: a factor of 4 to each side on a log scale; always with the value in it."""
    if not isinstance(domain, Interval) or not is_number(value):
        return domain
    low, high = domain.low, domain.high
    if domain.log and domain.step is None:
        low, high = value / AROUND, value * AROUND
    low, high = min(low, value), max(high, value)
    return dataclasses.replace(domain, low=low, high=high)


def _groups(space: Space) -> set[str]:
    return {name.split("/")[0] for name in space.names}


def _narrow(scale: Scale) -> list[str]:
    """Why the search's own width is in doubt; empty where it is not."""
    narrow = [
        f"{name} {number(size)} is narrow, and muP describes wide models"
        for name, size in scale.proxy.items()
        if scale.kinds[name] is Along.WIDTH and scale.growth[name] != 1.0 and size < NARROW
    ]
    return narrow if scale.parametrization == "mup" else []


def _has_shape(scale: Scale) -> bool:
    return any(
        scale.kinds[name] in (Along.WIDTH, Along.DEPTH) for name, g in scale.growth.items() if g != 1.0
    )


def _like(value: Any, new: float) -> Any:
    return max(1, round(new)) if isinstance(value, int) else float(new)


def _line(one: Transferred) -> str:
    change = number(one.proxy) if is_number(one.proxy) else str(one.proxy)
    after = number(one.value) if is_number(one.value) else str(one.value)
    interval = f", 95%: {_span(*one.interval)}" if one.interval is not None else ""
    interval += f"; {one.past}" if one.past else ""
    return f"{one.name}  {change} -> {after}  {one.by}{interval}" + (
        "" if one.transfers else "  (not known to transfer)"
    )


def _span(low: float, high: float) -> str:
    return f"{number(low)} to {number(high)}"
