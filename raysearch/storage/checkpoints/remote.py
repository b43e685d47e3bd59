"""The checkpoints of a run wherever it is: in its folder, or at a store with a cache on this machine.

At a store a checkpoint is one object, an uncompressed tar, so that it is there whole or not at all.
What a machine wrote or fetched stays in its mirror of the run, and is read from there the next time;
the least recently used goes when the cache has grown past its quota.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Set
from pathlib import Path
from typing import TypeVar

from raysearch.errors import CheckpointError, StoreError
from raysearch.storage.checkpoints.local import Checkpoints
from raysearch.storage.mirror import Mirror, mirror_at
from raysearch.storage.paths import CHECKPOINT_NAME, RunPaths

_T = TypeVar("_T")

FOLDER = "checkpoints"
SUFFIX = ".tar"
QUOTA_VARIABLE = "RAYSEARCH_CACHE_GB"
QUOTA_GB = 50.0
LOOK_EVERY = 16  # checkpoints that come into the cache between two looks at its size


def checkpoints_of(run: Path) -> Checkpoints:
    """The checkpoints of the run in this folder, or of which this folder is the mirror."""
    mirror = mirror_at(run)
    if mirror is None:
        return Checkpoints(RunPaths(run).checkpoints)
    return StoredCheckpoints(RunPaths(run).checkpoints, mirror)


def cache_quota() -> float:
    """Bytes that cached checkpoints of one run may take here: $RAYSEARCH_CACHE_GB, or 50 GB."""
    try:
        return float(os.environ.get(QUOTA_VARIABLE, QUOTA_GB)) * 1e9
    except ValueError:
        return QUOTA_GB * 1e9


class StoredCheckpoints(Checkpoints):
    """Checkpoints at a store; the folder given is this machine's cache of them."""

    shares_files = False  # each is sent whole, so what several share would be sent several times

    def __init__(self, root: Path, mirror: Mirror) -> None:
        super().__init__(root)
        self._store = mirror.store.under(FOLDER)
        self._come = 0

    def commit(self, tmp: Path, durably: bool = True) -> str:
        """As for a folder; durable in any case, since it is at the store when this returns."""
        name = super().commit(tmp, durably=False)
        try:
            self._send(name)
        except BaseException:
            super().delete([name])
            raise
        self._make_room(name)
        return name

    def path(self, name: str) -> Path:
        """The checkpoint's folder here; fetched if it is not here yet."""
        if not super().exists(name):
            self._fetch(name)
            self._make_room(name)
        folder = super().path(name)
        os.utime(folder)  # used now
        return folder

    def verified(self, name: str) -> Path:
        """As `path`, after a look at every byte; a copy that was changed here is fetched anew."""
        try:
            return super().verified(name)
        except CheckpointError:
            if not super().exists(name):
                raise
            super().delete([name])
            return super().verified(name)

    def exists(self, name: str) -> bool:
        """Whether the checkpoint is at the store, whole."""
        return self._asked(lambda: self._store.has(name + SUFFIX))

    def names(self) -> Iterator[str]:
        """The names of all checkpoints at the store."""
        return (name for name, _, _ in self._listed())

    def delete(self, names: Iterable[str]) -> None:
        """Deletes checkpoints here and at the store; other machines' caches forget them in time."""
        listed = list(names)
        super().delete(listed)
        self._asked(lambda: self._store.delete([name + SUFFIX for name in listed]))

    def sweep(self, keep: Set[str], older_than_s: float, now: float | None = None) -> list[str]:
        """Deletes what a crash left, here and at the store."""
        before = (time.time() if now is None else now) - older_than_s
        super().sweep(keep, older_than_s, now)
        swept = [name for name, _, changed_at in self._listed() if name not in keep and changed_at < before]
        self.delete(swept)
        return swept

    def size_of(self, name: str) -> int:
        """Bytes of the checkpoint at the store; 0 if it is not there."""
        return sum(size for each, size, _ in self._listed() if each == name)

    def size(self) -> int:
        """Bytes of all checkpoints at the store."""
        return sum(size for _, size, _ in self._listed())

    # ---- inside

    def _listed(self) -> list[tuple[str, int, float]]:
        """(name, bytes, Unix time of its last change) of every checkpoint at the store."""
        found = self._asked(self._store.listing)
        return [
            (key.removesuffix(SUFFIX), entry.size, entry.changed_at)
            for key, entry in found.items()
            if CHECKPOINT_NAME.fullmatch(key.removesuffix(SUFFIX))
        ]

    def _send(self, name: str) -> None:
        folder = super().path(name)
        with tempfile.TemporaryDirectory(dir=self._paths.tmp) as scratch:
            packed = Path(scratch) / "packed"
            try:
                with tarfile.open(packed, "w") as archive:
                    archive.add(folder, arcname=".")
            except OSError as error:
                raise CheckpointError(f"{folder}: cannot be packed: {error.strerror or error}") from error
            self._asked(lambda: self._store.put_file(name + SUFFIX, packed))

    def _fetch(self, name: str) -> None:
        tmp = self._paths.tmp / f"{name}.{os.getpid()}.fetched"
        shutil.rmtree(tmp, ignore_errors=True)
        tmp.mkdir(parents=True)
        try:
            stream = self._asked(lambda: self._store.stream(name + SUFFIX))
            with stream, tarfile.open(fileobj=stream, mode="r|") as archive:
                archive.extractall(tmp, filter="data")
            self._into_place(tmp, name)
        except FileNotFoundError as error:
            raise CheckpointError(f"{self._store.address}: there is no checkpoint {name!r}") from error
        except (OSError, tarfile.TarError) as error:
            raise CheckpointError(f"checkpoint {name}: cannot be fetched: {error}") from error
        finally:
            shutil.rmtree(tmp, ignore_errors=True)

    def _into_place(self, tmp: Path, name: str) -> None:
        final = self._paths.committed(name)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(tmp, final)
        except OSError:
            if not final.is_dir():  # else another process of this machine was faster
                raise

    def _make_room(self, newest: str) -> None:
        """Takes the least recently used out of this machine's cache when it is over its quota."""
        self._come += 1
        if self._come % LOOK_EVERY:
            return
        over = super().size() - cache_quota()
        if over <= 0:
            return
        for folder in sorted(self._folders(), key=lambda folder: folder.stat().st_mtime):
            if over <= 0:
                return
            if folder.name != newest:
                over -= super().size_of(folder.name)
                super().delete([folder.name])

    def _asked(self, act: Callable[[], _T]) -> _T:
        """What `act` gives; what the store says instead is a CheckpointError."""
        try:
            return act()
        except StoreError as error:
            raise CheckpointError(str(error)) from error
