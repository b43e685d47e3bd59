"""A call back at the moment at which torch has been imported, for trainables that import it themselves."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def is_imported() -> bool:
    """Whether torch is there, as a whole."""
    torch = sys.modules.get("torch")
    return torch is not None and not getattr(getattr(torch, "__spec__", None), "_initializing", False)


class AfterTorch(MetaPathFinder):
    """Calls `then` once, in the thread that imports torch."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def wait(self) -> None:
        """Begins to watch for the import."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def end(self) -> None:
        """Watches for it no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for every module but torch: the other finders find it, and its loader calls back."""
        if name != "torch":
            return None
        self.end()
        spec = importlib.util.find_spec(name)
        loader = spec.loader if spec is not None else None
        if loader is None:
            return None
        load = loader.exec_module

        def load_and_call(module: ModuleType) -> None:
            load(module)
            self._then()

        loader.exec_module = load_and_call  # type: ignore[method-assign]
        return spec
