"""The table of the best trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raysearch.core.formatting import number, setting
from raysearch.core.segment import trial_name
from raysearch.report.sections.values import DIGITS, Section, TextTable
from raysearch.space.names import dotted

if TYPE_CHECKING:
    from raysearch.results import Best, Results
    from raysearch.results.columns import Integers


TRIALS_SHOWN = 15


def trials(results: Results, winner: Best | None) -> Section | None:
    """The best trials, or the lines of raised models, the longest first; None if no trial ended well."""
    digest = results.digest
    if results.raised is not None:
        return _lines(results)
    at = digest.ranking[:TRIALS_SHOWN]
    if not len(at):
        return None
    trials = digest.trials
    columns = digest.columns(trials.leaves[at])
    names = [n for n in (digest.free or tuple(columns)) if n in columns]
    further = {name: values[at] for name, values in digest.further.items()}
    marks = _marks(results, at)
    header = ("trial", "iterations", results.metric, *map(dotted, further), *marks, *names)
    rows = []
    for i, position in enumerate(at.tolist()):
        cells = [_cell(columns[n][i]) for n in names]
        value = number(float(trials.values[position]), DIGITS)
        rows.append(
            (
                trial_name(int(trials.numbers[position]), ","),
                f"{int(trials.iterations[position]):,}",
                value,
                *(number(float(values[i]), DIGITS) for values in further.values()),
                *(texts[i] for texts in marks.values()),
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
    if not results.goals.is_plain:
        within = ", of them those within the limits" if results.goals.limits else ""
        words[0] = f"Those trained the longest come first{within}, then by {results.metric}."
    return Section("trials", title, words, (), [TextTable(header, rows, numeric)])


def _marks(results: Results, at: Integers) -> dict[str, list[str]]:
    """Columns that say which trials are beyond the limits, and which are on the front."""
    found, digest = {}, results.digest
    if results.goals.limits:
        found["limits"] = ["beyond" if beyond else "within" for beyond in digest.beyond[at].tolist()]
    if results.goals.several:
        on = {member.trial for member in results.front}
        found["front"] = ["yes" if number in on else "-" for number in digest.trials.numbers[at].tolist()]
    return found


def _lines(results: Results) -> Section | None:
    frame = results.trials(lines=True)
    frame = frame[frame["status"] == "completed"]
    if not len(frame):
        return None
    frame = frame.sort_values("value", ascending=results.mode == "min", kind="stable")
    frame = frame.sort_values("iterations", ascending=False, kind="stable").head(TRIALS_SHOWN)
    names = [name for name in frame.columns if name.startswith("config.")]
    header = ("trial", "iterations", results.metric, *(name.removeprefix("config.") for name in names))
    rows = [
        (
            trial_name(int(row["trial"]), ","),
            f"{int(row['iterations']):,}",
            number(float(row["value"]), DIGITS),
            *(_cell(row[name]) for name in names),
        )
        for row in frame.to_dict("records")
    ]
    title = "The line of the raised model" if len(rows) == 1 else f"The {len(rows)} longest lines"
    words = (
        "From a fresh model to its end, with the values that it ended with. Probes that lost and stretches "
        "that were taken back are in the lineage."
    )
    numeric = frozenset(range(len(header)))
    return Section("trials", title, (words,), (), [TextTable(header, rows, numeric)])


def _cell(value: Any) -> str:
    if value is None or value != value or str(value) == "<NA>":
        return ""
    return setting(value.item() if hasattr(value, "item") else value, DIGITS)
