"""Hyper-parameter search for torch models on a Ray cluster: a search is a tree of segments.

    results = raysearch.search(trainable, space={...}, metric="loss", mode="min",
                               strategy=raysearch.Caviar(samples=1000, max_iterations=81))
    results.best.config

Importing this module loads neither Ray nor torch; they come with the first search.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from raysearch.core.module_names import FACADES, add_to
from raysearch.core.version import __version__
from raysearch.errors import RaysearchError

if TYPE_CHECKING:
    from raysearch.launch import resume, search
    from raysearch.results import Results, load
    from raysearch.run.options import How
    from raysearch.space import Space
    from raysearch.spec import SearchSpec, load_spec
    from raysearch.strategies.caviar import Caviar
    from raysearch.strategies.finish import Finish
    from raysearch.strategies.panda import Panda
    from raysearch.workflows import memory as memory
    from raysearch.workflows import plan as plan
    from raysearch.workflows import retest as retest
    from raysearch.workflows import scaling as scaling

_HOMES = {
    "Caviar": "raysearch.strategies.caviar",
    "Finish": "raysearch.strategies.finish",
    "How": "raysearch.run.options",
    "Panda": "raysearch.strategies.panda",
    "Results": "raysearch.results",
    "SearchSpec": "raysearch.spec",
    "Space": "raysearch.space",
    "load": "raysearch.results",
    "load_spec": "raysearch.spec",
    "resume": "raysearch.launch",
    "search": "raysearch.launch",
}
_MODULES = ("launch", "report", "schedule", "sources", "testing", "torch")
add_to(sys.modules)

__all__ = [
    "Caviar",
    "Finish",
    "How",
    "Panda",
    "RaysearchError",
    "Results",
    "SearchSpec",
    "Space",
    "__version__",
    "load",
    "load_spec",
    "resume",
    "search",
]


def __getattr__(name: str) -> Any:
    """Loads a public name at its first use."""
    if name == "strategies":  # so that raysearch.strategies.caviar.Caviar needs no import of its own
        return importlib.import_module("raysearch.strategies.caviar") and sys.modules["raysearch.strategies"]
    if name in FACADES:  # its stand-in lies in sys.modules, and this gives the module itself
        return importlib.import_module(FACADES[name])
    if name in _MODULES:
        return importlib.import_module(f"raysearch.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'raysearch' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, *FACADES, "strategies"})
