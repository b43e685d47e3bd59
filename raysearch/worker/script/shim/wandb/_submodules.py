"""Submodules of wandb, such as `wandb.sdk.lib`, which frameworks' own loggers import names from.

Each is made when it is imported. Its names are classes: of the run where they are called so, of errors where
they end so, else ones that take anything.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import MutableSequence
from types import ModuleType
from typing import Any

PACKAGE = "wandb."


class Submodule(ModuleType):
    """A submodule of the stand-in."""

    __path__: MutableSequence[str] = []  # noqa: RUF012  (as ModuleType has it)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        package = sys.modules["wandb"]
        if name == "Run":
            made: Any = package.Run
        elif name.endswith(("Error", "Exception")):
            made = type(name, (Exception,), {})
        else:
            made = type(name, (package.Nothing,), {})
        setattr(self, name, made)
        return made


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds what the stand-in has no file of."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        """A spec for any module below `wandb`, after the real files were looked for."""
        if not fullname.startswith(PACKAGE):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> ModuleType:
        """An empty one."""
        return Submodule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run."""


def install() -> None:
    """Lets every submodule be imported, once a process."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.append(Finder())
