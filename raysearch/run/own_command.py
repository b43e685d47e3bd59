"""The command that began a run, where only that can go on with it: a sweep of Hydra.

Hydra composes a job out of the application that it started, so a sweep's trainable is no object that a spec
could name. The sweep keeps its command in its folder, which each trial's configuration names.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysearch.storage.atomic import read_text, replace_text

FOLDER = "hydra.sweep.dir"  # entry of the constants of a sweep's run
FILE = "raysearch-command.json"
RESUME = "hydra.sweeper.resume="


@dataclass(frozen=True, slots=True)
class OwnCommand:
    """A command line and the folder in which it was typed.

    Attributes:
        words: of the command, without what says which run goes on.
        folder: the working folder.
    """

    words: tuple[str, ...]
    folder: str

    def going_on(self, run: Path) -> OwnCommand:
        """The same command, which goes on with that run."""
        return OwnCommand((*self.words, f"{RESUME}{run.absolute()}"), self.folder)

    def __str__(self) -> str:
        return f"cd {shlex.quote(self.folder)} && {shlex.join(self.words)}"

    def start(self) -> int:
        """Runs the command to its end with this process's input and output; returns its exit code.

        Ctrl-C reaches the command too, which stops as it does by itself; it is waited for.
        """
        with subprocess.Popen(self.words, cwd=self.folder) as child:
            while True:
                try:
                    return child.wait()
                except KeyboardInterrupt:
                    continue  # the command got it as well, and winds down


def here() -> OwnCommand:
    """The command line of this process."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    called = [sys.argv[0]] if spec is None else ["-m", str(spec.name).removesuffix(".__main__")]
    words = (sys.executable, *called, *(word for word in sys.argv[1:] if not word.startswith(RESUME)))
    return OwnCommand(words, os.getcwd())


def keep(command: OwnCommand, folder: Path) -> None:
    """Writes the command into a sweep's folder."""
    replace_text(folder / FILE, json.dumps({"words": command.words, "folder": command.folder}))


def is_sweep(constants: Mapping[str, Any]) -> bool:
    """Whether these are the constants of a run that a sweep began."""
    return FOLDER in constants


def kept(constants: Mapping[str, Any]) -> OwnCommand | None:
    """The command of the sweep that began a run of these constants; None where its file is gone or torn."""
    try:
        found = json.loads(read_text(Path(str(constants[FOLDER]), FILE)))
        return OwnCommand(tuple(map(str, found["words"])), str(found["folder"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
