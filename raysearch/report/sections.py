"""The sections of a report, as values: one text for the HTML file and for W&B.

A section has words, figures and tables; how they are set is the business of who shows them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raysearch.core.formatting import duration, number, setting, settings
from raysearch.core.segment import trial_name
from raysearch.errors import RunError
from raysearch.results.plots import cluster
from raysearch.results.plots.lineage import is_raised
from raysearch.results.plots.style import note_of
from raysearch.results.verdict import Contender

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from raysearch.results import Best, Results

TRIALS_SHOWN = 15
CAUSES_SHOWN = 12
FAILURES_READ = 200_000  # of which the causes are counted exactly; beyond it a sample is
DIGITS = 5


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of plain texts; columns whose positions are in `numeric` are set to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure and what is said below it."""

    name: str
    title: str
    figure: go.Figure
    words: str = ""

    @property
    def note(self) -> str:
        """What the reader should know of it: how to read it, and what it leaves out."""
        return " ".join(part for part in (self.words, note_of(self.figure)) if part)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it, in this order: words, pictures, tables, code."""

    key: str
    title: str
    words: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    code: str = ""


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure that stands out at the top; `tone` is good, bad, warn or nothing."""

    label: str
    value: str
    below: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Content:
    """All of a report."""

    name: str
    metric: str
    better: str
    headline: str
    tone: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    checks: Sequence[str] = field(default_factory=tuple)


def content_of(results: Results) -> Content:
    """The report of a run as it stands now, whether it is finished or not."""
    try:
        winner: Best | None = results.best
    except RunError:
        winner = None
    makers: Sequence[Callable[[Results, Best | None], Section | None]] = (
        _outcome,
        _past,
        _history,
        _progress,
        _space,
        _trials,
        _raised,
        _curves,
        _cluster,
        _failures,
        _reproduce,
    )
    made = [maker(results, winner) for maker in makers]
    headline, tone = _headline(results, winner)
    return Content(
        name=results.digest.name,
        metric=results.metric,
        better=results.digest.better,
        headline=headline,
        tone=tone,
        tiles=_tiles(results, winner),
        sections=[section for section in made if section is not None],
        checks=_checks(results, winner),
    )


# ---- the past, and the months after


def _past(results: Results, winner: Best | None) -> Section | None:
    from raysearch.workflows.memory.effect import helped

    if winner is None or not (results.spec.get("strategy") or {}).get("transfer"):
        return None
    found = helped(results)
    if found is None:
        return None
    rows = [[str(v) if isinstance(v, str) else number(v, DIGITS) for v in row.values()] for row in found.rows]
    header = [name.replace("_", " ") for name in found.rows[0]]
    table = Table(header, rows, frozenset(range(1, len(header))))
    return Section("past", "What the past did", [str(found)], tables=[table])


def _history(results: Results, winner: Best | None) -> Section | None:
    from raysearch.results.plots.history import history
    from raysearch.workflows.retest.history import history_frame

    retests = history_frame(results.path)
    if not len(retests):
        return None
    picture = Picture("history", "Re-tests of these settings", history(retests, results.metric))
    told: list[dict[str, Any]] = retests.to_dict("records")  # type: ignore[assignment]
    rows = [[str(r["day"]), r["verdict"], r["text"].splitlines()[0], str(r["due"] or "")] for r in told]
    table = Table(["day", "verdict", "in words", "next"], rows)
    return Section("history", "These settings over the months", [], [picture], [table])


# ---- the outcome


def _headline(results: Results, winner: Best | None) -> tuple[str, str]:
    """(what a reader in a hurry has to know, tone)."""
    if winner is None:
        return "No trial ended well.", "bad"
    verdict = results.verdict()
    if verdict.baseline_won:
        return "The baseline won: nothing that was tried did better.", "warn"
    if verdict.gain is None:
        return (
            f"Best {results.metric} {number(winner.value, DIGITS)}; its gain over a baseline is not known.",
            "",
        )
    gain = number(abs(verdict.gain.mean), 4)
    if verdict.significant:
        return f"Better than the baseline by {gain}, and seeds do not explain it.", "good"
    if verdict.gain.high < 0:
        return f"Worse than the baseline by {gain}: keep the baseline.", "bad"
    if verdict.significant is None:
        word = "better" if verdict.gain.mean > 0 else "no better"
        return f"{word.capitalize()} than the baseline by {gain}, on every seed alike.", "warn"
    return "No significant gain over the baseline.", "warn"


