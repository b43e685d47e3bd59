"""The digest of a checkpoint's files, which stands at the end of its name, and so in the journal.

    12.3-a1b2c3d4_5f0c...e7     segment 12.3, saved with token a1b2c3d4; then 32 digits of the digest

Whoever goes on from a checkpoint computes the digest anew: what a disk, a program or a person changed is
found, and grown again like a checkpoint that is lost. Names of older versions have none, and are not checked.

A file is digested in pieces by several threads: SHA-256 of the SHA-256 of each. A process remembers the
digest of a file as long as inode, size and times stay as they are, so a file that many checkpoints link to is
read once.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from raysearch.errors import CheckpointError
from raysearch.storage.paths import CHECKPOINT_DIGEST

PIECE = 16 << 20
THREADS = 4
_KNOWN = 8192
_known: OrderedDict[tuple[int, ...], bytes] = OrderedDict()


def with_digest(name: str, folder: Path) -> str:
    """The name that the checkpoint in `folder`, saved as `name`, has for good. Raises OSError."""
    return f"{name}_{digest_of(folder)}"


def without_digest(name: str) -> str:
    """The name under which a checkpoint was saved."""
    return CHECKPOINT_DIGEST.sub("", name)


def check(name: str, folder: Path) -> None:
    """Compares a checkpoint's files with the digest in its name, if it has one.

    Raises:
        CheckpointError: they are not those that were saved, or cannot be read.
    """
    found = CHECKPOINT_DIGEST.search(name)
    if found is None:
        return
    try:
        is_whole = digest_of(folder) == found[1]
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read: {error.strerror or error}") from error
    if not is_whole:
        raise CheckpointError(
            f"{folder}: its files are not those that were saved: a disk or a program changed them"
        )


def digest_of(folder: Path) -> str:
    """32 digits for the names and contents of all files and links below `folder`. Raises OSError."""
    found = hashlib.sha256()
    _add(found, os.fspath(folder), "")
    return found.hexdigest()[:32]


def _add(found: Any, folder: str, prefix: str) -> None:
    """Adds what is in a folder, by name, and then what is in the folders in it."""
    folders = []
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry)
            continue
        kind, content = _content(entry)
        label = os.fsencode(prefix + entry.name)
        found.update(b"%c%d:%b%b" % (kind, len(label), label, content))
    for entry in folders:
        _add(found, entry.path, f"{prefix}{entry.name}/")


def _content(entry: os.DirEntry[str]) -> tuple[int, bytes]:
    """(the kind of an entry of a folder, 32 bytes for what it holds)."""
    if entry.is_symlink():
        return ord("l"), hashlib.sha256(os.fsencode(os.readlink(entry.path))).digest()
    if not entry.is_file(follow_symlinks=False):
        return ord("o"), b"\0" * 32
    return ord("f"), _file_digest(entry.path)


def _file_digest(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        found = os.fstat(fd)
        key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if key not in _known:
            _known[key] = _digest(fd, found.st_size)
        _known.move_to_end(key)
        while len(_known) > _KNOWN:
            _known.popitem(last=False)
        return _known[key]
    finally:
        os.close(fd)


def _digest(fd: int, size: int) -> bytes:
    def piece(at: int) -> bytes:
        return hashlib.sha256(os.pread(fd, min(PIECE, size - at), at)).digest()  # room is made for all asked

    starts = range(0, size, PIECE)
    if len(starts) < 2:
        pieces = [*map(piece, starts)]
    else:
        with ThreadPoolExecutor(min(THREADS, len(starts), os.cpu_count() or 1)) as pool:
            pieces = [*pool.map(piece, starts)]
    return hashlib.sha256(b"".join(pieces)).digest()
