"""What is left of memory, read off the machine and off a container's limit."""

from __future__ import annotations

from pathlib import Path

import learners
import pytest
import torch
from test_pack import Group

from raysearch.fused import memory, pack


def machine(folder: Path, available_kb: int, limit: str | None, used: int = 0) -> tuple[Path, Path]:
    (folder / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:   {available_kb} kB\n")
    if limit is not None:
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
    return folder / "meminfo", folder


@pytest.mark.parametrize(
    ("available_kb", "limit", "used", "free"),
    [
        (100, None, 0, 102400),
        (100, "max", 5, 102400),
        (100, "50000", 20000, 30000),
        (10, "50000", 20000, 10240),
    ],
)
def test_the_tighter_of_machine_and_container_counts(
    available_kb: int,
    limit: str | None,
    used: int,
    free: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meminfo, group = machine(tmp_path, available_kb, limit, used)
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    monkeypatch.setattr(memory, "CGROUP", group)
    assert memory.free_bytes(torch.device("cpu")) == free


def test_where_nothing_is_said_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "a")
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "b")
    assert memory.free_bytes(torch.device("cpu")) is None


def test_a_pack_takes_no_more_models_than_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group(learners.Perceptron, learners.CONFIG)
    for seed in range(16):
        group.join(learners.CONFIG, seed)
    monkeypatch.setattr(pack, "free_bytes", lambda device: 1000)
    assert not group.pack.fits(32)
    with pytest.raises(MemoryError, match="no memory for more than 16 models"):
        group.join(learners.CONFIG, 16)
    monkeypatch.setattr(pack, "free_bytes", lambda device: 1 << 40)
    assert group.pack.fits(32)
    group.join(learners.CONFIG, 16)
    assert len(group.pack) == 17


@pytest.mark.parametrize(("share", "free"), [(1.0, 50), (0.5, 20)])
def test_of_a_gpu_what_is_kept_and_unused_is_free_up_to_the_share(
    share: float, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = torch.device("cuda", 0)
    said = {
        "mem_get_info": (40, 100),
        "memory_reserved": 40,
        "memory_allocated": 30,
        "get_per_process_memory_fraction": share,
    }
    for name, value in said.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert memory.free_bytes(gpu) == free
