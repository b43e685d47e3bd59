"""A function trainable as Ray's class: `sys.exit` has an outcome, asking for a checkpoint is noticed."""

from __future__ import annotations

import functools
import inspect
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ray.tune.result import DONE
from ray.tune.trainable import Trainable
from ray.tune.trainable.function_trainable import wrap_function

from raysearch import ray_private
from raysearch.errors import TrainableError

NEVER_ASKED = (
    "the function was to go on from its checkpoint of iteration {at}, and never asked for it: its next "
    "report would be counted as iteration {next}, and is one of a training that began anew. Begin from "
    "tune.get_checkpoint(); or, if it cannot go on, set variant: stopping in the strategy"
)

END_S = 10.0  # how long a function may take to clean up when its trial ends


class UnstoppableError(TrainableError):
    """A function goes on after SystemExit: this process cannot train another trial."""


def wrapped(function: Callable[..., Any]) -> type[Trainable]:
    """Ray's class for a function trainable.

    In it `sys.exit()` and `sys.exit(0)` end the function as a return does; another code is an error. Where it
    has an attribute `ends_when`, a trial is over when that says so: see `ending_when`.

    Raises:
        TrainableError: the function does not take one positional argument.
    """
    try:
        wrap_function(function)
    except ValueError as error:
        raise TrainableError(
            f"trainable {getattr(function, '__name__', function)!r} must take one positional argument: config"
        ) from error
    made: type[Trainable] = wrap_function(_exits_with_words(function))
    is_over = getattr(function, "ends_when", None)
    return made if is_over is None else ending_when(made, is_over)


def ending_when(trainable: type[Trainable], is_over: Callable[[Mapping[str, Any]], bool]) -> type[Trainable]:
    """A class trainable whose trials are done with the first result for which `is_over(result)` is true."""

    class Ending(trainable):  # type: ignore[misc]
        def train(self) -> Any:
            result = super().train()
            if is_over(result):
                result[DONE] = True
            return result

    Ending.__name__ = trainable.__name__
    return Ending


def _exits_with_words(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(function):

        def trainable(config: dict[str, Any]) -> Any:
            return (yield from _generated(function, config))
    else:

        def trainable(config: dict[str, Any]) -> Any:
            try:
                return function(config)
            except SystemExit as error:
                return _ended(error)

    name = getattr(function, "__name__", "func")
    trainable.__name__ = trainable.__qualname__ = name
    for attribute in ("_resources", "__mixins__"):
        if hasattr(function, attribute):
            setattr(trainable, attribute, getattr(function, attribute))
    return trainable


def _generated(function: Callable[..., Any], config: dict[str, Any]) -> Iterator[Any]:
    try:
        yield from function(config)
    except SystemExit as error:
        _ended(error)


def _ended(error: SystemExit) -> None:
    """Returns where the function ended itself as if it had returned.

    Raises:
        SystemExit: Ray ends the function so, inside tune.report; or the code says that something went wrong.
    """
    if _is_rays(error.__traceback__) or error.code not in (None, 0):
        raise error


def _is_rays(traceback: types.TracebackType | None) -> bool:
    """Whether Ray's own code raised it: of its sessions, some forget at once that they end the function."""
    raised_in = ""
    while traceback is not None:
        raised_in, traceback = str(traceback.tb_frame.f_globals.get("__name__")), traceback.tb_next
    return raised_in.partition(".")[0] == "ray"


@functools.cache
def _watching(session_class: Any) -> Any:
    """A session's class that notes when the checkpoint to begin from is asked for."""

    class Watching(session_class):  # type: ignore[misc]
        @property
        def loaded_checkpoint(self) -> Any:
            self.__dict__["was_asked"] = True
            return self.__dict__["checkpoint_to_load"]

        @loaded_checkpoint.setter
        def loaded_checkpoint(self, checkpoint: Any) -> None:
            self.__dict__["checkpoint_to_load"] = checkpoint

    return Watching


class CheckpointWatch:
    """Whether a function that was restored asks for its checkpoint before it reports."""

    def __init__(self) -> None:
        self._session: Any = None
        self._at = 0

    def begin(self, at: int) -> None:
        """The function is restored from its checkpoint of iteration `at`, and has not begun yet."""
        session = ray_private.function_session()
        if session is None or not hasattr(session, "loaded_checkpoint"):
            return
        if "checkpoint_to_load" not in session.__dict__:
            checkpoint = session.__dict__.pop("loaded_checkpoint", None)
            session.__class__ = _watching(type(session))  # type: ignore[arg-type]
            session.loaded_checkpoint = checkpoint
        session.__dict__["was_asked"] = False
        self._session, self._at = session, at

    def end(self) -> None:
        """Nothing is watched until `begin`."""
        self._session = None

    def check(self) -> None:
        """After the first report. Raises TrainableError if the checkpoint was never asked for."""
        session, self._session = self._session, None
        if session is not None and not session.__dict__["was_asked"]:
            raise TrainableError(NEVER_ASKED.format(at=self._at, next=self._at + 1))


def wait_for_end(thread: threading.Thread) -> None:
    """Returns once a function's thread has ended.

    Raises:
        UnstoppableError: it goes on.
    """
    thread.join(END_S)
    if thread.is_alive():
        raise UnstoppableError(
            f"the trainable's function still runs {END_S:g} s after it was told to end. Ray ends it with "
            "SystemExit inside tune.report: let that pass (no bare `except:` around tune.report)"
        )
