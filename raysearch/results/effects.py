"""Whether what was asked of an optimizer reached it, on the way to a model: in words, with both numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from raysearch.core.formatting import setting
from raysearch.core.used_values import HELD, KNOWN, slot_of

if TYPE_CHECKING:
    from raysearch.results.columns import Integers, Segments
    from raysearch.results.run_rows import RunRows

ROUNDING = 1e-6  # relative difference up to which two values are the same


@dataclass(frozen=True, slots=True)
class Use:
    """One hyper-parameter in one segment.

    Attributes:
        at: the iteration at which the segment begins.
        asked: its value in the configuration.
        used: what an optimizer held at its first and last step; None where it is not known.
        is_bound: an optimizer holds this very hyper-parameter, not merely a value that it is meant for.
        is_unseen: it was changed for this segment, and no optimizer was seen to step with such a value.
    """

    at: int
    asked: float
    used: tuple[float, float] | None
    is_bound: bool
    is_unseen: bool


def effects(run: RunRows, trial: int | None = None) -> tuple[str, ...]:
    """Sentences on the way to a trial's end, or to that of the best line; none where all was as asked for.

    Raises:
        RunError: there is no such trial.
    """
    if trial is not None:
        path = run.path_to(trial)
    elif len(run.line_ranking):
        path = run.way_to(int(run.line_ranking[0]))
    else:
        return ()
    segments, rows = run.segments, np.array(path, np.int64)
    found = _uses(segments, rows)
    return tuple(text for name, held in found.items() for text in _sentences(name, held))


def _uses(segments: Segments, rows: Integers) -> dict[str, list[Use]]:
    """For each number of the configurations what became of it, segment by segment."""
    configs = [dict(_numbers(config)) for config in segments.configs(rows)]
    starts = segments.integers("start")[rows]
    ends = segments.used_ends(rows)
    found: dict[str, list[Use]] = {}
    for i, config in enumerate(configs):
        for name, asked in config.items():
            own = _pair(ends, f"used.{name}", i)
            used = own or _pair(ends, f"held.{slot_of(name)}", i)
            is_unseen = used is None and _is_marked(segments, int(rows[i]), slot_of(name))
            found.setdefault(name, []).append(Use(int(starts[i]), asked, used, own is not None, is_unseen))
    return found


def _pair(ends: Mapping[str, Any], place: str, i: int) -> tuple[float, float] | None:
    if f"{place}.first" not in ends:
        return None
    first, last = float(ends[f"{place}.first"][i]), float(ends[f"{place}.last"][i])
    return None if math.isnan(first) or math.isnan(last) else (first, last)


def _is_marked(segments: Segments, row: int, slot: str) -> bool:
    """Whether the worker noted that no optimizer held such a value: see `core.used_values`."""
    span = segments.used_spans.get(HELD + slot)
    if span is None or span[1][row] <= span[0][row]:
        return False
    return bool(np.isnan(segments.values[1][span[0][row] : span[1][row]]).all())


def _sentences(name: str, held: Sequence[Use]) -> Iterator[str]:
    """What is to be said of one hyper-parameter."""
    changes = [(a, b) for a, b in pairwise(held) if a.asked != b.asked]
    lost = [(a, b) for a, b in changes if _is_lost(a, b)]
    if lost:
        before, after = lost[0]
        assert after.used is not None
        count = (
            f"{len(lost)} of {len(changes)} changes of {name}" if len(changes) > 1 else f"A change of {name}"
        )
        yield (
            f"{count} did not reach the optimizer: {'the first, ' if len(lost) > 1 else ''}"
            f"{setting(before.asked)} -> {setting(after.asked)} at iteration {after.at}, left it at "
            f"{setting(after.used[0])}."
        )
    elif (changes or slot_of(name) in KNOWN) and (differing := [h for h in held if _differs(h)]):
        used = [value for h in differing for value in h.used or ()]
        own = ", the trainable's own scheduler included" if any(h.is_bound for h in differing) else ""
        yield (
            f"{name} was asked to be {_range([h.asked for h in differing])}, and the optimizer was used with "
            f"{_range(used)}{own}."
        )
    if unseen := [b for _, b in changes if b.is_unseen]:
        yield (
            f"Whether {name} reached the training was not observed: it was changed to "
            f"{_range([h.asked for h in unseen])}, and no optimizer was seen to step with such a value."
        )


def _is_lost(before: Use, after: Use) -> bool:
    if after.is_bound or before.used is None or after.used is None:
        return False
    return math.isclose(before.used[1], after.used[0], rel_tol=ROUNDING)


def _differs(held: Use) -> bool:
    return held.used is not None and not all(math.isclose(v, held.asked, rel_tol=ROUNDING) for v in held.used)


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return setting(low) if math.isclose(low, high, rel_tol=ROUNDING) else f"{setting(low)} to {setting(high)}"


def _numbers(config: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """(name, value) of each number of a configuration; nested ones as `outer/inner`."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{key}", float(value)