def _tiles(results: Results, winner: Best | None) -> list[Tile]:
    verdict, digest = results.verdict(), results.digest
    tiles: list[Tile] = []
    if winner is not None:
        mean = winner.mean if winner.mean is not None else winner.value
        searched = "of one training" if results.raised == 1 else "as searched, so optimistic"
        below = f"mean of {winner.seeds} fresh seeds" if winner.mean is not None else searched
        tiles.append(Tile(f"best {results.metric}", number(mean, DIGITS), below, "good"))
    if verdict.baseline is not None:
        e = verdict.baseline.estimate
        tiles.append(Tile("baseline", number(e.mean, DIGITS), f"mean of {e.n} seeds"))
    if verdict.gain is not None:
        g = verdict.gain
        tone = "good" if verdict.significant else "bad" if g.high < 0 else "warn"
        tiles.append(Tile("gain", number(g.mean, 4), f"95%: {number(g.low, 3)} to {number(g.high, 3)}", tone))
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


def _outcome(results: Results, winner: Best | None) -> Section:
    if winner is None:
        try:
            why = str(results.best)
        except RunError as error:
            why = str(error)
        return Section("outcome", "Outcome", (why,))
    searched = (
        f"Trial {trial_name(winner.trial, ',')} had {results.metric} {number(winner.value, DIGITS)} at "
        f"iteration {winner.iteration:,} of its search ({results.digest.better})."
    )
    words = (*str(results.verdict()).splitlines(), searched)
    tables = [Table(("hyper-parameter", "best", *_baseline_head(results)), _config_rows(results, winner))]
    contenders = results.verdict().contenders
    if contenders:
        header = ("on fresh seeds", f"mean {results.metric}", "95% interval", "seeds", "failed")
        rows = [(c.name, *_estimate(c), str(c.failed)) for c in contenders]
        tables.insert(0, Table(header, rows, frozenset({1, 2, 3, 4})))
    return Section("outcome", "Outcome", words, (), tables)


def _baseline_head(results: Results) -> tuple[str, ...]:
    return ("baseline",) if results.spec.get("baseline") else ()


def _config_rows(results: Results, winner: Best) -> list[tuple[str, ...]]:
    baseline = settings(results.spec.get("baseline") or {}, DIGITS)
    return [
        (name, value, *((baseline.get(name, "-"),) if baseline else ()))
        for name, value in settings(winner.config, DIGITS).items()
    ]


def _estimate(contender: Contender) -> tuple[str, str, str]:
    e = contender.estimate
    interval = "-" if e.low != e.low else f"{number(e.low, DIGITS)} to {number(e.high, DIGITS)}"
    return number(e.mean, DIGITS), interval, str(e.n)


# ---- the search


def _progress(results: Results, winner: Best | None) -> Section:
    plot = results.plot
    pictures = [
        Picture("progress", "Best so far", plot.progress()),
        Picture(
            "rungs",
            "How far the trials came",
            plot.rungs(),
            "A trial is counted at every rung to which it was trained.",
        ),
    ]
    if is_raised(results.digest):
        pictures.pop()
    return Section("progress", "Progress", (), pictures)


def _space(results: Results, winner: Best | None) -> Section | None:
    plot = results.plot
    if len(results.digest.ranking) < 3 or is_raised(
        results.digest
    ):  # what a raised model ends with says little
        return None
    pictures = [
        Picture(
            "parallel",
            "Parallel coordinates",
            plot.parallel(),
            "A line a trial, green the best and grey the poorest; the hyper-parameters that matter most stand "  # noqa: E501
            "nearest to the metric, and its better end is up.",
        ),
        Picture("importance", "Importance", plot.importance()),
        Picture(
            "slices",
            "Slices",
            plot.slices(),
            "Large green points were trained the longest; the circle is the best trial.",
        ),
    ]
    if plot.importances is None:
        pictures = [p for p in pictures if p.name != "importance"]
    return Section("space", "What matters", (), pictures)


