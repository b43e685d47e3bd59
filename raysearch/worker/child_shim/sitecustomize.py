"""Runs first in each Python process that a trainable starts: has the steps of its optimizers noted.

Then the module of this name that it hides, if there is one.
"""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path


def _hidden() -> None:
    """Runs the next `sitecustomize` of the import path."""
    here = Path(__file__).resolve().parent
    others = [path for path in sys.path if Path(path).resolve() != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def _watch() -> None:
    if importlib.util.find_spec("raysearch") is None:  # another Python, with libraries of its own
        return
    from raysearch.worker.child_steps import begin_in_child

    begin_in_child()


_hidden()
if "RAYSEARCH_CHILD_STEPS" in os.environ:
    _watch()
