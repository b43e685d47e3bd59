"""Trainables on their way from the driver to the workers, which may not have their modules."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from raysearch.errors import TrainableError
from raysearch.spec.trainables import is_learner


@dataclass(frozen=True, slots=True)
class Shipped:
    """A trainable on its way to workers, which may or may not have its module.

    Attributes:
        reference: pickled as the name of an importable module's attribute.
        value: pickled with its module's code, for where the module cannot be imported; None where
            something in the module cannot be pickled.
        paths: the driver's import path, added to the worker's (the same folders on one machine or NFS).
        is_learner: it is derived from `raysearch.torch.Learner`: its models may be trained many at once.
    """

    reference: bytes
    value: bytes | None
    paths: tuple[str, ...]
    is_learner: bool = False

    def load(self) -> Any:
        """The trainable, in this process.

        Raises:
            TrainableError: its module is not here and it could not be shipped by value.
        """
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

    try:
        reference = cloudpickle.dumps(trainable)
    except Exception as error:
        raise TrainableError(
            f"the trainable {getattr(trainable, '__name__', trainable)!r} cannot be sent to workers: {error}"
        ) from error
    paths = tuple(str(Path(path).absolute()) for path in ("", *sys.path) if Path(path).is_dir())
    unique = tuple(dict.fromkeys(paths))
    return Shipped(reference, _by_value(trainable), unique, is_learner(trainable))


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
