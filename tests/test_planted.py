"""What others may plant: pipes where files are read, and packages that name what they must not."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE_S

from raysearch.core import installed
from raysearch.errors import CheckpointError, RaysearchError, RunError, SpecError
from raysearch.run.orders import Orders
from raysearch.storage import atomic
from raysearch.storage.checkpoints.meta import read_meta
from raysearch.storage.mirror import mirror_at
from raysearch.storage.paths import CHECKPOINT_META, CHECKPOINT_RANDOM, RunPaths
from raysearch.strategies import registry
from raysearch.tracking import sinks
from raysearch.tracking.wandb.sync_state import state_of
from raysearch.worker import rng

NAME = "01234567890123456789-abcdef"
READERS: list[tuple[str, Callable[[Path], Any], type[RaysearchError]]] = [
    (f"{NAME}.json", lambda folder: Orders(folder).read(NAME), SpecError),
    (f"{NAME}.answer", lambda folder: Orders(folder).answered(NAME), RunError),
    (CHECKPOINT_META, read_meta, CheckpointError),
    (CHECKPOINT_RANDOM, rng.restore, CheckpointError),
    ("tracking/wandb.json", state_of, RunError),
    (RunPaths("").origin.name, mirror_at, RunError),
]


@pytest.mark.parametrize(("name", "read", "kind"), READERS, ids=[name for name, _, _ in READERS])
def test_a_pipe_or_a_huge_file_where_a_small_one_is_read_is_refused_and_not_waited_for(
    tmp_path: Path, name: str, read: Callable[[Path], Any], kind: type[RaysearchError]
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)

    def refusal() -> str:
        raised: list[BaseException] = []

        def attempt() -> None:
            try:
                read(tmp_path)
            except RaysearchError as error:
                raised.append(error)

        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "it waits for somebody to write into the pipe"
        (error,) = raised
        assert isinstance(error, kind)
        return str(error)

    os.mkfifo(file)
    assert "is no regular file" in refusal()
    file.unlink()
    with file.open("wb") as sparse:
        sparse.truncate(atomic.SMALL_BYTES + 1)
    assert "it is of 67,108,865 bytes" in refusal()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three packages, of which one raises when it is imported, one ends the process and two share a name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "planted_raises.py").write_text("raise RuntimeError('it ran')")
    (tmp_path / "planted_ends.py").write_text("raise SystemExit(0)")
    values = {"one": ("raises", "twice=planted_raises:a"), "two": ("ends", "twice=planted_ends:a")}
    for package, (what, twice) in values.items():
        folder = tmp_path / f"{package}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        points = f"{what}=planted_{what}:a\n{twice}\n"
        groups = "".join(f"[{group}]\n{points}" for group in (registry.GROUP, sinks.GROUP))
        (folder / "entry_points.txt").write_text(groups)


@pytest.mark.parametrize(("find", "what"), [(registry.recipe_class, "strategy"), (sinks.find, "sink")])
def test_a_package_that_cannot_be_imported_or_shares_a_name_is_refused_in_words(
    packages: None, find: Callable[[str], Any], what: str
) -> None:
    said = {}
    for name in ("raises", "ends", "twice", "none"):
        with pytest.raises(SpecError) as raised:
            find(name)
        said[name] = str(raised.value)
    assert said["raises"] == f"{what} 'raises' (planted_raises:a) cannot be imported: RuntimeError: it ran"
    assert said["ends"] == f"{what} 'ends' (planted_ends:a) cannot be imported: SystemExit: 0"
    assert said["twice"] == (
        f"{what} 'twice' is registered by several packages: two (planted_ends:a), one (planted_raises:a); "
        "uninstall all but one"
    )
    assert said["none"].startswith(f"unknown {what} 'none'")
    assert {"raises", "ends", "twice"} <= installed.names(registry.GROUP)


def test_a_sink_named_by_its_module_that_cannot_be_imported_is_refused_in_words(packages: None) -> None:
    with pytest.raises(SpecError, match="sink 'planted_raises:a' cannot be loaded: RuntimeError: it ran"):
        sinks.find("planted_raises:a")
