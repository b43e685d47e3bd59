"""Files that survive a power cut: written, synced, renamed. Small ones are read with care."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from raysearch.storage.paths import TMP_SUFFIX

SMALL_BYTES = 64 << 20  # of a file that is read as a whole

# The size of a grown file is synced with its data either way; macOS has only fsync.
sync = getattr(os, "fdatasync", os.fsync)


def sync_path(path: str | os.PathLike[str]) -> None:
    """Syncs a file's contents, or a folder's list of names."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_text(path: Path, most: int = SMALL_BYTES) -> str:
    """The text of a small file. A pipe or device that somebody put in its place is not waited for.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it has more bytes than `most`, or is not UTF-8.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is no regular file", os.fspath(path))
        if found.st_size > most:
            raise ValueError(f"it is of {found.st_size:,} bytes; at most {most:,} are read")
        return file.read(most).decode()


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
    """Gives the name of a file beside `path` that replaces it if the block ends well, and is removed if not.

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
