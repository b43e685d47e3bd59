"""Checkpoints in folders, each of which is there whole or not at all.

    tmp = checkpoints.path_for_new(segment_id, token)     # the worker saves into it
    name = checkpoints.commit(tmp)                        # synced and renamed: it survives any crash
    folder = checkpoints.verified(name)                   # its files are those that were saved

Any number of processes may write and read at once, on one file system. A name says the segment, and what
the files hold: `12.3-TOKEN_DIGEST`.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Set
from pathlib import Path
from typing import TypeVar

from raysearch.core.segment import segment_name
from raysearch.errors import CheckpointError
from raysearch.storage.atomic import sync_path
from raysearch.storage.checkpoints import digest
from raysearch.storage.paths import CHECKPOINT_NAME, CheckpointPaths

_T = TypeVar("_T")


class Checkpoints:
    """The checkpoints in a folder, which is made when the first is written.

    Attributes:
        shares_files: whether a file that several checkpoints link to takes its room once.
    """

    shares_files = True

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._paths = CheckpointPaths(Path(root))

    def path_for_new(self, segment: int, token: str) -> Path:
        """An empty folder to save the checkpoint at the end of this segment in; then call `commit`.

        `token` (letters, digits, _) tells attempts at the segment apart. What an earlier attempt with
        the same token left unfinished is removed.

        Raises:
            CheckpointError: the folder cannot be made.
        """
        tmp = self._paths.tmp / _checked(f"{segment_name(segment)}-{token}")
        return _try(f"{tmp}: cannot be made", lambda: _make_empty(tmp))

    def commit(self, tmp: Path, durably: bool = True) -> str:
        """Renames `tmp` to the checkpoint of its name and digest, synced if `durably`; returns that name.

        One saved under the same name that is there already stays as it is, and is returned. One that is not
        written `durably` survives the death of every process, but maybe not that of the machine: then it is
        grown again.

        Raises:
            CheckpointError: it cannot be synced or renamed, or holds nothing; `tmp` stays as it is.
        """
        name = _checked(tmp.name)
        return _try(f"{tmp}: the checkpoint cannot be written", lambda: self._commit(tmp, name, durably))

    def path(self, name: str) -> Path:
        """The checkpoint's folder. Raises CheckpointError if it is not there."""
        folder = self._paths.committed(_checked(name))
        if not folder.is_dir():
            raise CheckpointError(f"{folder}: there is no checkpoint {name!r}; it was deleted, or never kept")
        return folder

    def verified(self, name: str) -> Path:
        """As `path`, after a look at every byte. Raises CheckpointError too if one was changed."""
        folder = self.path(name)
        digest.check(name, folder)
        return folder

    def exists(self, name: str) -> bool:
        """Whether the checkpoint is there, whole."""
        return self._paths.committed(_checked(name)).is_dir()

    def names(self) -> Iterator[str]:
        """The names of all checkpoints that are there, in no order."""
        return (folder.name for folder in self._folders())

    def delete(self, names: Iterable[str]) -> None:
        """Deletes checkpoints; those that are not there are passed over. None is ever seen half deleted.

        Raises:
            CheckpointError: the folder cannot be changed; the others may have been deleted.
        """
        for name in names:
            folder = self._paths.committed(_checked(name))
            _try(f"{folder}: cannot be deleted", lambda folder=folder: self._discard(folder))  # type: ignore[misc]

    def sweep(self, keep: Set[str], older_than_s: float, now: float | None = None) -> list[str]:
        """Deletes what a crash left: unfinished folders, and checkpoints not in `keep`.

        Only what was last changed more than `older_than_s` seconds before `now` (Unix time; the clock's if
        None) goes, since a worker may be saving or about to report one. Returns the names deleted.
        """
        older_than = (time.time() if now is None else now) - older_than_s
        swept = []
        for folder in [*self._folders(), *_children(self._paths.tmp)]:
            unfinished = folder.parent == self._paths.tmp
            if (unfinished or folder.name not in keep) and _changed_at(folder) < older_than:
                remove = _remove if unfinished else self._discard
                _try(f"{folder}: cannot be deleted", lambda f=folder, r=remove: r(f))  # type: ignore[misc]
                swept.append(folder.name)
        return swept

    def size_of(self, name: str) -> int:
        """Bytes that the checkpoint's files hold; 0 if it is not there."""
        return _bytes_in(self._paths.committed(_checked(name)))

    def size(self) -> int:
        """Bytes that all files hold, unfinished ones included. Looks at every file."""
        return _bytes_in(self._paths.root)

    def _commit(self, tmp: Path, saved_as: str, durably: bool) -> str:
        if not (_sync_tree(tmp) if durably else any(tmp.iterdir())):
            raise OSError("nothing was saved in it")
        name = digest.with_digest(saved_as, tmp)
        final = self._paths.committed(name)
        alike = (each for each in _names(final.parent) if each.startswith(saved_as))
        earlier = [each for each in alike if digest.without_digest(each) == saved_as]
        if earlier:
            shutil.rmtree(tmp)
            return earlier[0]
        if not final.parent.is_dir():
            final.parent.mkdir(parents=True, exist_ok=True)
            if durably:
                sync_path(final.parent.parent)
        os.utime(tmp)  # its age counts from now
        try:
            os.rename(tmp, final)
        except OSError:
            if not final.is_dir():
                raise
            shutil.rmtree(tmp)
        if durably:
            sync_path(final.parent)
        return name

    def _discard(self, folder: Path) -> None:
        self._paths.tmp.mkdir(parents=True, exist_ok=True)
        grave = self._paths.tmp / f"{folder.name}.{os.getpid()}.deleted"
        try:
            os.rename(folder, grave)
        except FileNotFoundError:
            return
        _remove(grave)

    def _folders(self) -> Iterator[Path]:
        for spread in _children(self._paths.root):
            if re.fullmatch("[0-9a-f]{2}", spread.name):
                yield from _children(spread)


def _checked(name: str) -> str:
    if not CHECKPOINT_NAME.fullmatch(name):
        raise CheckpointError(f"{name!r} is no name of a checkpoint; they are like '12.3-a1b2'")
    return name


def _try(failure: str, act: Callable[[], _T]) -> _T:
    try:
        return act()
    except OSError as error:
        raise CheckpointError(f"{failure}: {error.strerror or error}") from error


def _make_empty(folder: Path) -> Path:
    _remove(folder)
    folder.mkdir(parents=True)
    return folder


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        path.unlink(missing_ok=True)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _children(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _changed_at(path: Path) -> float:
    """Unix time of the last change to the folder or to a file right in it; +inf if it is gone."""
    try:
        return max(entry.stat().st_mtime for entry in (path, *_children(path)))
    except FileNotFoundError:
        return float("inf")


def _sync_tree(folder: Path) -> int:
    """Syncs every file and folder under `folder`; returns how many files there are."""
    files = 0
    for at, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            sync_path(os.path.join(at, name))
        files += len(names)
        sync_path(at)
    return files


def _raise(error: OSError) -> None:
    raise error


def _bytes_in(folder: Path) -> int:
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(at, name)).st_size
            except FileNotFoundError:  # deleted while we count
                continue
    return total
