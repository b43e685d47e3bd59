"""The schedule of a training: which hyper-parameters held from which iteration to which.

    schedule = raysearch.schedule.load("schedule.yaml")      # from: raysearch export RUN --schedule -o ...
    schedule.at(120)                                         # {"lr": 0.0021, ...}
    scheduler = schedule.scheduler(optimizer, steps_per_iteration=5)     # a torch LRScheduler
    for step in range(3000):
        ...
        optimizer.step()
        scheduler.step()

The file is plain YAML or JSON. Reading it and asking for values needs neither Ray nor torch.
"""

from __future__ import annotations

import bisect
import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from raysearch.core.checks import is_whole
from raysearch.core.used_values import slot_of
from raysearch.core.user_paths import user_path
from raysearch.errors import RaysearchWarning, SpecError
from raysearch.storage.exports import edited, from_entry, to_entry
from raysearch.storage.mirror import shown

if TYPE_CHECKING:
    import torch

    from raysearch.results.results import Results
    from raysearch.torch.schedules import TorchSchedule

FORMAT = "raysearch-schedule/1"


@dataclass(frozen=True)
class Step:
    """From iteration `start` to `stop`, which is the next step's start, `config` holds.

    Attributes:
        used: hyper-parameter -> (first, last) value that the optimizer held meanwhile, the trainable's own
            scheduler included; empty where none was seen.
    """

    start: int
    stop: int
    config: Mapping[str, Any]
    used: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Schedule:
    """Hyper-parameters over a training.

    Attributes:
        steps: one behind the other, the first from iteration 0; each has a whole configuration.
        about: where it is from: run, trial, metric, mode, value.

    >>> from raysearch.schedule import Schedule, Step
    >>> schedule = Schedule((Step(0, 50, {"lr": 0.1, "decay": 0}), Step(50, 100, {"lr": 0.01, "decay": 0})))
    >>> schedule.iterations, schedule.names, schedule.constants
    (100, ('lr',), {'decay': 0})
    """

    steps: tuple[Step, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises SpecError if the steps do not follow one another from 0."""
        if not self.steps:
            raise SpecError("a schedule needs at least one step")
        at = 0
        for number, step in enumerate(self.steps):
            if step.start != at or step.stop <= step.start:
                raise SpecError(
                    f"steps[{number}] goes from {step.start} to {step.stop}: it must begin at {at}, where "
                    "the one before it ends, and end later"
                )
            at = step.stop

    @property
    def iterations(self) -> int:
        """Of the whole training.

        >>> raysearch.schedule.of(results).iterations
        9
        """
        return self.steps[-1].stop

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The hyper-parameters that change.

        >>> raysearch.schedule.of(results).names  # caviar changes none
        ()
        """
        first = self.steps[0].config
        keys = dict.fromkeys(name for step in self.steps for name in step.config)
        return tuple(name for name in keys if any(s.config.get(name) != first.get(name) for s in self.steps))

    @property
    def constants(self) -> dict[str, Any]:
        """The hyper-parameters that do not change.

        >>> raysearch.schedule.of(results, trial=0).constants
        {'lr': 0.5}
        """
        return {name: value for name, value in self.steps[0].config.items() if name not in self.names}

    def at(self, iteration: float) -> dict[str, Any]:
        """The configuration at an iteration, counted from 0; after the end the last one's.

        >>> raysearch.schedule.of(results, trial=0).at(4)
        {'lr': 0.5}

        Raises:
            ValueError: the iteration is negative or NaN.
        """
        if not iteration >= 0:
            raise ValueError(f"iteration {iteration} must be at least 0")
        return dict(self.steps[max(0, bisect.bisect_right(self._starts, iteration) - 1)].config)

    def stretched(self, iterations: int) -> Schedule:
        """The same schedule over a longer or shorter training; steps that become too short are left out.

        >>> raysearch.schedule.of(results).stretched(900).iterations
        900

        Raises:
            SpecError: iterations is below 1.
        """
        if iterations < 1:
            raise SpecError(f"iterations = {iterations} must be at least 1")
        share = iterations / self.iterations
        ends = [round(step.stop * share) for step in self.steps]
        starts = [0, *ends[:-1]]
        steps = [
            Step(start, stop, step.config, step.used)
            for start, stop, step in zip(starts, ends, self.steps, strict=True)
            if stop > start
        ]
        return replace(self, steps=tuple(steps))

    def mean(self) -> dict[str, Any]:
        """The constant configuration nearest to it: means over the iterations, in log space where positive.

        Of what is no number, the value that held longest.

        >>> from raysearch.schedule import Schedule, Step
        >>> round(Schedule((Step(0, 1, {"lr": 0.1}), Step(1, 2, {"lr": 0.001}))).mean()["lr"], 6)
        0.01
        """
        return {name: self._mean(name) for name in self.steps[0].config}

    def scheduler(self, optimizer: torch.optim.Optimizer, steps_per_iteration: int = 1) -> TorchSchedule:
        """A torch scheduler that sets lr and every other setting of the optimizer; call its `step` as usual.

        Args:
            steps_per_iteration: optimizer steps in an iteration of the search.

        >>> optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
        >>> scheduler = raysearch.schedule.of(results, trial=0).scheduler(optimizer, steps_per_iteration=5)
        >>> optimizer.param_groups[0]["lr"]
        0.5
        """
        from raysearch.torch.schedules import TorchSchedule

        return TorchSchedule(optimizer, self, steps_per_iteration)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in the file: what never changes stands once.

        >>> raysearch.schedule.of(results, trial=0).to_dict()["constants"]
        {'lr': 0.5}
        """
        return {
            "format": FORMAT,
            **self.about,
            "iterations": self.iterations,
            "constants": self.constants,
            "steps": [
                {
                    "start": s.start,
                    "stop": s.stop,
                    "config": {n: s.config[n] for n in self.names if n in s.config},
                    **({"used": {n: list(ends) for n, ends in s.used.items()}} if s.used else {}),
                }
                for s in self.steps
            ],
        }

    def to_text(self, as_json: bool = False) -> str:
        """The file's text, YAML or JSON, with a checksum of its values as the last entry.

        >>> print(raysearch.schedule.of(results, trial=0).to_text())
        format: raysearch-schedule/1
        run: digits
        ...
        """
        if as_json:
            return json.dumps(to_entry(self.to_dict()), indent=2, ensure_ascii=False) + "\n"
        from raysearch.core.yaml_io import write_yaml

        return write_yaml(to_entry(self.to_dict()))

    @cached_property
    def _starts(self) -> list[int]:
        return [step.start for step in self.steps]

    def _mean(self, name: str) -> Any:
        held = [(step.config[name], step.stop - step.start) for step in self.steps if name in step.config]
        if len({repr(value) for value, _ in held}) == 1:
            return held[0][0]
        total = sum(length for _, length in held)
        if all(isinstance(v, float) and math.isfinite(v) for v, _ in held):
            if all(v > 0 for v, _ in held):
                return math.exp(sum(math.log(v) * length for v, length in held) / total)
            return sum(v * length for v, length in held) / total
        longest: dict[str, int] = {}
        for value, length in held:
            longest[repr(value)] = longest.get(repr(value), 0) + length
        most = max(longest, key=lambda key: longest[key])
        return next(value for value, _ in held if repr(value) == most)


def load(path: str | os.PathLike[str]) -> Schedule:
    """The schedule in a file, YAML or JSON.

    A RaysearchWarning tells of values that do not fit the file's checksum; commands print a note. They are
    taken as they stand: delete the entry `checksum` of a file that you edit.

    >>> from pathlib import Path
    >>> written = Path("schedule.yaml").write_text(raysearch.schedule.of(results, trial=0).to_text())
    >>> raysearch.schedule.load("schedule.yaml").at(0)
    {'lr': 0.5}

    Raises:
        SpecError: it cannot be read, or is no schedule; says where.
    """
    schedule, remark = read(path)
    if remark:
        warnings.warn(remark, RaysearchWarning, stacklevel=2)
    return schedule


def read(path: str | os.PathLike[str]) -> tuple[Schedule, str]:
    """As `load`: (the schedule, what is to be said of its file, "" for nothing)."""
    from raysearch.core.yaml_io import read_yaml

    file = user_path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{file}: cannot be read: {error}") from None
    written = read_yaml(text, file.name)  # JSON is YAML
    if not isinstance(written, dict) or written.get("format") != FORMAT:
        found = written.get("format") if isinstance(written, dict) else type(written).__name__
        raise SpecError(
            f"{file}: not a schedule: format is {found!r}, and {FORMAT!r} is expected; "
            "`raysearch export RUN --schedule` writes one"
        )
    value, is_edited = from_entry(written)
    try:
        return _made(value), edited(str(file)) if is_edited else ""
    except SpecError as error:
        raise SpecError(f"{file}: {error}") from None


def from_dict(written: Mapping[str, Any]) -> Schedule:
    """The schedule that `Schedule.to_dict` wrote, or that a file holds. Raises SpecError for anything else.

    A RaysearchWarning tells of values that do not fit the checksum beside them.

    >>> schedule = raysearch.schedule.of(results)
    >>> raysearch.schedule.from_dict(schedule.to_dict()) == schedule
    True
    """
    value, is_edited = from_entry(written)
    if is_edited:
        warnings.warn(edited("the schedule"), RaysearchWarning, stacklevel=2)
    return _made(value)


def _made(written: Mapping[str, Any]) -> Schedule:
    constants, steps = written.get("constants") or {}, written.get("steps")
    if not isinstance(constants, Mapping) or not isinstance(steps, Sequence) or isinstance(steps, str):
        raise SpecError("constants must be a mapping and steps a list")
    about = {k: v for k, v in written.items() if k not in ("format", "iterations", "constants", "steps")}
    return Schedule(tuple(_step(i, step, constants) for i, step in enumerate(steps)), about)


def of(results: Results, trial: int | None = None) -> Schedule:
    """The schedule on the way to the end of the best trial, or of another one.

    It has the values that were trained with: a change that did not reach the optimizer is left out.

    >>> schedule = raysearch.schedule.of(results)
    >>> schedule.at(0) == results.best.config
    True

    Raises:
        RunError: there is no such trial, or none ended well.
    """
    best = results.best if trial is None else None
    number = best.trial if best is not None else int(trial or 0)
    path = results.lineage(number)
    steps: list[Step] = []
    for row, asked in zip(path.to_dict("records"), results.configs(number), strict=True):
        if row["reached"] <= row["start"]:
            continue
        before = steps[-1] if steps else None
        used = {name: ends for name in asked if (ends := used_ends(row, name)) is not None}
        config = _effective(asked, before.config, before.used, used, row) if before is not None else asked
        step = Step(int(row["start"]), int(row["reached"]), config, used)
        if before is not None and before.config == config:
            joined = {name: (before.used.get(name, ends)[0], ends[1]) for name, ends in used.items()}
            steps[-1] = replace(before, stop=step.stop, used=joined)
        else:
            steps.append(step)
    value = float(path["value"].iloc[-1])
    about = {
        "run": results.path.name,
        "trial": number,
        "metric": results.metric,
        "mode": results.mode,
        "value": value,
    }
    return Schedule(tuple(steps), about)


def used_ends(row: Mapping[Any, Any], name: str) -> tuple[float, float] | None:
    """(first, last) value that an optimizer held of a hyper-parameter, in a row of `Results.lineage`.

    Of one that no optimizer was seen to hold, the value that it is meant for; None where neither is known.
    """
    for place in (f"used.{name}", f"held.{slot_of(name)}"):
        first, last = row.get(f"{place}.first", math.nan), row.get(f"{place}.last", math.nan)
        if not math.isnan(first):
            return float(first), float(last)
    return None


def _effective(
    asked: Mapping[str, Any],
    before: Mapping[str, Any],
    used_before: Mapping[str, tuple[float, float]],
    used: Mapping[str, tuple[float, float]],
    row: Mapping[Any, Any],
) -> dict[str, Any]:
    """The configuration without the changes that left the optimizer as it was."""

    def is_lost(name: str) -> bool:
        is_found = not math.isnan(row.get(f"used.{name}.first", math.nan))
        if is_found or name not in used or name not in used_before or name not in before:
            return False
        return math.isclose(used_before[name][1], used[name][0], rel_tol=1e-9)

    return {name: before[name] if is_lost(name) else value for name, value in asked.items()}


def _step(number: int, step: Any, constants: Mapping[str, Any]) -> Step:
    if not isinstance(step, Mapping) or not {"start", "stop", "config"} <= step.keys():
        raise SpecError(f"steps[{number}] = {step!r} needs start, stop and config")
    start, stop, config = step["start"], step["stop"], step["config"]
    if not (is_whole(start) and is_whole(stop)):
        raise SpecError(f"steps[{number}]: start {start!r} and stop {stop!r} must be whole numbers")
    if not isinstance(config, Mapping):
        raise SpecError(f"steps[{number}].config = {config!r} is no mapping")
    used = step.get("used") or {}
    if not isinstance(used, Mapping) or not all(_is_pair(ends) for ends in used.values()):
        raise SpecError(f"steps[{number}].used = {used!r}: each must be [first, last]")
    return Step(
        start, stop, {**constants, **config}, {name: (ends[0], ends[1]) for name, ends in used.items()}
    )


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2


def has_schedule(results: Results, schedule: Schedule) -> bool:
    """Whether a replay of it has anything to say: it changes, or is another than the baseline."""
    differs = results.spec.get("baseline") not in (None, schedule.at(0))
    return results.raised is not None and (bool(schedule.names) or differs)


def way_to_gain(results: Results) -> str:
    """The command that finds a raised model's gain over the baseline; empty where there is none to find."""
    is_open = results.raised is not None and not results.verdict().contenders
    if not is_open or not results.spec.get("baseline") or not has_schedule(results, of(results)):
        return ""
    return f"raysearch replay {shown(results.path)}"
