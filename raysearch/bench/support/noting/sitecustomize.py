"""Python runs this where it starts, in processes that have this folder on PYTHONPATH: those of `bench chaos`.

A worker of several processes never loads the trainable itself, so the trainable cannot have it note what
the coordinator acknowledged (see `witnessed`). Here the worker does so once it imports the module that
speaks with the coordinator. No other process of Ray is made to import anything.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

WITNESS = "RAYSEARCH_BENCH_WITNESS"  # a folder for the notes
TRAINABLE = "raysearch.bench.support.witnessed"
SPEAKS = "raysearch.executors.tune.socket_link"


class _Noting(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads SPEAKS as ever, and then has this process note."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != SPEAKS:
            return None
        sys.meta_path.remove(self)
        found = importlib.util.find_spec(name)
        if found is None or found.loader is None:
            return None
        self._loader = found.loader
        found.loader = self
        return found

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        if TRAINABLE in sys.modules:  # it is what imports it: no worker of several processes
            return
        from raysearch.bench.support.witnessed import witness

        witness(Path(os.environ[WITNESS]).resolve())


if os.environ.get(WITNESS):
    sys.meta_path.insert(0, _Noting())
