"""Paths as people write them, and what lies in folders."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path

from raysearch.errors import SpecError

NAME_MAX = 255  # bytes of one part of a path, on the file systems that there are


def user_path(written: str | os.PathLike[str]) -> Path:
    """The path that a user wrote, with `~` filled in.

    Raises:
        SpecError: no file can be called so: a NUL, a part that is too long, the home of a user there is not.
    """
    text = os.fspath(written)
    if "\0" in text:
        raise SpecError(f"{text!r} holds a NUL character, which no path can")
    if too_long := [part for part in Path(text).parts if len(os.fsencode(_encodable(part))) > NAME_MAX]:
        raise SpecError(f"{too_long[0][:40]!r}... has more than {NAME_MAX} bytes, which no file's name can")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        user = Path(text).parts[0]
        raise SpecError(f"{text!r}: there is no home folder of {user}; write the path in full") from None


def entries(folder: Path, pattern: str = "*") -> list[Path]:
    """What lies in a folder under names like the pattern, sorted.

    Raises:
        OSError: the folder cannot be listed, in which case `Path.glob` finds nothing.
    """
    return [folder / name for name in sorted(os.listdir(folder)) if fnmatch.fnmatchcase(name, pattern)]


def files_below(folder: Path) -> list[Path]:
    """The files in a folder and in all folders below it, sorted.

    Raises:
        OSError: one of them cannot be listed, which `Path.rglob` passes over.
    """
    walk = os.walk(folder, onerror=_raise)
    found = (Path(at, name) for at, _, names in walk for name in names)
    return sorted(file for file in found if file.is_file())


def _raise(error: OSError) -> None:
    raise error


def _encodable(part: str) -> str:
    try:
        os.fsencode(part)
    except UnicodeEncodeError:
        raise SpecError(f"{part!r} is not text that a file can be called") from None
    return part
