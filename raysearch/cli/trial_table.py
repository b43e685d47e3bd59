"""`raysearch trials`: selects rows of the table of trials, shows them, writes them to files."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.cli.output import print_raw, writing
from raysearch.core.formatting import column, setting
from raysearch.core.segment import trial_name
from raysearch.core.terminal_text import cell, escaped
from raysearch.core.values import show as show_value
from raysearch.errors import SpecError, unknown
from raysearch.results.front import VIOLATION
from raysearch.space.expressions import Expression, compiled, shortened
from raysearch.space.names import dotted, flat_name

if TYPE_CHECKING:
    import pandas as pd

    from raysearch.results.results import Results
    from raysearch.run.display.safe_console import SafeConsole

ROWS_SHOWN = 20
SHOWN = ("trial", "status", "value", "iterations", "seconds")
_QUOTED = re.compile(r"""('[^']*'|"[^"]*")""")


def select(results: Results, where: str | None, sort: str | None, every: bool = False) -> pd.DataFrame:
    """The trials that meet `where`, sorted by `sort`; without it the best first, the failed last.

    Of raised models their lines, or with `every` each trial, those of losing probes too.

    Raises:
        SpecError: an unknown column, or a condition that cannot be read.
    """
    frame = results.trials(lines=not every)
    if where is not None:
        frame = filtered(frame, where)
    if sort is None:
        ordered = frame.sort_values(
            "value", ascending=results.mode == "min", kind="stable", na_position="last"
        )
        if VIOLATION in frame.columns:
            ordered = ordered.sort_values(VIOLATION, kind="stable", na_position="last")
        return ordered.sort_values("status", key=lambda status: status != "completed", kind="stable")
    name = sort.removeprefix("-")
    if name not in frame.columns:
        raise SpecError(f"--sort: {unknown('column', name, frame.columns)}")
    try:
        return frame.sort_values(name, ascending=not sort.startswith("-"), kind="stable", na_position="last")
    except TypeError:
        raise SpecError(f"--sort: the values of {name!r} have no order (numbers and text together)") from None


def quoted(where: str, columns: Sequence[str]) -> str:
    """`where`, in which `config["..."]` names columns in backticks and those that are no Python names."""
    odd = [name for name in columns if not all(map(_is_name, name.split(".")))]
    named = {f"`{name}`": name for name in columns} | {name: name for name in odd}
    choices = "|".join(map(re.escape, sorted(named, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![\w.])({choices})(?!\w)")
    parts = _QUOTED.split(where)
    return "".join(
        part if i % 2 else pattern.sub(lambda found: f"config[{named[found[1]]!r}]", part)
        for i, part in enumerate(parts)
    )


def _is_name(word: str) -> bool:
    return word.isidentifier() and not keyword.iskeyword(word)


def filtered(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """The rows that meet an expression; what a row lacks is NaN there.

    Raises:
        SpecError: it is no expression, speaks of an unknown column, or is neither true nor false.
    """
    try:
        text = quoted(where, [*frame.columns])
        meant = tuple((name, _column(name, frame)) for name in sorted(compiled(text, "--where").names))
        asked = compiled(text, "--where", meant)
        held = {name: [_known(value) for value in frame[name].tolist()] for name in asked.names}
        rows = (dict(zip(held, values, strict=True)) for values in zip(*held.values(), strict=True))
        return frame[[_is_met(asked, row) for row in rows]]
    except SpecError as error:
        columns = ", ".join(frame.columns)
        raise SpecError(f"{error}. Columns: {columns}; such as: value < 0.1 and config.lr > 0.01") from None


def _column(name: str, frame: pd.DataFrame) -> str:
    """The column that people mean by a name; `lr` is that of `config.lr`, where no other is called so."""
    columns = [*frame.columns]
    for spelt in (name, f"config.{name}"):
        if (found := flat_name(spelt, columns)) in columns:
            return found
    raise SpecError(f"--where: {unknown('column', dotted(name), columns)}")


def _known(value: Any) -> Any:
    return math.nan if _is_missing(value) else value


def _is_met(asked: Expression, row: dict[str, Any]) -> bool:
    """Whether a row meets the expression; one for which it has no value does not."""
    try:
        met = asked.value(row)
    except SpecError:
        raise
    except (ArithmeticError, ValueError):
        return False
    if not isinstance(met, bool):
        raise SpecError(f"{asked.what} {shortened(asked.text)} is {show_value(met)}, neither true nor false")
    return met


def show(out: SafeConsole, frame: pd.DataFrame, total: int) -> None:
    """Prints a table as wide as the screen, and which rows and columns it leaves out."""
    from rich.table import Table
    from rich.text import Text

    columns = [*frame.columns]
    at = columns.index("best_value") + 1
    further = columns[at : columns.index("iterations")]  # other objectives, what limits speak of
    names = [
        *SHOWN[:3],
        *further,
        *SHOWN[3:],
        *(name for name in frame.columns if name.startswith("config.")),
    ]
    cells = {name: [*map(escaped, _cells(frame, name))] for name in names}
    shown, hidden = _fitting(cells, out.width)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for name in shown:
        left = frame[name].dtype == object and not all(isinstance(v, (int, float)) for v in frame[name])
        table.add_column(Text(_title(name)), justify="left" if left else "right", no_wrap=True)
    for i in range(len(frame)):
        table.add_row(*(Text(cells[name][i]) for name in shown))
    out.print(table)
    notes = [f"{len(frame):,} of {total:,} trials; --limit shows more"] if len(frame) < total else []
    if hidden:
        notes.append(f"not shown: {', '.join(hidden)}; --csv or --json has them")
    for note in notes:
        out.print(Text(note, "dim"))


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """CSV with a header; `-` is stdout. Text that a spreadsheet would compute is put behind an apostrophe."""
    safe = frame.map(lambda value: cell(value) if isinstance(value, str) else value)
    text = safe.rename(columns=cell).to_csv(index=False)
    if str(path) == "-":
        print_raw(text)
        return
    with writing(path, "--csv") as file:
        file.write_text(text, encoding="utf-8")


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Parquet; a column that mixes numbers and text, which it cannot hold, becomes text."""
    from raysearch.results.frames import storable

    with writing(path, "--parquet") as file:
        storable(frame).to_parquet(file, index=False)


def _cells(frame: pd.DataFrame, name: str) -> list[str]:
    if name == "trial":
        return [trial_name(int(value)) for value in frame[name].tolist()]
    values = [None if _is_missing(value) else value for value in frame[name].tolist()]
    if name in ("value", "seconds") or (name not in SHOWN and not name.startswith("config.")):
        return column(values, 3 if name == "seconds" else 5)
    return ["" if value is None else setting(value) for value in values]


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType" or value != value


def _title(name: str) -> str:
    return name.removeprefix("config.")


def _fitting(cells: dict[str, list[str]], width: int) -> tuple[list[str], list[str]]:
    """(columns that fit side by side, those that do not)."""
    shown: list[str] = []
    hidden: list[str] = []
    for name, texts in cells.items():
        wide = max([len(_title(name)), *map(len, texts)]) + 2
        if name in SHOWN or (wide <= width and not hidden):
            shown.append(name)
            width -= wide
        else:
            hidden.append(name)
    return shown, hidden
