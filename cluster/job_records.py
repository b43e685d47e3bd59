"""Jobs that were submitted from this machine: which cluster they went to, and which run is theirs.

With the records `raysearch status JOB` needs no address. They are lines of a file in the user's state
folder; without it only that convenience is lost.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from raysearch.storage.checked_json import from_text, to_text

KEPT = 500  # lines read, from the end


@dataclass(frozen=True, slots=True)
class Submitted:
    """One job: its id, the dashboard it went to, its run there, and when."""

    job: str
    address: str
    run: str
    at: float


def record(entry: Submitted) -> str | None:
    """Notes a submission; returns why that failed, in words, or None."""
    file = _file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as out:
            out.write(to_text(asdict(entry)) + "\n")
    except OSError as error:
        return f"{file} cannot be written ({error.strerror}): give --address to status and logs"
    return None


def find(target: str) -> Submitted | None:
    """The latest submission with this job id, or of this run (its address, or its last part)."""
    for entry in reversed(entries()):
        name = entry.run.partition("?")[0].rpartition("/")[2]  # an address may end in options
        if target and target in (entry.job, entry.run, name):
            return entry
    return None


def entries() -> list[Submitted]:
    """The submissions, the oldest first; lines that are torn, changed or foreign are left out."""
    try:
        lines = _file().read_text("utf-8", errors="replace").splitlines()[-KEPT:]
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(Submitted(**from_text(line)))
        except (ValueError, TypeError):
            continue
    return found


def _file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "raysearch" / "jobs.jsonl"
