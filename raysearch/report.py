"""A run's report in Markdown: one file to read, to mail, or to put under version control.

Path("report.md").write_text(write_report(raysearch.load("runs/digits")))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from raysearch.errors import RunError
from raysearch.figures import number, settings
from raysearch.tree import Status
from raysearch.verdict import Contender

if TYPE_CHECKING:
    import pandas as pd

    from raysearch.results import Best, Results

TRIALS_SHOWN = 10
CAUSES_SHOWN = 10
DIGITS = 5


def write_report(results: Results) -> str:
    """The report as Markdown text; what users typed is escaped where Markdown would read it."""
    try:
        winner: Best | None = results.best
        outcome = [str(results.verdict()), "", *_winner(results, results.best)]
    except RunError as error:
        winner, outcome = None, [str(error)]
    name = _escaped(str(results.spec.get("name", results.path.name)))
    sections = [
        [f"# Search {name}", "", *outcome],
        _finals(results),
        _past(results) if winner is not None else [],
        _history(results),
        _rungs(results),
        _trials(results) if winner is not None else [],
        _failures(results),
        _reproduce(results),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _winner(results: Results, winner: Best) -> list[str]:
    lines = [
        f"Best: {results.metric} {number(winner.value, DIGITS)} at iteration {winner.iteration} of its search"
    ]
    lines[0] += f" (trial {winner.trial}; {'lower' if results.mode == 'min' else 'higher'} is better)."
    return [*lines, "", *_table(("hyper-parameter", "value"), settings(winner.config, DIGITS).items())]


def _history(results: Results) -> list[str]:
    from raysearch.histories import history_lines, history_svg

    lines = history_lines(results.path)
    picture = history_svg(results.path, results.metric) if lines else ""
    return ["## These settings over the months", "", picture, "", *lines] if lines else []


def _past(results: Results) -> list[str]:
    from raysearch.helped import helped

    found = helped(results)
    if found is None:
        return []
    rows = [[number(v, DIGITS) for v in row.values()] for row in found.rows]
    return ["## What the past did", "", str(found), "", *_table([*found.rows[0]], rows)]


def _finals(results: Results) -> list[str]:
    contenders = results.verdict().contenders
    if not contenders:
        return []
    rows = [(c.name, *_estimate(c), str(c.failed)) for c in contenders]
    header = ("on fresh seeds", f"mean {results.metric}", "95% interval", "seeds", "failed")
    return ["## The finish", "", *_table(header, rows)]


def _estimate(contender: Contender) -> tuple[str, str, str]:
    e = contender.estimate
    interval = "-" if e.low != e.low else f"{number(e.low, DIGITS)} to {number(e.high, DIGITS)}"
    return number(e.mean, DIGITS), interval, str(e.n)


def _rungs(results: Results) -> list[str]:
    segments = results.segments()
    search = segments[
        ~segments["role"].isin(("finalist", "baseline")) & (segments["status"] != Status.LOST.value)
    ]
    rows = []
    for stop, group in search.groupby("stop"):
        counts = group["status"].value_counts()
        best = group["value"].min() if results.mode == "min" else group["value"].max()
        rows.append(
            (
                str(stop),
                *(str(counts.get(s, 0)) for s in ("completed", "diverged", "failed")),
                number(best, DIGITS),
            )
        )
    header = ("iteration", "completed", "diverged", "failed", f"best {results.metric}")
    return ["## How far the trials came", "", *_table(header, rows)] if rows else []


def _trials(results: Results) -> list[str]:
    trials = results.trials().dropna(subset=["value"])
    order = ["iterations", "value"]
    best = trials.sort_values(order, ascending=[False, results.mode == "min"]).head(TRIALS_SHOWN)
    names = [c for c in best.columns if c.startswith("config.") and best[c].notna().any()]
    header = ("trial", "iterations", results.metric, *(n.removeprefix("config.") for n in names))
    rows = [_trial_row(row, names) for _, row in best.iterrows()]
    return [f"## The best {len(rows)} of {len(results.trials())} trials", "", *_table(header, rows)]


def _trial_row(row: pd.Series[Any], names: Sequence[str]) -> tuple[str, ...]:
    shown = settings({n: row[n] for n in names if row[n] is not None and row[n] == row[n]}, DIGITS)
    return (
        str(row["trial"]),
        str(row["iterations"]),
        number(row["value"], DIGITS),
        *(shown.get(n, "") for n in names),
    )


def _failures(results: Results) -> list[str]:
    segments = results.segments()
    bad = segments[segments["status"].isin([Status.FAILED.value, Status.DIVERGED.value, Status.LOST.value])]
    if bad.empty:
        return []
    causes = bad.groupby(["status", "error"], as_index=False)["trial"].agg(["size", "first"])
    causes = causes.sort_values("size", ascending=False)
    rows = [
        (row["status"], str(row["error"] or "").split("\n")[0], str(row["size"]), str(row["first"]))
        for row in causes.head(CAUSES_SHOWN).to_dict("records")
    ]
    more = len(causes) - len(rows)
    note = ["", f"{more} more causes: raysearch trials {results.path}"] if more > 0 else []
    return ["## What went wrong", "", *_table(("status", "cause", "segments", "first trial"), rows), *note]


def _reproduce(results: Results) -> list[str]:
    from raysearch.yamltext import write_yaml

    starts = [event.detail for event in results.events() if event.kind == "start"]
    versions = (
        ", ".join(f"{k} {v}" for k, v in starts[-1].items() if isinstance(v, str)) if starts else "not noted"
    )
    return [
        "## To do it again",
        "",
        f"Written by: {_escaped(versions)}. Save what follows as search.yaml, then",
        "`raysearch launch search.yaml`.",
        "",
        "````yaml",
        write_yaml(results.spec).rstrip(),
        "````",
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"

    return [line(header), "|" + "---|" * len(header), *(line(row) for row in rows)]


def _escaped(text: str) -> str:
    for mark in "\\`*_|<>[]#":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("\n", " ")
