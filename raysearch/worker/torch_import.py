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
    if "torch" not in sys.modules:
        return False
    torch = sys.modules["torch"]
    return not getattr(getattr(torch, "__spec__", None), "_initializing", False)


class AfterTorch(MetaPathFinder):
    """Calls back once, in the thread that imports torch. It stays among the finders until then.

    Attributes:
        then: what to call; None while nobody waits.
    """

    def __init__(self) -> None:
        self.then: Callable[[], None] | None = None

    def wait(self, then: Callable[[], None]) -> None:
        """Calls `then` as soon as torch has been imported."""
        self.then = then
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for every module but torch: the other finders find it, and its loader calls back."""
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        loader = spec.loader if spec is not None else None
        if loader is None:
            return None
        load = loader.exec_module

        def load_and_call(module: ModuleType) -> None:
            load(module)
            if self.then is not None:
                self.then()

        loader.exec_module = load_and_call  # type: ignore[method-assign]
        return spec


AFTER_TORCH = AfterTorch()  # one a process: its trials take turns
