"""Where a worker's trainable keeps what Ray Tune wants kept: a local scratch folder."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from ray.tune.result import TRIAL_INFO

from raysearch.ray_private import storage_context

__all__ = ["TRIAL_INFO", "LocalStorage", "TrialName"]


class TrialName:
    """What `tune.get_context()` says of the trial: the fields of Ray's own record of it."""

    experiment_name = "raysearch"
    trial_resources = None

    def __init__(self, trial: int) -> None:
        self.trial_id = str(trial)
        self.trial_name = f"trial_{trial}"


class LocalStorage(storage_context()):  # type: ignore[misc]
    """Ray's storage context over one scratch folder, one trial at a time, with or without a cluster."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._working_directory = str(scratch / "working_dirs" / "trial")
        self._marked = 0.0  # when the working folder changed last, as written by `_is_empty`
        self._moves = os.environ.get("RAY_CHDIR_TO_TRIAL_DIR", "1") != "0"
        self._home = os.getcwd()
        if self._moves:
            os.environ.setdefault("TUNE_ORIG_WORKING_DIR", os.getcwd())
        scratch.mkdir(parents=True, exist_ok=True)
        super().__init__(str(scratch), experiment_dir_name="reported", trial_dir_name="trial")

    def _get_session_path(self) -> str:
        return str(self._scratch)

    @property
    def trial_working_directory(self) -> str:
        """The folder of the trial in hand; made up anew by Ray at every reset, so kept here."""
        return self._working_directory

    def begin(self, trial: int) -> None:
        """Sees to an empty working folder: where the last one holds files, goes to a new one and deletes it.

        The process stays where it was at first under RAY_CHDIR_TO_TRIAL_DIR=0.
        """
        before = self._working_directory
        if self._is_empty(before):
            self.enter()
            return
        parent = self._scratch / "working_dirs"
        parent.mkdir(parents=True, exist_ok=True)
        self._working_directory = tempfile.mkdtemp(prefix=f"trial_{trial}_", dir=parent)
        self.enter()
        shutil.rmtree(before, ignore_errors=True)

    def enter(self) -> None:
        """Goes to the working folder, as Ray does whenever it makes or resets a trainable.

        A trial that went elsewhere takes none of the following ones with it.
        """
        try:
            os.chdir(self._working_directory if self._moves else self._home)
        except FileNotFoundError:
            return  # it was deleted meanwhile

    def _is_empty(self, folder: str) -> bool:
        """Whether the folder is there and holds nothing.

        A folder that was found empty gets an earlier time of change. As long as it has that, nothing was
        written there, and none of thousands of short trials has to list it.
        """
        try:
            if os.stat(folder).st_mtime == self._marked:
                return True
            self._marked = float(int(time.time()) // 2 * 2 - 60)  # a time that every file system can hold
            os.utime(folder, (self._marked, self._marked))
            return not os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def discard(self, folder: Path) -> None:
        """Deletes a checkpoint that a function reported, or that was made here; leaves others."""
        if self._scratch in folder.parents:
            shutil.rmtree(folder, ignore_errors=True)

    def new_folder(self) -> Path:
        """A new empty folder in the scratch folder."""
        return Path(tempfile.mkdtemp(dir=self._scratch))
