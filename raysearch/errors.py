"""Every error that raysearch raises on purpose.

RaysearchError
├── SpecError         a spec, space or strategy setting is wrong (also a ValueError)
├── TrainableError    the user's trainable cannot be imported or does not keep the contract
│   └── NoCheckpointError   it writes no checkpoint, and a segment needs one
├── JournalError      a journal is torn in the middle, or foreign
│   └── JournalBusyError    another process has it open
├── StoreError        an object store cannot be reached, or refuses
├── CheckpointError   a checkpoint cannot be written, found or read
├── RunError          a run exists already, does not exist, or cannot go on
│   └── CutOffError         what a search needs went away; a resume goes on, however early that was
│       └── ClusterLostError    the cluster that it ran on is gone
└── ClusterError      the cluster cannot be reached or has too little for one worker

The command line prints these without a traceback and exits with 2. Anything else is our bug.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

_USER_IN_ADDRESS = re.compile(r"(?<=://)[^/\s'\"<>]*@")
_KEY_IN_QUERY = re.compile(
    r"([?&](?:[\w-]*(?:signature|credential|token|secret|passw\w*|api[_-]?key)|key|sig)=)[^&\s'\"<>]+",
    re.IGNORECASE,
)
_NAMES_KEY = re.compile(r"(?:^|_)(?:key|secret|token|passw(?:or)?d)$", re.IGNORECASE)
_KEY_LENGTH = 8  # a shorter value of such a variable is a switch, or part of some word


def without_keys(text: str, environ: Mapping[str, str] | None = None) -> str:
    """The text without the keys that other libraries repeat in their errors.

    Taken out are the user and password of an address, what a query says of a signature, token or key, and the
    values of the variables of the environment that are named like a key or hold the address of a proxy.

    >>> without_keys("Failed to connect to proxy URL: http://me:pass@proxy:3128")
    'Failed to connect to proxy URL: http://***@proxy:3128'
    """
    for key in _keys_of(os.environ if environ is None else environ):
        text = text.replace(key, "***")
    return _KEY_IN_QUERY.sub(r"\1***", _USER_IN_ADDRESS.sub("***@", text))


def _keys_of(environ: Mapping[str, str]) -> Iterator[str]:
    """Long ones first, so that no part of one is left."""
    found = set()
    for name, value in environ.items():
        if _NAMES_KEY.search(name) and len(value) >= _KEY_LENGTH and not value.startswith(os.sep):
            found.add(value)
        if name.lower().endswith("_proxy") and "@" in value:
            user = value.rpartition("@")[0].rpartition("://")[2]
            found |= {user, unquote(user)}
    return iter(sorted(found - {""}, key=len, reverse=True))


class RaysearchError(Exception):
    """Base of all errors that a user can act on: says what is wrong and what to do, and repeats no key."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(without_keys(each) if isinstance(each, str) else each for each in args))


class RaysearchWarning(UserWarning):
    """A file of a run can be read, and is not as it was left; the text names it, and what does not count."""


class SpecError(RaysearchError, ValueError):
    """A value in the spec is wrong: says the value, where it stood and what is allowed."""


class LocatedError(SpecError):
    """A SpecError that knows where in the spec the value stood.

    Attributes:
        place: dotted path, `space.model.lr`.
        text: what is wrong, without the place.
    """

    def __init__(self, place: str, text: str) -> None:
        super().__init__(f"{place}: {text}" if place else text)
        self.place = place
        self.text = without_keys(text)

    def __reduce__(self) -> tuple[type[LocatedError], tuple[str, str]]:
        return type(self), (self.place, self.text)


class TrainableError(RaysearchError):
    """The trainable cannot be imported, or breaks its contract for every trial."""


class NoCheckpointError(TrainableError):
    """The trainable writes no checkpoint, and a segment cannot do without one: nor will it later."""


class JournalError(RaysearchError):
    """A journal cannot be read or written."""


class JournalBusyError(JournalError):
    """A journal is open in another process."""


class StoreError(RaysearchError):
    """An object store cannot be reached, or refuses what was asked."""


class CheckpointError(RaysearchError):
    """A checkpoint cannot be written, found or read."""


class RunError(RaysearchError):
    """A run exists already, is missing, or cannot go on as asked."""


class CutOffError(RunError):
    """What a search needs went away, and the text says how to resume it: its run stays, begun or not."""


class ClusterLostError(CutOffError):
    """The Ray cluster that the search ran on is gone; nothing can be asked of it any more."""


class ClusterError(RaysearchError):
    """Ray cannot be reached, or has fewer resources than one worker needs."""


@contextlib.contextmanager
def located(place: str) -> Iterator[None]:
    """Says of every SpecError raised inside, if it does not say so itself, that it stood at `place`."""
    try:
        yield
    except LocatedError:
        raise
    except SpecError as error:
        raise LocatedError(place, str(error)) from None


@contextlib.contextmanager
def prefixed(place: str) -> Iterator[None]:
    """Puts `place` in front of where an error raised inside says it stood."""
    try:
        yield
    except LocatedError as error:
        raise LocatedError(".".join(filter(None, (place, error.place))), error.text) from None


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """`unknown domain 'logunifrom'; did you mean 'loguniform'? known: choice, loguniform, ...`."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"unknown {what} {name!r}{hint} known: {', '.join(names)}"


def first_line(text: str) -> str:
    """The first line of an error's text, cut where it is long."""
    line = text.strip().splitlines()[0] if text.strip() else "no reason given"
    return line if len(line) <= 200 else f"{line[:200]}..."
