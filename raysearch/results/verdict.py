"""The verdict of the finish: means with intervals, and whether the gain over the baseline is significant.

The winner of a search was picked because it looked best, so its own value is optimistic. The finals
train the best few again on fresh seeds. The gain is the mean of the paired differences on the seeds
that winner and baseline share, with Student's t interval (scipy.stats.t); since the winner is picked
from k finalists by these same values, its level is 1 - 0.05/k (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from raysearch.core.segment import Mode, score, trial_name

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its interval; low and high are NaN where fewer than two values allow none."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.mean:.5g}"
        return f"{self.mean:.5g} ({self.low:.5g} to {self.high:.5g})"


@dataclass(frozen=True, slots=True)
class Contender:
    """A configuration that the finish trained again.

    Attributes:
        role: "finalist" or "baseline".
        source: the trial of the search that has this configuration; None if there is none.
        values: the metric at the end by seed; NaN where the training diverged or failed.
    """

    role: str
    source: int | None
    config: Mapping[str, Any]
    values: Mapping[int, float]
    errors: Sequence[str] = ()

    @property
    def finite(self) -> list[float]:
        return [value for value in self.values.values() if math.isfinite(value)]

    @property
    def failed(self) -> int:
        """How many of its trainings diverged or failed."""
        return len(self.values) - len(self.finite)

    @property
    def estimate(self) -> Estimate:
        """Mean over the trainings that ended well, with its 95% interval."""
        return estimate(self.finite)

    @property
    def name(self) -> str:
        return "the baseline" if self.role == "baseline" else f"trial {trial_name(self.source or 0)}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of the finish, in words and numbers; `str()` gives the words.

    Attributes:
        winner: the finalist with the best mean; one that never failed if there is one. None if all failed.
        baseline: None if none was given, or none of its trainings ended well.
        gain: paired improvement of the winner over the baseline, positive is better, whatever the mode;
            None without two seeds in common.
        significant: True if the gain's interval lies above zero; None without an interval.
        seeds_matter: False if every configuration gave one value for all its seeds; None if unknown.
        contenders: all that were trained again, best mean first; those with a failed training come last.
        baseline_won: the winner has the baseline's own configuration; it is among the contenders once, and
            has no gain over itself.
        effects: of a raised model, what was asked for and did not reach the optimizer as such, or was not
            observed to; they stand in the text.
    """

    text: str
    winner: Contender | None = None
    baseline: Contender | None = None
    gain: Estimate | None = None
    significant: bool | None = None
    seeds_matter: bool | None = None
    contenders: Sequence[Contender] = field(default_factory=tuple)
    baseline_won: bool = False
    effects: Sequence[str] = ()

    def with_effects(self, effects: Sequence[str]) -> Verdict:
        """The same, and what became of the values that were asked for."""
        return replace(self, text="\n".join((self.text, *effects)), effects=effects) if effects else self

    def __str__(self) -> str:
        return self.text

    @property
    def keeps_baseline(self) -> bool:
        """Whether the baseline, which is another configuration, is held for as good a choice or a better."""
        if self.baseline_won or self.gain is None:
            return False
        return not self.significant if self.significant is not None else self.gain.mean <= 0

    @property
    def better(self) -> str:
        """Whether the winner is better than the baseline, in a word or two for a table."""
        if self.baseline_won:
            return "the baseline won"
        if self.significant is not None:
            return "yes" if self.significant else "not significantly"
        if self.gain is None:
            return "not known"
        return "yes, on every seed alike" if self.gain.mean > 0 else "no, on every seed alike"


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Mean and Student's t interval of finite values."""
    n = len(values)
    mean = float(np.mean(values)) if n else math.nan
    if n < 2:
        return Estimate(mean, math.nan, math.nan, n)
    from scipy import stats

    spread = float(np.std(values, ddof=1)) if len(set(values)) > 1 else 0.0
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * spread / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def once_each(contenders: Sequence[Contender]) -> list[tuple[str, Contender]]:
    """(name, contender), each configuration once.

    The trial that was the baseline can be a finalist too; both were trained on the same seeds, so that its
    row would say what the baseline's says.
    """
    baseline = next((c for c in contenders if c.role == "baseline"), None)
    if baseline is None:
        return [(c.name, c) for c in contenders]
    twin = next(
        (c for c in contenders if c is not baseline and dict(c.config) == dict(baseline.config)), None
    )
    name = baseline.name if twin is None else f"{baseline.name}, {twin.name}"
    return [(name if c is baseline else c.name, c) for c in contenders if c is not twin]


