"""Past runs of a W&B project, fetched in a process of its own, which alone has the key."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from raysearch.errors import RunError, SpecError
from raysearch.tracking.wandb.api_key import base_url, find_key, taken_out
from raysearch.tracking.wandb.settings import WHERE

SCHEME = "wandb:"
PROJECT = re.compile(r"[\w.\- ]+/[\w.\- ]+")
TIMEOUT_S = 1800.0


def fetch_runs(source: str, file: Path, keys: Sequence[str], timeout_s: float = TIMEOUT_S) -> None:
    """Writes the runs of `wandb:ENTITY/PROJECT` into a file of JSON lines, with their history of these keys.

    Raises:
        SpecError: the source names no project.
        RunError: there is no key, the server refuses, or it does not answer in time.
    """
    project = source.removeprefix(SCHEME)
    if not PROJECT.fullmatch(project):
        raise SpecError(f"{source!r} names no project of W&B; write wandb:ENTITY/PROJECT")
    key = find_key()
    if key is None:
        raise RunError(f"W&B: no key for {base_url()}; a key is looked for in {WHERE}")
    command = [sys.executable, "-m", "raysearch.tracking.wandb.past_runs", project, str(file), *keys]
    try:
        with taken_out():
            done = subprocess.run(
                command, input=f"{key}\n", capture_output=True, text=True, timeout=timeout_s, check=False
            )
    except subprocess.TimeoutExpired:
        raise RunError(f"W&B: {base_url()} did not send the runs of {project} in {timeout_s:g} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RunError(f"W&B: the runs of {project} were not fetched: {said[-1] if said else 'no reason'}")
