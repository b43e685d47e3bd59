"""A record of a memory from what another tool noted: names, units and directions as the user says them.

past = read_past(Path("study.db"), Asked())
found = record_from(past, Meaning(metric="loss", mode="min", space=space, steps_per_iteration=1), ...)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from raysearch.core.segment import Config, Mode
from raysearch.core.values import is_number, show
from raysearch.core.yaml_io import read_yaml
from raysearch.errors import RunError, SpecError
from raysearch.interop.history.past import Past, PastTrial, flat
from raysearch.space.domains import Domain
from raysearch.space.names import dotted, flat_name
from raysearch.space.space import Space
from raysearch.strategies.samplers.importance import importances
from raysearch.workflows.memory.recall import LEAST, Record
from raysearch.workflows.memory.store import check_task

SHOWN = 5  # reasons for which trials are left out


@dataclass(frozen=True)
class Meaning:
    """What the user says of a history.

    Attributes:
        metric: as the new search calls it; None takes the source's name.
        mode: its direction; None takes what the source notes.
        space: of the new search; None takes what the source notes.
        renamed: ours for their names of hyper-parameters.
        scaled: factors that turn their numbers into ours, by our names.
        constants: values of hyper-parameters that the source kept constant and did not note.
        steps_per_iteration: how many of what curves count make one iteration of the new search.
    """

    metric: str | None = None
    mode: Mode | None = None
    space: Space | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    scaled: Mapping[str, float] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    steps_per_iteration: float | None = None


@dataclass(frozen=True)
class Imported:
    """A record, and in words what of the source is not in it."""

    record: Record
    notes: tuple[str, ...]


def record_from(past: Past, meaning: Meaning, *, task: str, source: str, now: float) -> Imported:
    """The record of a history.

    Raises:
        SpecError: something is not said that the source does not note (names the option), or contradicts it.
        RunError: too few of its trials lie in the space.
    """
    check_task(task)
    metric, mode = _aim(past, meaning)
    space = meaning.space or _noted_space(past)
    per_iteration = _unit(past, meaning)
    names = _Names(space, meaning)
    left_out: Counter[str] = Counter(past.left_out)
    kept: list[tuple[Config, PastTrial]] = []
    for trial in past.trials:
        config = names.config(trial.config)
        why = config if isinstance(config, str) else space.why_not(config)
        if why or isinstance(config, str):
            left_out[str(why)] += 1
        else:
            kept.append((config, trial))
    notes = _notes(left_out, names.unused)
    if len(kept) < LEAST:
        words = "; ".join(notes) or f"it has {len(past.trials)} in all"
        raise RunError(f"{source}: {len(kept)} trials can be used, and a record needs {LEAST}: {words}")
    curves = [_iterations(trial, per_iteration, past) for _, trial in kept]
    record = Record(
        task=task,
        run=source,
        metric=metric,
        mode=mode,
        space=space.to_dict(),
        configs=[config for config, _ in kept],
        iterations=[int(curve[-1][0]) if curve else 1 for curve in curves],
        values=[trial.value if math.isfinite(trial.value) else math.nan for _, trial in kept],
        at=now,
        curves=curves if any(len(curve) > 1 for curve in curves) else (),
    )
    return Imported(replace(record, importances=_importances(record, space)), tuple(notes))


def _importances(record: Record, space: Space) -> dict[str, float]:
    """The share of the variance that each hyper-parameter explains alone, largest first; may be empty."""
    shares = importances(space.encode_many(record.configs), record.scores)
    named = {n: float(s) for n, s in zip(space.free, shares, strict=True) if np.isfinite(s)}
    return dict(sorted(named.items(), key=lambda pair: -pair[1]))


def _aim(past: Past, meaning: Meaning) -> tuple[str, Mode]:
    """(metric, its direction) of the record."""
    metric = meaning.metric or past.metric
    if not metric:
        raise SpecError(
            f"{past.name} has no name for what it improved; say what the new search calls it: --metric NAME, "
            "or --spec FILE"
        )
    mode = meaning.mode or past.mode
    if mode is None:
        raise SpecError(
            f"{past.name} does not note in which direction {past.metric or metric} is better; say it: "
            "--mode min or --mode max, or --spec FILE"
        )
    if past.mode is not None and past.mode != mode:
        raise SpecError(
            f"{past.name} notes that {past.metric or metric} is better as {past.mode}, --mode or the spec "
            f"says {mode}: they are not the same metric"
        )
    return metric, mode


def _noted_space(past: Past) -> Space:
    if past.space is None:
        why = past.why_no_space or "it notes no search space"
        raise SpecError(f"{past.name}: {why}; say the space of the new search: --spec FILE")
    return past.space


def _unit(past: Past, meaning: Meaning) -> float:
    """How many of what curves count make an iteration; 1 where they count iterations."""
    given = meaning.steps_per_iteration
    if given is not None and not given > 0:
        raise SpecError(f"--steps-per-iteration: {given!r} is no positive number")
    if given is None and past.counts not in ("", "iterations"):
        raise SpecError(
            f"{past.name} has learning curves over {past.counts!r}, whose unit it does not note; say how "
            "many make one iteration of the new search: --steps-per-iteration N (1 if each is one)"
        )
    return given or 1.0


def _iterations(trial: PastTrial, per_iteration: float, past: Past) -> tuple[tuple[int, float], ...]:
    """The curve by our iterations; a counter that begins at 0 has noted the end of its first step there."""
    if not trial.curve:
        return ()
    shift = 1 if _begins_at_zero(past) else 0
    points: dict[int, float] = {}
    for at, value in trial.curve:
        points[max(1, math.ceil((at + shift) / per_iteration - 1e-9))] = value
    return tuple(points.items())


def _begins_at_zero(past: Past) -> bool:
    return past.counts != "iterations" and any(t.curve and t.curve[0][0] == 0 for t in past.trials)


class _Names:
    """Turns configurations with the source's names into ones of the space."""

    def __init__(self, space: Space, meaning: Meaning) -> None:
        """Raises SpecError where the user names a hyper-parameter that the space does not have."""
        self._space = space
        for option, names in (
            ("--rename", meaning.renamed.values()),
            ("--scale", meaning.scaled),
            ("--constant", meaning.constants),
        ):
            for name in names:
                if self._own(name) is None:
                    raise SpecError(
                        f"{option}: {name!r} is no hyper-parameter of the space ({', '.join(space.free)})"
                    )
        self._renamed = dict(meaning.renamed)
        self._scaled = {self._own(name): factor for name, factor in meaning.scaled.items()}
        self._constants = {str(self._own(name)): value for name, value in meaning.constants.items()}
        self.unused: Counter[str] = Counter()

    def config(self, theirs: Config) -> dict[str, Any] | str:
        """The configuration, or why there is none."""
        values = dict(self._constants)
        for name, value in {**flat(theirs), **theirs}.items():
            own = self._own(self._renamed.get(name, name))
            if own is None:
                if not isinstance(value, Mapping):
                    self.unused[name] += 1
                continue
            read = _as_of(self._space.domains[own], value)
            factor = self._scaled.get(own)
            values[own] = read * factor if factor is not None and is_number(read) else read
        config = self._space.prune(self._space.nest(values))
        held = self._space.flatten(config)
        missing = [n for n in self._space.names if n not in held and n not in self._space.conditions]
        if missing:
            name = dotted(missing[0])
            return f"it has no {name} (--rename THEIRS={name}, or --constant {name}=VALUE)"
        return config

    def _own(self, name: str) -> str | None:
        """The space's name for one that joins groups with `/` or `.`; None if it has none."""
        found = flat_name(name, self._space.names)
        return found if found in self._space.domains else None


def _as_of(domain: Domain, value: Any) -> Any:
    """A value as the domain has it: a table's text is read, 64.0 is 64 where whole numbers are meant."""
    known = list(getattr(domain, "values", ()))
    if isinstance(value, str) and not any(value == each for each in known):
        named = [each for each in known if str(each) == value or show(each) == value]
        try:
            value = named[0] if named else read_yaml(value, "a value")
        except SpecError:
            return value
    if isinstance(value, float) and value.is_integer() and not domain.contains(value):
        return int(value)
    return value


def _notes(left_out: Mapping[str, int], unused: Mapping[str, int]) -> list[str]:
    notes = []
    most = sorted(left_out.items(), key=lambda pair: -pair[1])
    for why, count in most[:SHOWN]:
        notes.append(f"{count:,} {'trial is' if count == 1 else 'trials are'} left out: {why}")
    if more := sum(count for _, count in most[SHOWN:]):
        notes.append(f"{more:,} more are left out for reasons like these")
    if unused:
        notes.append(f"not in the space, and so not remembered: {', '.join(sorted(unused)[:12])}")
    return notes
