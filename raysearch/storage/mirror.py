"""A run at a store (s3://, gs://) as a folder on this machine: its mirror.

Everything works on run folders. That of a run at a store holds a file `origin` with its address. The
process that runs the search writes there first and then into the store, and nothing counts before it
is in the store; every other process fetches what is new before it reads. Files of a journal never
change once they are in the store, apart from being compacted, so each is fetched once.

    root = mirror_of(parse_address("s3://bucket/runs/digits")).root
    mirror_at(root)            # the Mirror, for any code that was given a folder; None for a plain one
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import threading
import time
from pathlib import Path

from raysearch.core.cache_dir import cache_folder
from raysearch.errors import RunError
from raysearch.storage.atomic import read_text, replace_text
from raysearch.storage.object_store import Store, StoreAddress, open_store, parse_address
from raysearch.storage.paths import JournalPaths, Part, RunPaths

LOOK_S = 1.0  # between two looks of a reader at the store
JOURNAL = "journal"
_made: set[Path] = set()  # by this process, in its cache as it was then


class Mirror:
    """One run's folder here and its place in the store."""

    def __init__(self, root: Path, store: Store) -> None:
        self.root = root
        self.store = store
        self.is_written_here = False
        self._mutex = threading.Lock()
        self._looked_at = -LOOK_S
        self._spec_version = ""  # at the store, of the spec that is here

    @property
    def address(self) -> str:
        """Where the run is."""
        return str(self.store.address)

    # ---- reading

    def refresh(self, now: bool = False) -> None:
        """Fetches what is new of the journal and the spec; at most once a second, unless `now`.

        Raises:
            StoreError: the store does not answer.
        """
        with self._mutex:
            if self.is_written_here or (not now and time.monotonic() - self._looked_at < LOOK_S):
                return
            self._fetch_spec()
            self._fetch_journal()
            self._looked_at = time.monotonic()

    def fetch_anew(self, path: Path) -> None:
        """Fetches a file of the run, given by its path here, although it is here. Raises StoreError."""
        with self._mutex:
            self._fetch(path.relative_to(self.root).as_posix())

    def _fetch(self, name: str) -> None:
        self.store.fetch(name, self.root / name)

    def _fetch_spec(self) -> None:
        spec = RunPaths(self.root).spec
        seen = self._spec_version if spec.exists() else ""
        self._spec_version = self.store.fetch(spec.name, spec, seen)

    def _fetch_journal(self) -> None:
        (self.root / JOURNAL).mkdir(parents=True, exist_ok=True)
        listed = sorted(self._listed(), key=lambda found: found[0].first)
        missing = [f"{JOURNAL}/{part.path.name}" for part, size in listed if _size(part.path) != size]
        self.store.each(self._fetch, missing)

    def _listed(self) -> list[tuple[Part, int]]:
        paths = JournalPaths(self.root / JOURNAL)
        found = ((paths.part(Path(key).name), entry) for key, entry in self.store.listing(JOURNAL).items())
        return [(part, entry.size) for part, entry in found if part is not None]

    # ---- writing

    def begin(self) -> None:
        """Makes place for a new run: deletes what an earlier one, or one that never began, left here.

        What is at the store without a spec holds nothing: it was left by a launch that died. Raises
        StoreError if the store cannot be written.
        """
        self.store.put(RunPaths(self.root).origin.name, self.address.encode())
        self.store.delete([f"{JOURNAL}/{part.path.name}" for part, _ in self._listed()])
        for path in self.root.iterdir():
            if path != RunPaths(self.root).origin:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def push(self, path: Path) -> None:
        """Puts a file of the run, given by its path here, into the store. Raises StoreError."""
        self.store.put_file(path.relative_to(self.root).as_posix(), path)

    def push_parts(self, used: list[Part]) -> None:
        """Makes `used` the journal's parts in the store too: adds what is not there, then deletes the rest.

        Only what one of them covers goes, so that no moment loses a row.
        """
        there = {part.path.name: (part, size) for part, size in self._listed()}
        for part in used:
            if part.stop is not None and part.path.name not in there:
                self.push(part.path)
        kept = {part.path.name for part in used}
        spans = [(part.first, part.stop) for part in used if part.stop is not None]

        def is_covered(part: Part) -> bool:
            """A log ends where another part begins, so it lies in the span that it begins in."""
            end = part.stop if part.stop is not None else part.first + 1
            return any(first <= part.first and end <= stop for first, stop in spans)

        covered = [name for name, (part, _) in there.items() if name not in kept and is_covered(part)]
        self.store.delete([f"{JOURNAL}/{name}" for name in covered])


def mirror_of(address: StoreAddress) -> Mirror:
    """The mirror of the run at this address, made if need be; nothing is fetched."""
    root = cache_folder() / "runs" / f"{address.name}-{_digest(str(address))}"
    if not _holds(RunPaths(root).origin, str(address)):
        root.mkdir(parents=True, exist_ok=True)
        replace_text(RunPaths(root).origin, str(address))
    _made.add(root.resolve())
    mirror = mirror_at(root)
    assert mirror is not None
    return mirror


def mirror_at(root: Path) -> Mirror | None:
    """The mirror whose folder this is; None for a folder that is itself the run.

    Raises:
        RunError: a folder outside of the cache says that it is a mirror: anyone may have put the file
            there, and what it names would be read and written.
    """
    origin = RunPaths(root).origin
    try:
        address = read_text(origin)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{origin}: cannot be read: {error}") from None
    if root.resolve() not in _made and not root.resolve().is_relative_to((cache_folder() / "runs").resolve()):
        raise RunError(
            f"{origin}: names a store ({address[:200]!r}), and lies outside of the cache ({cache_folder()}), "
            "where alone such a file counts. Give the run's address in place of the folder; or delete the "
            "file, if the folder is to be a run of its own"
        )
    if root.resolve().name.rpartition("-")[2] != _digest(address):
        raise RunError(
            f"{origin}: names a store ({address[:200]!r}) for which this folder was not made: the file was "
            "changed. Give the run's address in place of the folder, which puts the file right"
        )
    return _mirror(root.absolute(), address)


@functools.lru_cache(maxsize=64)
def _mirror(root: Path, address: str) -> Mirror:
    return Mirror(root, open_store(parse_address(address)))


def shown(root: Path) -> str:
    """What a run is called in texts and commands: its address at a store, or its folder."""
    mirror = mirror_at(root)
    return mirror.address if mirror is not None else str(root)


def storage_of(root: Path) -> str:
    """Where runs lie beside this one."""
    mirror = mirror_at(root)
    return str(mirror.store.address.parent) if mirror is not None else str(root.parent)


def _digest(address: str) -> str:
    """What a mirror's folder ends with."""
    return hashlib.sha256(address.encode()).hexdigest()[:12]


def _holds(origin: Path, address: str) -> bool:
    try:
        return origin.read_bytes() == address.encode()
    except OSError:
        return False


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
