"""Replays of a schedule on fresh seeds, compared with the original training and with constants."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raysearch.core.formatting import number, setting
from raysearch.core.segment import Config, Mode, score
from raysearch.errors import RunError, SpecError
from raysearch.results.columns import Segments
from raysearch.results.effects import effects
from raysearch.results.results import Results
from raysearch.results.run_rows import RunRows
from raysearch.results.verdict import Estimate, estimate
from raysearch.schedule import Schedule, has_schedule, of
from raysearch.space.names import dotted
from raysearch.spec.search_spec import SearchSpec
from raysearch.storage.mirror import shown
from raysearch.storage.paths import RunPaths
from raysearch.strategies.replay import Replay


@dataclass(frozen=True)
class Replayed:
    """A schedule's or constant's trainings on fresh seeds.

    Attributes:
        name: "the schedule", or the constant's values.
        values: the metric at the end, by seed; NaN where the training failed or diverged.
        further: the means of the other metrics that count, with 95% intervals, over the trainings that ended
            well: the objectives after the leading one, and what limits speak of.
        beyond: the limits that its means exceed, in words; empty within all of them, and without limits.
    """

    name: str
    config: Mapping[str, Any]
    values: Mapping[int, float]
    further: Mapping[str, Estimate] = field(default_factory=dict)
    beyond: str = ""

    @property
    def estimate(self) -> Estimate:
        """Mean over the trainings that ended well, with its 95% interval."""
        return _mean(self.values)


@dataclass(frozen=True)
class Comparison:
    """The result of a replay.

    Attributes:
        schedule: what was replayed.
        constants: in the order given; may be empty.
        best_constant: the one with the best mean, of those within the limits if there are such; None if none
            ended well.
        baseline: the one that is the search's baseline; None if it had none, or it was not trained.
        baseline_gain: as `gain`, over the baseline.
        effects: what the training that found the schedule asked for and its optimizer was not used with, or
            not observed to be.
        has_limits: whether the search has limits on what is reported.
        original: the metric of the training in which the schedule was found; NaN if unknown.
        gain: paired improvement of the schedule over the best constant, positive is better whatever the
            mode; None without a seed in common.
    """

    metric: str
    mode: Mode
    iterations: int
    schedule: Replayed
    constants: Sequence[Replayed]
    best_constant: Replayed | None
    original: float
    gain: Estimate | None
    baseline: Replayed | None = None
    baseline_gain: Estimate | None = None
    effects: Sequence[str] = ()
    has_limits: bool = False

    @property
    def gap(self) -> float:
        """How much worse the replay's mean is than the original; negative if better, NaN if unknown."""
        mean = self.schedule.estimate.mean
        return mean - self.original if self.mode == "min" else self.original - mean

    def __str__(self) -> str:
        mean = self.schedule.estimate
        if math.isnan(mean.mean):
            failed = f"No replay of the schedule ended well; {self.metric} is unknown."
            return "\n".join((failed, *self._effects()))
        said = [f"On fresh seeds the schedule gives {self.metric} {mean} over {mean.n}."]
        if math.isfinite(self.original):
            how = "worse" if self.gap > 0 else "better"
            said.append(
                f"The training that found it ended at {number(self.original, 5)}: the replay is "
                f"{number(abs(self.gap), 3)} {how}."
            )
        if self.baseline is not None and self.baseline_gain is not None:
            said.append(
                f"The baseline gives {self.baseline.estimate}: the schedule gains {self.baseline_gain}, and "
                f"is better on {self._wins(self.baseline)}."
            )
        best = self.best_constant
        if best is not None and self.gain is not None and best is not self.baseline:
            said.append(
                f"The best constant of {len(self.constants)} ({best.name}) gives {best.estimate}: the "
                f"schedule gains {self.gain}, and is better on {self._wins(best)}."
            )
        return "\n".join((*said, *self._beside_the_metric(), *self._effects()))

    def _beside_the_metric(self) -> list[str]:
        """What each of them gives in the other metrics that count, and whether it is within the limits."""
        said, shown = [], [self.schedule]
        shown += [one for one in self.constants if one is self.baseline or one is self.best_constant]
        for one in shown:
            given = [f"{dotted(metric)} {mean}" for metric, mean in one.further.items()]
            within = ["is beyond the limits: " + one.beyond if one.beyond else "is within the limits"]
            words = " and ".join(
                [*(["gives " + ", ".join(given)] if given else []), *within * self.has_limits]
            )
            name = "The schedule" if one is self.schedule else f"The constant {one.name}"
            said += [f"{name} {words}."] if words else []
        return said

    def _effects(self) -> list[str]:
        """What became of the values of the training that found the schedule."""
        return [f"In the training that found it: {text}" for text in self.effects]

    def _wins(self, other: Replayed) -> str:
        """On how many of the seeds in common the schedule is better, in words."""
        pairs = [
            score(self.schedule.values[k], self.mode) < score(v, self.mode)
            for k, v in other.values.items()
            if k in self.schedule.values
        ]
        return f"{sum(pairs)} of {len(pairs)} seeds"


def schedule_of(results: Results, trial: int | None = None) -> Schedule:
    """The schedule of a run's winner, or of another trial, to be replayed.

    Raises:
        SpecError: no configuration changed while it was trained, and there is no baseline to compare with.
        RunError: there is no such trial, or none ended well.
    """
    found = of(results, trial)
    if has_schedule(results, found):
        return found
    name = str(results.spec.get("strategy", {}).get("name", "its strategy"))
    why = (
        f"{name} changes no configuration while a trial is trained"
        if results.raised is None
        else "the winner was trained with one configuration from beginning to end"
    )
    run = shown(results.path)
    raise SpecError(
        f"{run}: there is no schedule to replay: {why}. `raysearch best {run}` has what its finish says on "
        f"fresh seeds, `raysearch retest {run}` compares its settings anew; --schedule FILE takes one of a "
        "file"
    )


