"""Files that are there after a power cut: written, synced, renamed."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from raysearch.storage.paths import TMP_SUFFIX

# The size of a grown file is synced with its data either way; macOS has only fsync.
sync = getattr(os, "fdatasync", os.fsync)

Found = TypeVar("Found")

RETRIES_S = (0.2, 1.0, 3.0, 5.0, 10.0)  # between attempts at storage that fails; then always the last


def sync_path(path: str | os.PathLike[str]) -> None:
    """Syncs a file's contents, or a folder's list of names."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_text(path: Path, text: str) -> None:
    """Makes `text` the contents of `path`: after any crash the file holds the old text or the new."""
    tmp = path.with_name(f"{path.name}.{os.getpid()}{TMP_SUFFIX}")
    with _removed_on_error(tmp), open(tmp, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(tmp, path)
    sync_path(path.parent)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives the name of a file beside `path` that takes its place if the block ends well, and else goes.

    Its suffix is that of `path`. What is there and no file, such as a pipe, is written as it is.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        yield target
        return
    tmp = target.with_name(f".{os.getpid()}-{target.name}")
    with _removed_on_error(tmp):
        yield tmp
        sync_path(tmp)
        if target.exists():
            shutil.copymode(target, tmp)
        os.replace(tmp, target)


@contextlib.contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def waits(patience_s: float) -> Iterator[float]:
    """Seconds to wait after each attempt at storage that fails; `patience_s` in all."""
    for wait in itertools.chain(RETRIES_S, itertools.repeat(RETRIES_S[-1])):
        if patience_s <= 0:
            return
        yield min(wait, patience_s)
        patience_s -= wait


def patiently(action: Callable[[], Found], patience_s: float, passes: Callable[[Exception], bool]) -> Found:
    """What `action` returns. Tried again for a while after errors that may pass; raises the others."""
    for wait in waits(patience_s):
        try:
            return action()
        except Exception as error:
            if not passes(error):
                raise
            time.sleep(wait)
    return action()
