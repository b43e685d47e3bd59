"""What is known of a run's way to W&B without asking W&B: whether the run has ended, and what was noted last."""  # noqa: E501

from __future__ import annotations

from pathlib import Path
from typing import Any

from raysearch.errors import RunError
from raysearch.storage.atomic import read_text
from raysearch.storage.checked_json import from_text
from raysearch.storage.journal.reading import read_events
from raysearch.storage.paths import RunPaths


def ended(paths: RunPaths) -> str | None:
    """Why the run's last life ended; None while it goes on, or was ended from outside."""
    last: str | None = None
    for event in read_events(paths.journal):
        last = (
            None
            if event.kind == "start"
            else str(event.detail.get("ending", ""))
            if event.kind == "end"
            else last
        )
    return last


def state_of(run: Path) -> dict[str, Any]:
    """What was noted last of a run's way to W&B; empty if nothing was ever sent.

    Raises:
        RunError: the note cannot be read.
    """
    file = RunPaths(run).tracking_state
    try:
        return from_text(read_text(file))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: cannot be read: {error}") from None
