"""Value types of a history from elsewhere, and what every reader of one needs."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysearch.core.segment import Mode
from raysearch.core.values import is_number
from raysearch.errors import SpecError, unknown
from raysearch.space.space import Space

NAN = float("nan")
MAX_DEPTH = 32  # of nested mappings in a configuration
Point = tuple[float, float]  # (how far the training was, the metric there)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a source does not say for itself.

    Attributes:
        metric: as the source calls it; None where it knows only one.
        study: of several in one storage.
        iteration: the column, or key of a history, that says how far a training was.
        trial: the column of a table that says to which trial a row belongs.
    """

    metric: str | None = None
    study: str | None = None
    iteration: str | None = None
    trial: str | None = None

    def needed_metric(self, source: Path, known: Mapping[str, int]) -> str:
        """The metric asked for, which the source must have; `known` counts the trials that report each.

        Raises:
            SpecError: none was asked for, or no trial reports it.
        """
        if self.metric is None:
            raise SpecError(
                f"{source.name} says of several numbers, and not which is to be improved: --metric NAME "
                f"({', '.join(sorted(known)[:12]) or 'it has none'})"
            )
        if self.metric not in known:
            raise SpecError(f"{source.name}: --metric: {unknown('metric', self.metric, known)}")
        return self.metric


@dataclass(frozen=True, slots=True)
class PastTrial:
    """A trial as another tool noted it.

    Attributes:
        config: hyper-parameters by the tool's names, groups nested or joined with `/` or `.`.
        value: the metric at the end; NaN for a trial that failed.
        curve: (how far, value) in rising order, counted as `Past.counts` says; empty without a curve.
    """

    config: Mapping[str, Any]
    value: float
    curve: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Past:
    """A history as another tool noted it.

    Attributes:
        name: of the study, experiment or file.
        trials: those that say something.
        metric: its name; empty where the source has none.
        mode: the direction that the source notes; None where it notes none.
        space: the space that the source notes; None where it notes none.
        why_no_space: in words, where the source notes spaces and they are not one.
        counts: what curves count: "iterations" as here (reports of a training), or the name of a counter
            whose unit only its user knows; empty without curves.
        left_out: how many trials say nothing, by reason.
    """

    name: str
    trials: tuple[PastTrial, ...]
    metric: str = ""
    mode: Mode | None = None
    space: Space | None = None
    why_no_space: str = ""
    counts: str = ""
    left_out: Mapping[str, int] = field(default_factory=Counter)


def number_of(value: Any) -> float:
    """A number that a source notes, NaN for anything else, such as null, text or a truth value."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return NAN
    return float(value) if is_number(value) else NAN


def flat(value: Mapping[str, Any], joint: str = "/", depth: int = 0) -> dict[str, Any]:
    """Nested mappings as one, keys joined.

    Raises:
        SpecError: they are nested deeper than any configuration.
    """
    if depth > MAX_DEPTH:
        raise SpecError(f"mappings are nested more than {MAX_DEPTH} deep")
    found: dict[str, Any] = {}
    for key, below in value.items():
        if isinstance(below, Mapping):
            found.update({f"{key}{joint}{name}": one for name, one in flat(below, joint, depth + 1).items()})
        else:
            found[str(key)] = below
    return found


def rising(points: Mapping[float, float]) -> tuple[Point, ...]:
    """Points of a curve in rising order; those without a place are left out."""
    return tuple(sorted((at, value) for at, value in points.items() if math.isfinite(at)))


def json_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines; a torn last line, of a process that was killed, is left out.

    Raises:
        SpecError: another line is no JSON object, or the file cannot be read.
    """
    try:
        with file.open("rb") as lines:
            torn: tuple[int, str] | None = None
            for number, line in enumerate(lines, 1):
                if torn is not None:
                    raise SpecError(f"{file.name}, line {torn[0]}: {torn[1]}")
                if not line.strip():
                    continue
                try:
                    read = json.loads(line)
                except (ValueError, RecursionError) as error:
                    torn = number, f"no JSON: {error}"
                    continue
                if not isinstance(read, dict):
                    raise SpecError(f"{file.name}, line {number}: {type(read).__name__}, not an object")
                yield read
    except OSError as error:
        raise SpecError(f"{file}: {error.strerror or error}") from None
