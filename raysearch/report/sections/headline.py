"""The top of a report: its headline and tiles; and the questions at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raysearch.core.formatting import duration, number, setting
from raysearch.report.sections.values import DIGITS, Tile
from raysearch.results.gain_forecast import last_forecast
from raysearch.results.goal_table import others_of
from raysearch.results.plots import cluster
from raysearch.results.plots.digest import valued
from raysearch.schedule import way_to_gain
from raysearch.space.names import dotted

if TYPE_CHECKING:
    from raysearch.report.standing import Standing
    from raysearch.results import Best, Results


def headline_of(results: Results, winner: Best | None, now: Standing) -> tuple[str, str]:
    """(the outcome in one sentence, its tone as in `Tile`); of a run that is not finished, that first."""
    if not (now.is_open or now.is_unfinished) or (now.has_failed and winner is None):
        return _found(results, winner)
    why = "the search failed" if now.has_failed else now.words
    state = "Still being run" if now.is_open else f"Not finished, {why}"
    if winner is None:
        so_far = "no trial has ended well yet" if len(results.digest.trials) else "no trial has ended yet"
    else:
        so_far = f"best {_shown(results, winner)[0]} so far {_shown(results, winner)[1]}"
    return f"{state}: {so_far}.", "" if now.is_open else "warn"


def _found(results: Results, winner: Best | None) -> tuple[str, str]:
    """What a run that ended found, and its tone."""
    if winner is None:
        return "No trial ended well.", "bad"
    verdict = results.verdict()
    if verdict.baseline_won:
        return "The baseline won: nothing that was tried did better.", "warn"
    if results.goals.several and results.raised is None:
        return _of_front(results)
    if verdict.gain is None:
        way = way_to_gain(results)
        known = f"the baseline is not known yet: {way} finds it" if way else "a baseline is not known"
        metric, value = _shown(results, winner)
        return f"Best {metric} {value}; its gain over {known}.", ""
    gain = number(abs(verdict.gain.mean), 4)
    if verdict.significant:
        return f"Better than the baseline by {gain}, and seeds do not explain it.", "good"
    if verdict.gain.high < 0:
        return f"Worse than the baseline by {gain}: keep the baseline.", "bad"
    if verdict.significant is None:
        word = "better" if verdict.gain.mean > 0 else "no better"
        return f"{word.capitalize()} than the baseline by {gain}, on every seed alike.", "warn"
    return "No significant gain over the baseline.", "warn"


def _of_front(results: Results) -> tuple[str, str]:
    """The headline of a search of several objectives."""
    count, goals = len(results.front), results.goals
    names = f"{', '.join([*goals.modes][:-1])} and {[*goals.modes][-1]}"
    members = "1 configuration" if count == 1 else f"{count} configurations"
    if not count:
        return f"No front in {names}. {results.front.nearest}", "bad"
    knee = results.front.pick()
    taken = f"the knee, {knee.name}, has {goals.in_words(knee.values)}"
    if not results.front.certified:
        return f"A front of {members} in {names}, as searched: no finish certified it; {taken}.", "warn"
    return f"A front of {members} in {names}, on fresh seeds; {taken}.", "good"


def _shown(results: Results, winner: Best) -> tuple[str, str]:
    """(the leading metric, its value, and what else counts): `loss`, `0.31 (with latency 18.2)`."""
    value, others = number(winner.value, DIGITS), others_of(results, winner)
    if not others:
        limits = " within the limits" if results.goals.limits else ""
        return results.metric, f"{value}{limits}"
    said = ", ".join(f"{dotted(name)} {number(other, DIGITS)}" for name, other in others.items())
    return results.metric, f"{value} (with {said})"


def tiles_of(results: Results, winner: Best | None) -> list[Tile]:
    """The figures at the top, most important first."""
    verdict, digest = results.verdict(), results.digest
    tiles: list[Tile] = []
    if winner is not None:
        mean = winner.mean if winner.mean is not None else winner.value
        searched = "of one training" if results.raised == 1 else "as searched, so optimistic"
        below = f"mean of {winner.seeds} fresh seeds" if winner.mean is not None else searched
        leads = "; it leads" if results.goals.several else ""
        tiles.append(Tile(f"best {results.metric}", number(mean, DIGITS), f"{below}{leads}", "good"))
        tiles += _goal_tiles(results, winner)
    if verdict.baseline is not None:
        e = verdict.baseline.estimate
        tiles.append(Tile("baseline", number(e.mean, DIGITS), f"mean of {e.n} seeds"))
    if verdict.gain is not None:
        g = verdict.gain
        tone = "good" if verdict.significant else "bad" if g.high < 0 else "warn"
        tiles.append(Tile("gain", number(g.mean, 4), f"95%: {number(g.low, 3)} to {number(g.high, 3)}", tone))
    if (going_on := last_forecast(results.events())) is not None:
        gains = f"{setting(going_on.low, 2)} to {setting(going_on.high, 2)}"
        tiles.append(Tile("going on gains", gains, f"90%, in {going_on.ahead}"))
    trials, segments = len(digest.trials), len(digest.segments)
    tiles.append(Tile("trials", f"{trials:,}", f"in {segments:,} segments"))
    share, hours, workers = cluster.utilisation(digest)
    lives = digest.lives.count
    below = "from first start to last end" if lives == 1 else f"in {lives} lives, without the time between"
    tiles.append(Tile("took", duration(digest.took_s), below))
    used = "1 worker" if workers == 1 else f"{workers:,} workers"
    tiles.append(Tile("trained", duration(hours * 3600), f"on {used}, {share:.0%} busy"))
    failed, diverged = (int(digest.segments.having("status", s).sum()) for s in ("failed", "diverged"))
    tone = "bad" if failed else "warn" if diverged else ""
    tiles.append(Tile("failed", f"{failed:,}", f"and {diverged:,} diverged", tone))
    return tiles


def _goal_tiles(results: Results, winner: Best) -> list[Tile]:
    """What counts besides the leading objective, and the front; none for one metric alone."""
    goals = results.goals
    found = []
    for name, value in others_of(results, winner).items():
        limits = "; ".join(limit.text for limit in goals.limits if name in limit.names)
        found.append(Tile(dotted(name), number(value, DIGITS), limits or "of the same trial"))
    if goals.several and results.raised is None:
        how = "on fresh seeds" if results.front.certified else "as searched"
        found.append(Tile("front", f"{len(results.front)}", f"configurations, {how}"))
    if goals.limits and results.raised is None:
        ended_well = valued(results.digest)
        beyond = int(results.digest.beyond[ended_well].sum())
        found.append(
            Tile("beyond limits", f"{beyond:,}", f"of {int(ended_well.sum()):,} trials that ended well")
        )
    return found


def checks_of(results: Results, winner: Best | None) -> list[str]:
    """The questions to answer before the winner is used."""
    verdict = results.verdict()
    return [
        "The verdict rests on fresh seeds, not on the value that the search picked"
        if verdict.contenders
        else "No finish was run: the winner still has to be trained again on fresh seeds",
        "The baseline is what we train with today",
        "The winner does not lie at an edge of the space",
        "What went wrong has been looked at",
        "The gain is worth what the winner costs to train and to serve",
    ]
