"""The trainable that a spec names: found, checked, and what kind it is."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from raysearch.core.user_paths import user_path
from raysearch.errors import TrainableError, unknown
from raysearch.spec.program import Program
from raysearch.spec.saves import asks_for_checkpoint, saves_checkpoints

RUNS_SCRIPTS = "raysearch.worker.script.trial"  # found by its name, as any module that trains
_NAMELESS = {
    "<partial>": "a functools.partial",
    "<object>": "an object, or a method of one",
    "<lambda>": "a lambda",
    "<locals>": "made inside a function (as tune.with_parameters does)",
}
_GIVE_IT = (
    "give the object itself (in Python, trainable= of raysearch.resume or retest_spec), or define it at the "
    "top of a module"
)


def load_trainable(reference: Any) -> Any:
    """The class or function behind `module:attribute` or `path/to/file.py:attribute`.

    An object is returned as it is. A file is imported under a name of its own and shipped to the
    workers by value, so it need not exist there.

    Raises:
        TrainableError: with the user's own import error, or the names that the module does have; or for what
            has no name, such as a lambda.
    """
    if isinstance(reference, Program):
        made = importlib.import_module(RUNS_SCRIPTS).trainable_of(reference)
        return _checked(made, reference.program)
    if not isinstance(reference, str):
        return _checked(reference, repr(reference))
    where, _, attribute = reference.rpartition(":")
    if not where or not attribute:
        raise TrainableError(f"trainable {reference!r}: write module:attribute or path/to/file.py:attribute")
    if nameless := [words for mark, words in _NAMELESS.items() if mark in attribute]:
        raise TrainableError(
            f"trainable {reference!r} was {nameless[0]}, which has no name to be found by; {_GIVE_IT}"
        )
    module = _load_file(where) if where.endswith(".py") else _load_module(where)
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
            again = f". It was made in a script or notebook: {_GIVE_IT}" if where == "__main__" else ""
            raise TrainableError(f"trainable {reference!r}: {unknown('attribute', part, names)}{again}")
        found = getattr(found, part)
    return _checked(found, reference)


def is_class(trainable: Any) -> bool:
    """True for a class trainable, False for a function."""
    return inspect.isclass(trainable)


def is_learner(trainable: Any) -> bool:
    """True for a class derived from `raysearch.torch.Learner`, whose models may be trained many at once."""
    return is_class(trainable) and bool(getattr(trainable, "is_learner", False))


def can_pause(trainable: Any) -> bool:
    """True if the trainable's code shows that it writes checkpoints.

    A class overrides `save_checkpoint`. A function reports a checkpoint, itself or by a helper or callback;
    that is read off the source, and a function without source counts as one that does not.
    """
    if is_class(trainable):
        return any("save_checkpoint" in vars(c) for c in trainable.__mro__ if not _is_base(c))
    return saves_checkpoints(trainable)


def begins_from_checkpoints(trainable: Any) -> bool:
    """True if the trainable's code shows that it goes on from a checkpoint that it is given.

    A class overrides `load_checkpoint`. A function calls `get_checkpoint`, itself or in what it calls; one
    without source counts as one that does not.
    """
    if is_class(trainable):
        return any("load_checkpoint" in vars(c) for c in trainable.__mro__ if not _is_base(c))
    return asks_for_checkpoint(trainable)


def _is_base(cls: type) -> bool:
    return cls.__module__.startswith("ray.tune.trainable.")


def _checked(found: Any, reference: str) -> Any:
    if isinstance(found, ModuleType) or not callable(found):
        raise TrainableError(
            f"trainable {reference!r} is a {type(found).__name__}: expected a Ray Tune class trainable "
            "(a subclass of ray.tune.Trainable) or a function that takes `config`"
        )
    if is_class(found) and not all(hasattr(found, name) for name in ("train", "save", "restore", "reset")):
        raise TrainableError(
            f"trainable {reference!r} is a class without train, save, restore and reset: "
            "derive it from ray.tune.Trainable, or give a function that takes `config`"
        )
    return found


def _load_module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise TrainableError(_import_failed(name, error)) from error


def _load_file(path: str) -> ModuleType:
    file = user_path(path).resolve()
    if not file.is_file():
        raise TrainableError(f"trainable: no file {path!r} (looked in {Path.cwd()})")
    name = f"{file.stem}_{hashlib.sha1(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(file.parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise TrainableError(_import_failed(path, error)) from error
    finally:
        sys.path.remove(folder)
    return module


def _import_failed(name: str, error: Exception) -> str:
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    last = frames[-1] if frames else None
    place = f" ({last.filename}, line {last.lineno})" if last and "importlib" not in last.filename else ""
    return f"trainable: importing {name!r} failed with {type(error).__name__}: {error}{place}"
