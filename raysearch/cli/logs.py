"""`raysearch logs`: what the workers of a run printed, or the output of a job on a cluster."""

from __future__ import annotations

import time
from pathlib import Path

from raysearch.cli import options
from raysearch.cli.output import tell
from raysearch.cli.submit import elsewhere, follow
from raysearch.core.user_paths import entries
from raysearch.errors import RunError

LINES = 20  # of each file, unless all are asked for
POLL_S = 0.5


def logs(
    run: options.RunOrJob,
    follow_it: options.Follow = False,
    lines: options.Lines = LINES,
    address: options.Dashboard = None,
) -> None:
    """Show what the workers of a run printed, or the output of a submitted job."""
    place = elsewhere(run, address)
    if place is None:
        from raysearch.run.location import existing_run

        _show_files(existing_run(run), lines, follow_it)
    elif follow_it:
        follow(place)
    else:
        text = place.jobs.log(place.job).rstrip().splitlines()
        tell("\n".join(text[-lines:] if lines else text))


def _show_files(root: Path, lines: int, follow_it: bool) -> None:
    """Prints the last lines of each log file of a run, then new lines until no process runs it."""
    from raysearch.run.liveness import run_by
    from raysearch.storage.paths import RunPaths

    paths = RunPaths(root)
    if not paths.logs.is_dir():
        raise RunError(f"{root}: its workers have printed nothing yet")
    tails: dict[Path, _Tail] = {}
    while True:
        is_held = run_by(root) is not None  # asked before reading: a run's last lines count
        for file in entries(paths.logs, "*.log"):
            if file not in tails:
                tails[file] = _Tail(file, lines)
            if text := tails[file].read():
                tell(f"==> {file.name} <==\n{text.rstrip()}", flush=True)
        if not (follow_it and is_held):
            return
        time.sleep(POLL_S)


class _Tail:
    """Reads a file from its last lines on."""

    def __init__(self, file: Path, lines: int) -> None:
        self._file = file
        text = file.read_bytes()
        ends = [i for i, byte in enumerate(text[:-1]) if byte == ord("\n")]
        self._position = ends[-lines] + 1 if lines and len(ends) >= lines else 0

    def read(self) -> str:
        """The text written since the last read."""
        with self._file.open("rb") as stream:
            stream.seek(self._position)
            found = stream.read()
        self._position += len(found)
        return found.decode(errors="replace")