def judge(contenders: Sequence[Contender], metric: str, mode: Mode, raised: int | None = None) -> Verdict:
    """The verdict on what the finish trained again.

    `raised`: of how many models that were raised side by side it is one; None where trials were picked from.
    """
    if not contenders:
        return Verdict(f"No finals were run: {_why_no_finals(raised)}")
    ranked = sorted(contenders, key=lambda c: (c.failed > 0, score(c.estimate.mean, mode)))
    able = [c for c in ranked if c.finite]
    winner = next((c for c in able if c.role != "baseline"), None)
    baseline = next((c for c in able if c.role == "baseline"), None)
    if winner is None:
        return Verdict(_all_failed(contenders), baseline=baseline, contenders=ranked)
    repeated = [c for c in able if len(c.finite) > 1]
    seeds_matter = any(len(set(c.finite)) > 1 for c in repeated) if repeated else None
    if baseline is not None and dict(winner.config) == dict(baseline.config):
        lines = [
            _winner_line(winner, metric, seeds_matter),
            f"The baseline won: trial {winner.source} has its configuration, and no other did better.",
            *_seed_lines(seeds_matter),
            *_failure_lines(contenders),
        ]
        once = [c for c in ranked if c is not winner]
        return Verdict("\n".join(lines), winner, baseline, None, False, seeds_matter, once, baseline_won=True)
    finalists = sum(c.role != "baseline" for c in contenders)
    gain = _gain(winner, baseline, mode, finalists) if baseline else None
    significant = _significance(gain, seeds_matter)
    lines = [
        _winner_line(winner, metric, seeds_matter),
        *_gain_lines(winner, baseline, contenders, gain, significant, finalists),
        *_seed_lines(seeds_matter),
        *_failure_lines(contenders),
    ]
    return Verdict("\n".join(lines), winner, baseline, gain, significant, seeds_matter, ranked)


def _why_no_finals(raised: int | None) -> str:
    if raised is None:
        return "the best trial's value was the best of many noisy ones, so it is optimistic."
    again = "raysearch replay trains its schedule again on fresh seeds, and says what it is worth."
    if raised == 1:
        return f"this is what one model came to in one training, picked from no others; {again}"
    return f"this is the best of {raised} models that were raised, so it is a little optimistic; {again}"


def _gain(winner: Contender, baseline: Contender, mode: Mode, finalists: int) -> Estimate | None:
    sign = 1 if mode == "max" else -1
    pairs = [
        (winner.values[seed], baseline.values[seed]) for seed in winner.values if seed in baseline.values
    ]
    gains = [
        sign * (ours - theirs) for ours, theirs in pairs if math.isfinite(ours) and math.isfinite(theirs)
    ]
    return estimate(gains, 1 - (1 - LEVEL) / finalists) if len(gains) > 1 else None


def _significance(gain: Estimate | None, seeds_matter: bool | None) -> bool | None:
    return gain.low > 0 if gain and seeds_matter else None


def _winner_line(winner: Contender, metric: str, seeds_matter: bool | None) -> str:
    n = len(winner.finite)
    if n == 1 or not seeds_matter:
        return f"Trial {winner.source}: {metric} {winner.estimate.mean:.5g} on {_count(n, 'fresh seed')}."
    e = winner.estimate
    interval = f"95% interval {e.low:.5g} to {e.high:.5g}"
    return f"Trial {winner.source}: {metric} {e.mean:.5g} on {n} fresh seeds, {interval}."


def _gain_lines(
    winner: Contender,
    baseline: Contender | None,
    contenders: Sequence[Contender],
    gain: Estimate | None,
    significant: bool | None,
    finalists: int,
) -> list[str]:
    if baseline is None:
        given = any(c.role == "baseline" for c in contenders)
        why = "every training of the baseline failed" if given else "no baseline was given"
        return [f"No gain can be stated: {why}."]
    if gain is None:
        return ["No gain can be stated: fewer than two seeds on which both it and the baseline ended well."]
    if significant is None:
        word = "better than" if gain.mean > 0 else "worse than" if gain.mean < 0 else "no better than"
        return [f"It is {word} the baseline by {abs(gain.mean):.5g} on every seed alike."]
    picked = f", allowing for the pick among {finalists}" if finalists > 1 else ""
    numbers = (
        f"{gain.mean:.5g} on {gain.n} paired seeds, 95% interval {gain.low:.5g} to {gain.high:.5g}{picked}"
    )
    if significant:
        return [f"Better than the baseline by {numbers}."]
    if gain.high < 0:
        return [f"Worse than the baseline: gain {numbers}. Keep the baseline."]
    return [f"No significant gain over the baseline: {numbers}. {_advice(gain)}"]


def _advice(gain: Estimate) -> str:
    if gain.mean <= 0:
        return "Keep the baseline."
    return "More seeds in the finish would narrow the interval; until then the baseline is as good a choice."


def _seed_lines(seeds_matter: bool | None) -> list[str]:
    if seeds_matter is not False:
        return []
    return [
        "Seeds change nothing: each configuration gave one and the same value for all its seeds, so there is"
        " no noise to measure and no interval. Check that the trainable draws from the seed it is given."
    ]


def _failure_lines(contenders: Sequence[Contender]) -> list[str]:
    lines = []
    for contender in contenders:
        failed = contender.failed
        if failed:
            first = next((f": {error}" for error in contender.errors if error), "")
            lines.append(
                f"{failed} of {_count(len(contender.values), 'training')} of {contender.name} failed or"
                f" diverged; it ranks behind those that never did{first}"
            )
    return lines


def _all_failed(contenders: Sequence[Contender]) -> str:
    finalists = [c for c in contenders if c.role != "baseline"]
    trained = sum(len(c.values) for c in finalists)
    if not trained:
        return "No finalist was trained again yet, so the winner has no value on fresh seeds."
    error = next((e for c in finalists for e in c.errors if e), "")
    why = f" The first error: {error}" if error else ""
    return (
        f"All {_count(trained, 'training')} of the finalists failed or diverged, so there is no winner.{why}"
    )


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