def effects_of(results: Results, schedule: Schedule) -> Sequence[str]:
    """What the training that found a schedule asked for and its optimizer was not used with, in sentences.

    `results` are those of the run that the schedule is said to be from; of another's nothing is known.
    """
    trial = schedule.about.get("trial")
    is_own = schedule.about.get("run") == results.path.name and isinstance(trial, int)
    if not is_own:
        return ()
    segments = Segments.read(RunPaths(results.path).journal, results.metric, results.mode)
    is_raised, horizon = results.raised is not None, results.abilities.max_iterations
    return effects(RunRows(results.path, segments, is_raised, horizon), trial)


def replay_spec(spec: SearchSpec, schedule: Schedule, seeds: int, constants: int) -> SearchSpec:
    """The spec of a replay: the search's own, with another strategy and name.

    Args:
        constants: how many constant configurations to compare with, at most: the search's baseline, the
            schedule's mean, its first configuration, and those that held longest.

    Raises:
        SpecError: the schedule does not lie in the space, or a number is wrong.
    """
    if constants < 0:
        raise SpecError(f"--constants {constants} must be at least 0")
    steps = [{"start": s.start, "stop": s.stop, "config": dict(s.config)} for s in schedule.steps]
    others = [dict(config) for config in constants_of(schedule) if config != spec.baseline]
    baseline = [] if spec.baseline is None else [dict(spec.baseline)]
    chosen = [*baseline, *others][:constants]
    return dataclasses.replace(
        spec, name=f"{spec.name}-replay", strategy=Replay(steps, chosen, seeds), notes=()
    )


def constants_of(schedule: Schedule) -> list[Config]:
    """The schedule's mean, its first configuration, and then all others, those that held longest first."""
    held: list[tuple[int, int, Config]] = []
    for step in schedule.steps:
        length = sum(s.stop - s.start for s in schedule.steps if s.config == step.config)
        held.append((-length, step.start, step.config))
    found: list[Config] = []
    ordered = [config for *_, config in sorted(held, key=lambda h: h[:2])]
    for config in (schedule.mean(), schedule.steps[0].config, *ordered):
        if config not in found:
            found.append(config)
    return found


def compare(results: Results, schedule: Schedule, said: Sequence[str] = ()) -> Comparison:
    """The result of a finished replay; `said` is what `effects_of` says.

    Raises:
        RunError: no training of it has ended.
    """
    goals = results.goals
    trained = {metric: _trained(results, schedule, metric) for metric in goals.metrics}
    found: dict[int, Replayed] = {}
    constants, usual = results.spec["strategy"]["constants"], results.spec.get("baseline")
    baseline: Replayed | None = None
    for source, values in trained[results.metric].items():
        config = dict(schedule.mean()) if source == 0 else constants[source - 1]
        is_usual = source > 0 and config == usual
        name = "the schedule" if source == 0 else _name(config, schedule)
        name = f"{name}, the baseline" if is_usual else name
        means = {metric: _mean(by_source[source]) for metric, by_source in trained.items()}
        beyond = goals.beyond({metric: mean.mean for metric, mean in means.items()})
        further = {metric: mean for metric, mean in means.items() if metric != results.metric}
        found[source] = Replayed(name, config, values, further, beyond)
        baseline = found[source] if is_usual else baseline
    if 0 not in found:
        raise RunError(f"{results.path}: no training of the schedule came to its end")
    mine, others = found.pop(0), [found[source] for source in sorted(found)]
    sound = [one for one in others if math.isfinite(one.estimate.mean)]
    best = min(
        sound, key=lambda one: (bool(one.beyond), score(one.estimate.mean, results.mode)), default=None
    )
    return Comparison(
        results.metric,
        results.mode,
        schedule.iterations,
        mine,
        others,
        best,
        float(schedule.about.get("value", math.nan)),
        _gain(mine, best, results.mode) if best is not None else None,
        baseline,
        _gain(mine, baseline, results.mode) if baseline is not None else None,
        said,
        bool(goals.limits),
    )


def _trained(results: Results, schedule: Schedule, metric: str) -> dict[int, dict[int, float]]:
    """A metric at the end of whole trainings, by source and seed; NaN where one failed or diverged."""
    finals = Results(results.path, metric=metric, mode=results.mode).finals()
    found: dict[int, dict[int, float]] = {}
    for row in finals[finals["stop"] == schedule.iterations].to_dict("records"):
        value = float(row["value"]) if row["status"] == "completed" else math.nan
        found.setdefault(int(row["source"]), {})[int(row["seed"])] = value
    return found


def _mean(values: Mapping[int, float]) -> Estimate:
    """Over the trainings that ended well, with its 95% interval."""
    return estimate([value for value in values.values() if math.isfinite(value)])


def _gain(mine: Replayed, other: Replayed, mode: Mode) -> Estimate | None:
    pairs = [(value, other.values[seed]) for seed, value in mine.values.items() if seed in other.values]
    gains = [(b - a) if mode == "min" else (a - b) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
    return estimate(gains) if gains else None


def _name(config: Mapping[str, Any], schedule: Schedule) -> str:
    """The values that the schedule changes."""
    changing = [name for name in schedule.names if name in config]
    return ", ".join(f"{name} {setting(config[name])}" for name in changing) or "constant"
