"""Where runs lie: the folder of a spec's run, an existing run by folder or address, a new run's folder."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.core.user_paths import user_path
from raysearch.errors import CutOffError, RaysearchError, RunError
from raysearch.spec.names import default_name
from raysearch.storage.atomic import replace_text
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.reading import read_events
from raysearch.storage.mirror import mirror_at, mirror_of, shown
from raysearch.storage.object_store import StoreAddress, is_address, open_store, parse_address
from raysearch.storage.paths import RunPaths

if TYPE_CHECKING:
    from raysearch.spec.search_spec import SearchSpec

NAMED = 10  # runs that an error about a missing run names


def new_name(trainable: Any) -> str:
    """A name that no other run has: the trainable's, the time, and random digits for the same second."""
    return f"{default_name(trainable)}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def anchored(spec: SearchSpec) -> SearchSpec:
    """The spec with an absolute storage, so that the run is found after the working directory has changed."""
    if is_address(spec.storage):
        return spec
    return dataclasses.replace(spec, storage=str(user_path(spec.storage).absolute()))


def run_folder(spec: SearchSpec) -> Path:
    """The folder of this spec's run: storage/name; for a storage at a store, the run's mirror here."""
    if is_address(spec.storage):
        return mirror_of(parse_address(spec.storage).under(spec.name)).root
    return user_path(spec.storage) / spec.name


def existing_run(run: str | os.PathLike[str]) -> Path:
    """The folder of a run, checked; for a run at a store, its mirror here, brought up to date.

    Raises:
        RunError: no run is there; names the runs beside it.
        SpecError: the address is wrong.
        StoreError: the store does not answer.
    """
    if is_address(run):
        return _fetched_run(parse_address(os.fspath(run)))
    root = user_path(run)
    if (mirror := mirror_at(root)) is not None:
        mirror.refresh(now=True)
    if RunPaths(root).spec.is_file() and RunPaths(root).journal.is_dir():
        return root
    folder = root if root.is_dir() else root.parent
    runs = sorted(str(p.parent) for p in folder.glob("*/spec.yaml"))[:NAMED] if folder.is_dir() else []
    near = f"; runs here: {', '.join(runs)}" if runs else ""
    raise RunError(f"no run at {str(run)!r} (a run is a folder with spec.yaml and journal/){near}")


@contextlib.contextmanager
def new_run(spec: SearchSpec) -> Iterator[tuple[Path, Journal]]:
    """Makes the folder of a new run: (folder, empty journal); writes the spec if the block ends well.

    Without spec.yaml a folder is no run: a launch that dies in the block leaves nothing that counts.

    Raises:
        RunError: a run of that name exists, or the folder cannot be written.
    """
    root = run_folder(spec)
    paths, mirror, text = RunPaths(root), mirror_at(root), spec.to_yaml()
    if mirror.store.has(paths.spec.name) if mirror is not None else paths.spec.exists():
        raise RunError(
            f"a run exists at {shown(root)!r}. Go on with it (raysearch resume {shown(root)}), or give this "
            "one another name (--name, or `name:` in the spec)"
        )
    try:
        if mirror is not None:
            mirror.begin()
        root.mkdir(parents=True, exist_ok=True)
        if paths.journal.exists():  # left by a launch that died before it wrote the spec: it holds nothing
            shutil.rmtree(paths.journal)
        with Journal.create(paths.journal) as journal:
            yield root, journal
        write_spec(paths, text)
    except OSError as error:
        raise RunError(
            f"the run's folder {str(root)!r} cannot be written: {error.strerror or error}. Choose another "
            "`storage:`, or make room"
        ) from error


@contextlib.contextmanager
def none_unless_begun(root: Path) -> Iterator[None]:
    """Where an error ends the block before the search in `root` began, there is no run: its name is free.

    What was written beside the spec stays, for who looks for the cause. After a CutOffError, which says how
    to resume the run, there is one.
    """
    try:
        yield
    except CutOffError:
        raise
    except Exception:
        paths, mirror = RunPaths(root), mirror_at(root)
        if _never_began(paths):
            if mirror is not None:
                mirror.store.delete([paths.spec.name])
            paths.spec.unlink(missing_ok=True)
        raise


def _never_began(paths: RunPaths) -> bool:
    """Whether the journal holds no start of a search; False where it cannot be read."""
    try:
        return not any(event.kind == "start" for event in read_events(paths.journal))
    except (RaysearchError, OSError):
        return False


def write_spec(paths: RunPaths, spec: str) -> None:
    """Makes `spec` the text of the run's spec.yaml, at its store too."""
    replace_text(paths.spec, spec)
    if (mirror := mirror_at(paths.root)) is not None:
        mirror.push(paths.spec)


def _fetched_run(address: StoreAddress) -> Path:
    store = open_store(address)
    if not store.has("spec.yaml"):
        beside = open_store(address.parent)
        runs = [name for name in beside.folders()[:NAMED] if beside.under(name).has("spec.yaml")]
        near = f"; runs there: {', '.join(runs)}" if runs else ""
        raise RunError(f"no run at {str(address)!r} (a run has spec.yaml and journal/){near}")
    mirror = mirror_of(address)
    mirror.refresh(now=True)
    return mirror.root
