"""Files that survive a power cut: written, synced, renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from raysearch.storage.paths import TMP_SUFFIX

# The size of a grown file is synced with its data either way; macOS has only fsync.
sync = getattr(os, "fdatasync", os.fsync)


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
