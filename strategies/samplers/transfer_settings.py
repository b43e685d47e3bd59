"""The settings of a transfer: what a search begins from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raysearch.errors import LocatedError, SpecError, prefixed, unknown
from raysearch.strategies.samplers.prior_confidence import confidence_of, prior_names

HURDLE_TASKS = 3  # past tasks that a hurdle and a box need
SHAPES: tuple[tuple[str, type | tuple[type, ...], str], ...] = (
    ("portfolio", (list, tuple), "list of {config: ..., why: ...}"),
    ("box", Mapping, "mapping of hyper-parameters to [low, high] on the unit axis"),
    ("tasks", int, "whole number"),
    ("hurdle", bool, "true or false"),
    ("expected", (list, tuple), "list of rows of numbers"),
    ("priors", Mapping, "mapping of hyper-parameters to domains"),
)


@dataclass(frozen=True)
class Transfer:
    """What a search begins from.

    Attributes:
        portfolio: mappings of config, and where it is from (`why`).
        box: name -> [low, high] on the hyper-parameter's unit axis, or the list of choices.
        tasks: how many past tasks stand behind it; the hurdle needs three.
        hurdle: promote only what is no worse than the best of the portfolio at its rung. Off: on recorded
            curves it made good pasts worth less and misleading ones harmful (`raysearch bench transfer`).
        expected: rows of what past tasks say of a point: its mean normal score (lower is better), then the
        point. priors: name -> domain in its YAML form, and `confidence`: low, medium, high, or a share up to
        1.
    """

    portfolio: Sequence[Mapping[str, Any]] = ()
    box: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    tasks: int = 0
    hurdle: bool = False
    expected: Sequence[Sequence[float]] = ()
    priors: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind, words in SHAPES:
            if not isinstance(value := getattr(self, name), kind):
                raise LocatedError(f"transfer.{name}", f"{value!r} is no {words}")
        for number, one in enumerate(self.portfolio):
            if not isinstance(one, Mapping) or not isinstance(one.get("config"), Mapping):
                place = f"transfer.portfolio[{number}]"
                raise LocatedError(place, f"{one!r} needs config, and may say why")
        for axis, bounds in self.box.items():
            if not isinstance(bounds, (list, tuple)):
                raise LocatedError(f"transfer.box.{axis}", f"{bounds!r} is no list, such as [0.2, 0.7]")
        for number, row in enumerate(self.expected):
            if not isinstance(row, (list, tuple)) or not all(isinstance(x, (int, float)) for x in row):
                raise LocatedError(f"transfer.expected[{number}]", f"{row!r} is no row of numbers")
        with prefixed("transfer"):
            confidence_of(self.priors)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to begin from."""
        return not (self.portfolio or self.box or prior_names(self.priors))


def transfer_setting(value: object) -> Transfer | None:
    """What stands under `transfer:`, read: a Transfer, its fields as a mapping, or None.

    Raises:
        SpecError: for anything else.
    """
    if value is None or isinstance(value, Transfer):
        return value
    if isinstance(value, Mapping):
        names = ("portfolio", "box", "tasks", "hurdle", "expected", "priors")
        for name in value:
            if name not in names:
                raise SpecError(unknown("field of transfer", name, names))
        return Transfer(**value)
    raise SpecError(f"transfer = {value!r} is no mapping of portfolio, box, tasks, priors")