def _trials(results: Results, winner: Best | None) -> Section | None:
    digest = results.digest
    at = digest.ranking[:TRIALS_SHOWN]
    if not len(at):
        return None
    trials = digest.trials
    columns = digest.columns(trials.leaves[at])
    names = [n for n in (digest.free or tuple(columns)) if n in columns]
    header = ("trial", "iterations", results.metric, *names)
    rows = []
    for i, position in enumerate(at.tolist()):
        cells = [_cell(columns[n][i]) for n in names]
        value = number(float(trials.values[position]), DIGITS)
        rows.append(
            (
                trial_name(int(trials.numbers[position]), ","),
                f"{int(trials.iterations[position]):,}",
                value,
                *cells,
            )
        )
    title = (
        f"The best {len(rows)} of {len(trials):,} trials"
        if len(rows) < len(trials)
        else f"All {len(rows)} trials"
    )
    more = f"All of them: raysearch trials {results.path} --csv trials.csv" if len(rows) < len(trials) else ""
    numeric = frozenset(range(len(header)))
    words = ["Those trained the longest come first."] + ([more] if more else [])
    return Section("trials", title, words, (), [Table(header, rows, numeric)])


def _cell(value: Any) -> str:
    if value is None or value != value or str(value) == "<NA>":
        return ""
    return setting(value.item() if hasattr(value, "item") else value, DIGITS)


def _curves(results: Results, winner: Best | None) -> Section | None:
    if not len(results.digest.ranking):
        return None
    return Section("curves", "Learning curves", (), [Picture("curves", "", results.plot.curves())])


def _cluster(results: Results, winner: Best | None) -> Section | None:
    if not len(results.digest.segments):
        return None
    return Section("cluster", "Who trained what when", (), [Picture("timeline", "", results.plot.timeline())])


def _raised(results: Results, winner: Best | None) -> Section | None:
    if not is_raised(results.digest):
        return None
    lineage = (
        "From left to right over the iterations; each point is the end of a segment, green what led to the "
        "winner. Its reason is shown where you point at it."
    )
    return Section(
        "raised",
        "Schedules and lineage",
        ("Configurations changed while models were trained.",),
        [
            Picture("schedules", "Schedules", results.plot.schedules()),
            Picture("lineage", "Lineage", results.plot.lineage(), lineage),
        ],
    )


# ---- what went wrong, and how to do it again


def _failures(results: Results, winner: Best | None) -> Section | None:
    segments = results.digest.segments
    bad = np.flatnonzero(segments.having("status", "failed", "diverged", "lost"))
    if not len(bad):
        return None
    read = bad[:FAILURES_READ]
    columns = segments.table.select(["status", "error", "trial"]).take(pa.array(read)).to_pydict()
    causes: dict[tuple[str, str], list[Any]] = {}
    for status, error, trial in zip(columns["status"], columns["error"], columns["trial"], strict=True):
        first = str(error or "").split("\n")[0] or "the metric became NaN or infinite"
        found = causes.setdefault((str(status), without_numbers(first)), [0, trial, first])
        found[0] += 1
    ranked = sorted(causes.items(), key=lambda item: -item[1][0])
    rows = [
        (status, first, f"{n:,}", trial_name(trial, ","))
        for (status, _), (n, trial, first) in ranked[:CAUSES_SHOWN]
    ]
    words = [
        f"{len(bad):,} of {len(segments):,} segments did not end well. Causes that differ only in numbers are counted together, and the first is quoted."  # noqa: E501
    ]
    if len(read) < len(bad):
        words.append(f"Counted among the first {len(read):,} of them.")
    if len(ranked) > CAUSES_SHOWN:
        words.append(
            f"{len(ranked) - CAUSES_SHOWN:,} rarer causes are left out: raysearch trials {results.path}"
        )
    table = Table(("status", "cause", "segments", "first trial"), rows, frozenset({2, 3}))
    return Section("failures", "What went wrong", words, (), [table])


def without_numbers(text: str) -> str:
    """An error text with its numbers replaced, so that errors of one cause are one."""
    return re.sub(r"\d+(\.\d+)?([eE][+-]?\d+)?", "#", text)[:300]


def _reproduce(results: Results, winner: Best | None) -> Section:
    from raysearch.core.yaml_io import write_yaml

    starts = [event.detail for event in results.events() if event.kind == "start"]
    versions = (
        ", ".join(f"{k} {v}" for k, v in starts[-1].items() if isinstance(v, str)) if starts else "not noted"
    )
    words = [
        f"Written by: {versions}.",
        "Save what follows as search.yaml, then: raysearch launch search.yaml",
    ]
    if winner is not None:
        words.append(
            f"The winner alone: raysearch export {results.path} --config -o best.yaml --checkpoint best"
        )
    return Section("reproduce", "To do it again", words, code=write_yaml(results.spec).rstrip())


def _checks(results: Results, winner: Best | None) -> list[str]:
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
