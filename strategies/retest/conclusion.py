"""What a retest found, in words that claim no more than was tested."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from raysearch.strategies.retest.paired_test import Rules, Standing, pairs_needed, pooled_sd

Word = Literal["fresh", "stale", "inconclusive"]
DRIFT_SIGMAS = 3.0
TINY = 1e-12


class EarlyEnd(enum.Enum):
    """Why a retest ended before its challengers were compared."""

    NONE = "it did not"
    IDENTICAL = "seeds change nothing"
    DIVERGED = "the incumbent diverged"
    FAILED = "the incumbent failed"


@dataclass(frozen=True)
class Evidence:
    """All that a retest saw.

    Attributes:
        whys: what each challenger is, by its number.
        gains: paired gains of each; positive is better than the incumbent.
        failed: challengers with a training that failed or diverged, and why.
        winner: the challenger that the pairs found better.
        confirmed: gains of the winner in the confirmation; -inf where it failed.
        early_end: whether the incumbent's own trainings ended it early, and how.
        first_error: of the incumbent's trainings that did not end well; empty if all did.
        stored, now: the metric of the incumbent after a whole training, then and now.
    """

    whys: Mapping[int, str]
    gains: Mapping[int, Sequence[float]]
    standings: Mapping[int, Standing]
    failed: Mapping[int, str]
    winner: int | None
    confirmed: Sequence[float]
    early_end: EarlyEnd
    first_error: str
    stored: Sequence[float]
    now: Sequence[float]
    runs: int
    rules: Rules
    test_iterations: int
    max_iterations: int
    metric: str


@dataclass(frozen=True)
class Judgement:
    """The verdict of a retest; `str()` gives the words.

    Attributes:
        word: fresh, stale or inconclusive.
        winner: number of the challenger to change to; None if there is none.
        gain: mean paired gain of the winner; NaN without one.
        drift: whether the incumbent itself gives another value than when it was stored; None if unknown.
        pairs_needed: about how many pairs would decide; None if it is decided or no number would.
        runs: trainings that the retest took.
    """

    word: Word
    text: str
    winner: int | None = None
    gain: float = math.nan
    drift: bool | None = None
    drift_text: str = ""
    pairs_needed: int | None = None
    runs: int = 0

    def __str__(self) -> str:
        return f"{self.text}\n{self.drift_text}".strip()


def judge(evidence: Evidence) -> Judgement:
    """The verdict on what was seen."""
    drift, drift_text = drifted(evidence.stored, evidence.now, evidence.metric)
    word, text, needed = _verdict(evidence)
    won = word == "stale" and evidence.winner is not None
    winner = evidence.winner if won else None
    gain = evidence.standings[winner].mean if winner is not None else math.nan
    return Judgement(word, text, winner, gain, drift, drift_text, needed, evidence.runs)


def drifted(stored: Sequence[float], now: Sequence[float], metric: str) -> tuple[bool | None, str]:
    """Whether |mean now - mean stored| > 3 sd sqrt(1/m + 1/n), sd that of the stored values; and the words.

    A Shewhart chart for means (Montgomery, Introduction to Statistical Quality Control, ch. 6).
    (None, why) with fewer than two stored values, or none now.
    """
    if len(stored) < 2 or not now:
        return None, ""
    before, after = math.fsum(stored) / len(stored), math.fsum(now) / len(now)
    sd = math.sqrt(math.fsum((v - before) ** 2 for v in stored) / (len(stored) - 1))
    limit = DRIFT_SIGMAS * sd * math.sqrt(1 / len(stored) + 1 / len(now))
    moved = abs(after - before) > limit
    said = f"The stored settings give {metric} {after:.5g} now and gave {before:.5g} when they were chosen"
    if moved:
        return True, f"{said}: more than noise explains ({limit:.3g}). Data, code or machine have changed."
    return False, f"{said}: within noise ({limit:.3g})."


def _verdict(e: Evidence) -> tuple[Word, str, int | None]:
    if e.early_end is EarlyEnd.IDENTICAL:
        return "inconclusive", _identical(e), None
    if e.early_end is EarlyEnd.DIVERGED:
        text = f"Stale: the stored settings no longer train, they diverged: {e.first_error}. Search again."
        return "stale", text, None
    if e.early_end is EarlyEnd.FAILED:
        text = f"Inconclusive: trainings of the stored settings failed: {e.first_error}"
        return "inconclusive", text, None
    if e.winner is not None:
        return _confirmed(e, e.winner)
    still_open = [a for a, s in e.standings.items() if s.fate == "open" and a not in e.failed]
    if still_open:
        return _inconclusive(e, still_open)
    if len(e.failed) == len(e.whys):
        return "inconclusive", f"Inconclusive: every challenger failed or diverged. {_failures(e)}", None
    return "fresh", _fresh(e), None


def _fresh(e: Evidence) -> str:
    pooled, _ = pooled_sd([g for a, g in e.gains.items() if a not in e.failed])
    bar = max(e.rules.eps, e.rules.margin * pooled)
    tested = len(e.whys) - len(e.failed)
    unit = (
        "the smallest gain that matters"
        if e.rules.eps >= bar
        else (f"{e.rules.margin:g} standard deviations of the difference between two trainings on one seed")
    )
    most = "rounding" if bar < TINY else f"{bar:.3g}"
    said = (
        f"Fresh: none of {tested} {'challenger' if tested == 1 else 'challengers'} is better than the stored "
        f"settings by more than {most} ({unit}). Others were not tried, so this does not say that the "
        "settings are the best there are."
    )
    return f"{said} {_failures(e)}".strip()


def _confirmed(e: Evidence, winner: int) -> tuple[Word, str, int | None]:
    one = e.standings[winner]
    found = (
        f"{e.whys[winner]} is better by {one.mean:.3g} over {one.n} pairs of {e.test_iterations} iterations "
        f"(at least {one.lower:.3g}, at level {e.rules.alpha:g} over all challengers and looks)"
    )
    n = len(e.confirmed)
    mean = math.fsum(e.confirmed) / n if n else math.nan
    if n and mean > e.rules.eps:
        confirmed = f"{n} pairs of whole trainings on other seeds confirm it, with a mean gain of {mean:.3g}"
        return "stale", f"Stale: {found}; {confirmed}. Change to it.", None
    why = "none of the trainings that were to confirm it ended well" if not n else ""
    if n:
        why = f"{n} pairs of whole trainings on other seeds do not confirm it: mean gain {mean:.3g}"
    return (
        "inconclusive",
        f"Inconclusive: {found}, but {why}. Keep the settings, and look again sooner.",
        None,
    )


def _inconclusive(e: Evidence, still_open: Sequence[int]) -> tuple[Word, str, int | None]:
    pooled, _ = pooled_sd([g for a, g in e.gains.items() if a not in e.failed])
    names = ", ".join(e.whys[a] for a in still_open)
    needs = [pairs_needed(e.standings[a], e.rules, pooled) for a in still_open]
    most = max((n for n in needs if n is not None), default=None)
    advice = "Keep the settings, and look again sooner."
    if most is not None and None not in needs:
        advice = f"About {most} pairs would decide ({2 * most} trainings for one challenger). {advice}"
    said = (
        f"Inconclusive: after {e.rules.pairs} pairs noise (standard deviation of a difference {pooled:.3g}) "
        f"hides whether the stored settings are still good. Open: {names}."
    )
    return "inconclusive", f"{said} {advice} {_failures(e)}".strip(), most


def _identical(e: Evidence) -> str:
    differences = [f"{e.whys[a]} {g[0]:+.3g}" for a, g in e.gains.items() if g]
    return (
        "Inconclusive: pairs are identical. The stored settings gave one and the same value on every seed, "
        "so seeds change nothing, and there is no noise to test against. Let the trainable draw from its "
        "seed (`seed_as`). On this one draw the challengers gain: " + ", ".join(differences) + "."
    )


def _failures(e: Evidence) -> str:
    return " ".join(f"{e.whys[a]} was dropped: {why}." for a, why in e.failed.items())
