"""Optimizers that step in processes which a trainable starts: what they held at their first steps.

Such a process finds a folder in its environment, and leaves a file there for each optimizer when that takes
its first step. Processes that are forked begin so by `os.register_at_fork`, other Pythons that are started by
`child_shim/sitecustomize.py`. Those that another program starts (Ray's workers, another machine's) do not.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakSet

from raysearch.core.used_values import KNOWN
from raysearch.worker.torch_import import AFTER_TORCH, is_imported

STEPS = "RAYSEARCH_CHILD_STEPS"
SHIM = Path(__file__).parent / "child_shim"
LOOKED = 1e9  # the folder's time of change after it was read: any change of it gives it a later one

Values = dict[str, list[float]]


def environment_for(folder: Path) -> dict[str, str]:
    """Makes the folder; returns the environment variables by which processes find it."""
    folder.mkdir(parents=True, exist_ok=True)
    others = os.environ.get("PYTHONPATH", "")
    paths = [str(SHIM), *(path for path in others.split(os.pathsep) if path and path != str(SHIM))]
    return {STEPS: str(folder), "PYTHONPATH": os.pathsep.join(paths)}


class ChildSteps:
    """What optimizers in child processes of this one held at their first steps."""

    def __init__(self) -> None:
        folder = os.environ.get(STEPS)
        self._folder = folder if folder and os.path.isdir(folder) else None
        self._known: set[str] = set()

    def look(self) -> list[Values]:
        """The values of optimizers that have begun since the last call: by slot, one a group and level."""
        if self._folder is None or os.stat(self._folder).st_mtime == LOOKED:
            return []
        os.utime(self._folder, (LOOKED, LOOKED))  # first: what comes while it is read is read next time
        new = sorted(name for name in os.listdir(self._folder) if name.endswith(".json"))
        new = [name for name in new if name not in self._known]
        self._known.update(new)
        return [json.loads(Path(self._folder, name).read_text(encoding="utf-8")) for name in new]


def begin_in_child() -> None:
    """Notes the first step of each optimizer of this process from now on, or once torch is imported."""
    if is_imported():
        _note_steps()
    else:
        AFTER_TORCH.wait(_note_steps)


def _note_steps() -> None:
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    register_optimizer_step_pre_hook(_Notes(os.environ[STEPS]).before)


class _Notes:
    """The hook before a step."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._process = os.getpid()
        self._noted: WeakSet[Any] = WeakSet()
        self._count = 0

    def before(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        if optimizer in self._noted or os.getpid() != self._process:
            return
        self._noted.add(optimizer)
        self._count += 1
        file = Path(self._folder, f"{self._process}-{self._count}")
        if file.parent.is_dir():  # else its trial is over
            file.write_text(json.dumps(_values(optimizer.param_groups)), encoding="utf-8")
            file.rename(file.with_suffix(".json"))


def _values(groups: list[Mapping[str, Any]]) -> Values:
    from raysearch.torch.group_values import levels_of

    found: Values = {}
    for group in groups:
        for slot, levels in levels_of(group, set(KNOWN)).items():
            found.setdefault(slot, []).extend(levels)
    return found


def _after_fork() -> None:
    """In the child: it is no host of trials, and its steps are not this process's."""
    AFTER_TORCH.then = None
    step_watch = sys.modules.get("raysearch.torch.step_watch")
    if step_watch is not None:
        step_watch.activate(None)
    if STEPS in os.environ:
        begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
