"""Contenders of a benchmark: each in a fresh process with a Ray cluster of its own, one after the other.

A bench module has functions that return a dict of figures; `contend` runs one of them in a child and
reads the dict from its last line, so that no contender sees another's memory, imports or actors.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raysearch.errors import RaysearchError, SpecError, unknown

MARK = "figures:"


class BenchError(RaysearchError):
    """A contender did not finish."""


def contend(
    module: str, contender: str, options: Mapping[str, Any], limit_s: float | None = None
) -> dict[str, Any]:
    """The figures of one contender of a bench module, run in a fresh process.

    Raises:
        BenchError: it failed; with the end of what it printed. Or it did not end within `limit_s` seconds.
    """
    command = [sys.executable, "-m", module, contender, json.dumps(dict(options))]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore"}
    print(f"running {contender} ...", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{module} {contender} did not end within {limit_s:g} s") from None
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not lines:
        raise BenchError(f"{module} {contender} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return {"contender": contender, **json.loads(lines[-1].removeprefix(MARK))}


def serve(contenders: Mapping[str, Any]) -> None:
    """A bench module's own `__main__`: runs the contender named on the command line."""
    figures = contenders[sys.argv[1]](**json.loads(sys.argv[2]))
    print(MARK + json.dumps(figures), flush=True)


@contextmanager
def cluster(cpus: int) -> Iterator[Path]:
    """A local Ray cluster and a scratch folder."""
    import ray

    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with tempfile.TemporaryDirectory(prefix="raysearch-bench-") as folder:
        try:
            yield Path(folder)
        finally:
            ray.shutdown()


def peak_mb() -> float:
    """This process's peak resident memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def chosen(names: str | None, contenders: Iterable[str]) -> list[str]:
    """The methods that --methods names, with commas; all if it is not given. Raises SpecError."""
    known = list(contenders)
    asked = names.split(",") if names else known
    for name in asked:
        if name not in known:
            raise SpecError(unknown("method", name, known))
    return asked


def show(title: str, rows: Sequence[Mapping[str, Any]], notes: Sequence[str], as_json: bool) -> None:
    """Prints a table, or everything as JSON."""
    if as_json:
        machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "at": time.strftime("%F")}
        print(json.dumps({"bench": title, "machine": machine, "rows": list(rows), "notes": list(notes)}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for name in columns:
        table.add_column(name.replace("_", " "), justify="left" if name == "contender" else "right")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in columns))
    console = Console()
    console.print(table)
    for note in notes:
        console.print(note)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
