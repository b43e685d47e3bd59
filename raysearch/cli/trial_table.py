"""`raysearch trials`: selects rows of the table of trials, shows them, writes them to files."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.cli.output import writing
from raysearch.core.formatting import column, setting
from raysearch.core.segment import trial_name
from raysearch.errors import SpecError, unknown

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from raysearch.results.results import Results

ROWS_SHOWN = 20
SHOWN = ("trial", "status", "value", "iterations", "seconds")
_QUOTED = re.compile(r"""(`[^`]*`|'[^']*'|"[^"]*")""")


def select(results: Results, where: str | None, sort: str | None) -> pd.DataFrame:
    """The trials that meet `where`, sorted by `sort`; without it the best first, the failed last.

    Raises:
        SpecError: an unknown column, or a condition that cannot be read.
    """
    frame = results.trials()
    if where is not None:
        frame = _filtered(frame, where)
    if sort is None:
        ordered = frame.sort_values(
            "value", ascending=results.mode == "min", kind="stable", na_position="last"
        )
        return ordered.sort_values("status", key=lambda status: status != "completed", kind="stable")
    name = sort.removeprefix("-")
    if name not in frame.columns:
        raise SpecError(f"--sort: {unknown('column', name, frame.columns)}")
    try:
        return frame.sort_values(name, ascending=not sort.startswith("-"), kind="stable", na_position="last")
    except TypeError:
        raise SpecError(f"--sort: the values of {name!r} have no order (numbers and text together)") from None


def quoted(where: str, columns: list[str]) -> str:
    """`where` with columns that are no identifiers (`config.lr`) in the backticks that pandas wants."""
    names = sorted((c for c in columns if not c.isidentifier()), key=len, reverse=True)
    if not names:
        return where
    pattern = re.compile(r"(?<![\w.`])(" + "|".join(map(re.escape, names)) + r")(?![\w`])")
    parts = _QUOTED.split(where)
    return "".join(part if i % 2 else pattern.sub(r"`\1`", part) for i, part in enumerate(parts))


def _filtered(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    try:
        return frame.query(quoted(where, [*frame.columns]), engine="python")
    except Exception as error:  # noqa: BLE001  (pandas raises nearly anything for what a user may write)
        raise SpecError(
            f"--where {where!r}: {error}. Columns: {', '.join(frame.columns)}; "
            "such as: value < 0.1 and config.lr > 0.01"
        ) from None


def show(out: Console, frame: pd.DataFrame, total: int) -> None:
    """Prints a table as wide as the screen, and which rows and columns it leaves out."""
    from rich.table import Table
    from rich.text import Text

    names = [*SHOWN, *(name for name in frame.columns if name.startswith("config."))]
    cells = {name: _cells(frame, name) for name in names}
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
    """CSV with a header; `-` is stdout."""
    if str(path) == "-":
        frame.to_csv(sys.stdout, index=False)
        return
    with writing(path, "--csv") as file:
        frame.to_csv(file, index=False)


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Parquet; a column that mixes numbers and text, which it cannot hold, becomes text."""
    from raysearch.results.frames import storable

    with writing(path, "--parquet") as file:
        storable(frame).to_parquet(file, index=False)


def _cells(frame: pd.DataFrame, name: str) -> list[str]:
    if name == "trial":
        return [trial_name(int(value)) for value in frame[name].tolist()]
    values = [None if _is_missing(value) else value for value in frame[name].tolist()]
    if name in ("value", "seconds"):
        return column(values, 5 if name == "value" else 3)
    return ["" if value is None else setting(value) for value in values]


def _is_missing(value: Any) -> bool:
    return value is None or value != value or type(value).__name__ == "NAType"


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
