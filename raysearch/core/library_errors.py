"""What the errors of other libraries mean: by type where there is one, else by their text.

Some libraries raise one type for everything, so that the text is the only sign. Every text that decides
anything stands here, with where it is from; `tests/test_house.py` refuses one elsewhere.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sign:
    """Texts by which an error is known that its library gives no type, code or attribute.

    Attributes:
        library: whose error it is, and what raises it.
        texts: any of them is in the error's text.
    """

    library: str
    texts: tuple[str, ...]

    def is_in(self, error: BaseException | str) -> bool:
        """Whether the error is one of these."""
        text = str(error)
        return any(one in text for one in self.texts)


RAY_NODE_DIED = Sign("ray: ActorDiedError of an actor whose node is gone", ("its node has died",))
RAY_MEMORY_KILL = Sign(
    "ray: errors of an actor that the memory monitor killed", ("NODE_OUT_OF_MEMORY", "low on memory")
)
RAY_SLOW_START = Sign("ray: init, whose processes were not up in time", ("timed out during startup",))
RAY_OTHER_VERSION = Sign("ray: init at a cluster of other versions", ("ersion mismatch",))
RAY_NO_AGENT = Sign("ray: jobs, before the head's agent is up", ("No available agent",))
RAY_NO_JOB = Sign("ray: jobs, a request answered 404", ("status code 404", "does not exist"))
NUMPY_ARRAY_AS_TRUTH = Sign("numpy: ValueError of `if array`", ("truth value",))
TORCH_NOT_TRACED = Sign("torch: RuntimeError of jit.trace", ("JIT tracer",))

_NO_MODULE = re.compile(r"ModuleNotFoundError: No module named '(\w+)[\w.]*'")
_RAY_RAISED = re.compile(r"^raysearch\.errors\.\w+: (.*)$", re.MULTILINE)
_GROUPS = {"builtins.BaseExceptionGroup", "exceptiongroup.BaseExceptionGroup"}
_CUDA_MEMORY = 2  # cudaErrorMemoryAllocation, the `error_code` of torch.AcceleratorError
_TORCH_MEMORY = re.compile(  # plain RuntimeErrors of torch 2.4 to 2.13, each from its text's beginning
    r"(?:CUDA|HIP)(?: driver)? error: out of memory|MPS backend out of memory|"
    r"\[enforce fail at alloc_cpu\.cpp:\d+\].*(?:not enough memory|can't allocate memory)|"
    r"(?:CUDA|cuDNN|cuFFT|cusolver) error: \w+_ALLOC_FAILED"
)
_RAISED = re.compile(r"(?:[A-Za-z_]\w*\.)*(?P<type>[A-Z]\w*)(?:: |$)")  # the last lines of a traceback


def raised_in_actor(error: BaseException) -> str | None:
    """The words of an error of ours that an actor's constructor raised: Ray keeps a traceback's text only."""
    found = _RAY_RAISED.findall(str(error))
    return str(found[-1]) if found else None


def missing_module(text: str) -> str | None:
    """The package that a process elsewhere could not import, by its last line; None for another end."""
    lines = text.strip().splitlines()
    found = _NO_MODULE.fullmatch(lines[-1].strip()) if lines else None
    return found[1] if found else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or not: the error says so, or one that it wraps.

    Users and frameworks wrap what torch raised: followed are `raise ... from`, an error raised while another
    one was handled, groups of errors, and the cause of an error that Ray brought here. `from None` hides
    nothing: it is about tracebacks, and Ray Tune does it to every error of a trainable.
    """
    return any(map(_says_out_of_memory, _wrapped(error)))


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    """The error, and all that it wraps."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        one = todo.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [one.__cause__, one.__context__]
        names = _type_names(one)
        if "ray.exceptions.RayTaskError" in names:
            todo.append(getattr(one, "cause", None))
        if names & _GROUPS:
            todo += getattr(one, "exceptions", ())


def _says_out_of_memory(error: BaseException) -> bool:
    names = _type_names(error)
    if isinstance(error, MemoryError) or any(name.endswith(".OutOfMemoryError") for name in names):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if "torch.AcceleratorError" in names:
        return getattr(error, "error_code", None) == _CUDA_MEMORY or _begins_so(error)
    if type(error) is RuntimeError:
        return _begins_so(error) or (_text_of(error).startswith("Caught ") and _ends_so(error))
    return "torch.multiprocessing.spawn.ProcessRaisedException" in names and _ends_so(error)


def _type_names(error: BaseException) -> set[str]:
    """`module.Name` of the error's type and its bases, of libraries that are not imported here."""
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}


def _begins_so(error: BaseException) -> bool:
    return _TORCH_MEMORY.match(_text_of(error)) is not None


def _ends_so(error: BaseException) -> bool:
    """Whether the traceback in an error's text ends with memory: torch brings errors of its processes so."""
    raised = [found for line in _text_of(error).splitlines() if (found := _RAISED.match(line))]
    if not raised:
        return False
    last = raised[-1]
    if last["type"] in ("OutOfMemoryError", "MemoryError"):
        return True
    return last["type"] == "RuntimeError" and _TORCH_MEMORY.match(last.string, last.end()) is not None


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  (an exception's own __str__ may raise)
        return ""
