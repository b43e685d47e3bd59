"""Trainables on their way from the driver to the workers, which may not have their modules."""

from __future__ import annotations

import copyreg
import importlib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from raysearch.errors import TrainableError
from raysearch.spec.trainables import is_learner
from raysearch.worker.torch_settings import in_force, take_over


@dataclass(frozen=True, slots=True)
class Shipped:
    """A trainable on its way to workers, which may or may not have its module.

    Attributes:
        reference: pickled as the name of an importable module's attribute.
        value: pickled with its module's code, for where the module cannot be imported; None where
            something in the module cannot be pickled.
        paths: the driver's import path, added to the worker's (the same folders on one machine or NFS).
        settings: of torch, as the driver has them where its modules or a notebook set them: code that is
            shipped by value brings its functions, and what stands beside them at the top is not run again.
        is_learner: it is derived from `raysearch.torch.Learner`: its models may be trained many at once.
    """

    reference: bytes
    value: bytes | None
    paths: tuple[str, ...]
    is_learner: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Any:
        """The trainable, in this process, which takes over the driver's settings of torch.

        Raises:
            TrainableError: its module is not here and it could not be shipped by value.
        """
        found = self._loaded()
        take_over(self.settings)
        return found

    def _loaded(self) -> Any:
        import pickle

        sys.path.extend(path for path in self.paths if path not in sys.path)
        try:
            return pickle.loads(self.reference)
        except (ImportError, AttributeError) as error:
            if self.value is None:
                raise TrainableError(
                    f"the trainable cannot be imported on this worker ({error}), and its module holds things "
                    "that cannot be shipped; install it there, or keep it in a file of its own"
                ) from error
            return pickle.loads(self.value)


def ship(trainable: Any) -> Shipped:
    """Packs a trainable for workers.

    Raises:
        TrainableError: it cannot be pickled at all.
    """
    from ray import cloudpickle

    _name_modules()
    try:
        reference = cloudpickle.dumps(trainable)
    except Exception as error:
        raise TrainableError(
            f"the trainable {getattr(trainable, '__name__', trainable)!r} cannot be sent to workers: {error}"
        ) from error
    paths = tuple(str(Path(path).absolute()) for path in ("", *sys.path) if Path(path).is_dir())
    unique = tuple(dict.fromkeys(paths))
    return Shipped(reference, _by_value(trainable), unique, is_learner(trainable), in_force())


def _name_modules() -> None:
    """Lets modules with a class of their own (`torch.backends.cudnn`) be pickled by name, as others are."""
    for name, module in list(sys.modules.items()):
        kind = type(module)
        is_own = isinstance(module, ModuleType) and kind is not ModuleType
        if is_own and getattr(module, "__name__", None) == name and kind.__reduce__ is object.__reduce__:
            copyreg.pickle(kind, _by_name)


def _by_name(module: ModuleType) -> tuple[Any, tuple[str]]:
    return importlib.import_module, (module.__name__,)


def _by_value(trainable: Any) -> bytes | None:
    from ray import cloudpickle

    module = inspect.getmodule(trainable)
    if module is None or module.__name__ == "__main__" or _is_installed(module):
        return None
    cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(trainable)  # type: ignore[no-any-return]
    except Exception:  # noqa: BLE001  (what cannot be shipped must then be importable; Shipped.load says so)
        return None
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _is_installed(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None) or ""
    return "site-packages" in file or module.__name__.split(".")[0] in ("raysearch", "ray")
