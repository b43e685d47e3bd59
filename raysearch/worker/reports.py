"""From what a trainable reports to a segment's curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from raysearch.core.cause import cause_of
from raysearch.core.error_text import in_words
from raysearch.core.reserved_names import RAYS_OWN
from raysearch.core.segment import Cause, Segment, Status
from raysearch.core.used_values import HELD, NOTHING, Held, columns_of
from raysearch.errors import TrainableError

if TYPE_CHECKING:
    from raysearch.torch.group_values import Series

NAMES_TOLD = 8  # of the metrics that were reported, where the one searched for was not


@dataclass(slots=True)
class Trained:
    """What came of training a segment, before it is saved.

    Attributes:
        curve: metric -> values, one per iteration after the segment's start.
        cause: why it failed.
        grown_s: seconds of training from a fresh model to here: what growing it again would cost.
        paused: it was broken off between two iterations, and can be saved and gone on with.
        held: what optimizers held at the steps of each iteration.
        unseen: values that a changed hyper-parameter is meant for, and that no optimizer was seen to hold.
    """

    status: Status = Status.COMPLETED
    curve: dict[str, list[float]] = field(default_factory=dict)
    error: str = ""
    done: bool = False
    grown_s: float = 0.0
    paused: bool = False
    cause: Cause = Cause.OTHER
    held: dict[Series, list[Held]] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()

    def fail(self, error: BaseException, hint: str = "") -> None:
        """Training raised this error."""
        self.status, self.cause, self.error = Status.FAILED, cause_of(error), in_words(error) + hint

    def begun(self, curve: Mapping[str, Sequence[float]], iterations: int) -> None:
        """Takes over the first iterations of a curve, which an earlier worker trained."""
        self.curve = {name: list(values[:iterations]) for name, values in curve.items()}

    def note_used(self, held: Mapping[Series, Held], count: int) -> None:
        """Takes in what optimizers held in the segment's iteration number `count`, from 1."""
        for series, value in held.items():
            values = self.held.setdefault(series, [])
            values.extend([NOTHING] * (count - 1 - len(values)))
            values.append(value)

    def used(self) -> dict[str, list[float]]:
        """`Outcome.used`: as long as the curve. What is the same in several groups stands there once."""
        if not self.held and not self.unseen:
            return {}
        length = max(map(len, self.curve.values()), default=0)
        columns: dict[str, list[float]] = {}
        known: dict[str, list[tuple[Held, ...]]] = {}
        for (name, optimizer, group), values in sorted(self.held.items()) if length else ():
            whole = (*values, *[NOTHING] * (length - len(values)))[:length]
            others = known.setdefault(name, [])
            if repr(whole) in map(repr, others) or (others and not any(v.greatest or v.least for v in whole)):
                continue
            others.append(whole)
            columns |= columns_of(name if len(others) == 1 else f"{name}[{optimizer}.{group}]", whole)
        for name in (HELD + slot for slot in self.unseen if length):
            columns.setdefault(name, [math.nan] * length)
        return columns


def record(result: Trained, report: Mapping[str, Any], metric: str, segment: Segment, at: int) -> list[str]:
    """Adds the report of iteration `at` to the curve; returns the names of its numbers.

    The metric must be in every report: a value from before would be taken for one of now. Others are NaN
    where they are missing. A metric that is not finite is a divergence.

    Raises:
        TrainableError: the metric is missing, or no number.
    """
    count = at - segment.start
    found = dict(_numbers(report))
    if metric not in report and metric not in found:
        when = "was never reported" if at == 1 else f"was missing at iteration {at}"
        raise TrainableError(f"metric {metric!r} {when}; {_others(set(found))}")
    if metric not in found:
        value = report[metric]
        raise TrainableError(
            f"metric {metric!r} was {value!r} ({type(value).__name__}) at iteration {at}; it must be a number"
        )
    for name, value in found.items():
        curve = result.curve.setdefault(name, [])
        if len(curve) < count - 1:
            curve.extend([math.nan] * (count - 1 - len(curve)))
        curve.append(value)
    if not math.isfinite(found[metric]):
        result.status = Status.DIVERGED
        result.error = f"{metric} was {found[metric]} at iteration {at}"
    for curve in result.curve.values():
        curve.extend([math.nan] * (count - len(curve)))
    return list(found)


def numbers_of(report: Mapping[str, Any]) -> dict[str, float]:
    """The numbers in a report by name, nested ones as `outer/inner`."""
    return dict(_numbers(report))


def is_only_an_end(report: Mapping[str, Any], metric: str) -> bool:
    """Whether a report only says that the trial is over, without the metric: it is no iteration."""
    return bool(report.get("done")) and metric not in report and metric not in dict(_numbers(report))


def check_metric(result: Trained, metric: str, segment: Segment, names: set[str]) -> None:
    """Raises TrainableError if the metric was not among the reported names, unless the trial had ended."""
    ended_before = result.done and segment.start > 0 and not names
    if metric in result.curve or ended_before:
        return
    raise TrainableError(f"metric {metric!r} was never reported; {_others(names)}")


def _others(names: set[str]) -> str:
    """What was reported in place of the metric, and what to do if that comes only now and then."""
    if not names:
        return "nothing was reported"
    shown = sorted(names)[:NAMES_TOLD]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return (
        f"reported were: {', '.join(shown)}{more}. If it comes only now and then: report it at every "
        "iteration, or make an iteration as long as from one to the next"
    )


def _numbers(report: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """The numbers in a report, nested ones as `outer/inner`."""
    found: list[tuple[str, float]] = []
    for key, value in report.items():
        if not prefix and key in RAYS_OWN:
            continue
        if isinstance(value, float):  # first: nearly all are
            found.append((f"{prefix}{key}", value))
        elif isinstance(value, Mapping):
            found.extend(_numbers(value, f"{prefix}{key}/"))
        elif value is not None and not isinstance(value, (str, bytes)) and hasattr(value, "__float__"):
            number = _as_float(value)
            if number is not None:
                found.append((f"{prefix}{key}", number))
    return found


def _as_float(value: Any) -> float | None:
    """`value` as a float; None for an array of several values, and for what a float cannot hold."""
    try:
        return None if is_complex(value) else float(value)
    except Exception:  # noqa: BLE001  (whatever its own __float__ raises, it is no metric)
        return None


def is_complex(value: Any) -> bool:
    """Whether a number, or a tensor's type of number, is complex."""
    return isinstance(value, complex) or "complex" in str(getattr(value, "dtype", ""))
