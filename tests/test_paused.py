"""Models that wait: in memory, then in files, then forgotten."""

from __future__ import annotations

from pathlib import Path

import torch

from raysearch.fused.packed_state import ModelRow
from raysearch.fused.paused_models import Paused, Rested
from raysearch.fused.structure import Structure

KILO = 250  # parameters of a model of one kilobyte


def model(number: int) -> Rested:
    row = ModelRow(torch.full((KILO,), float(number)), {}, {})
    return Rested(row, number, 1, {"lr": 0.1}, Structure(("any",), ()), (), 0.5)


def here(paused: Paused, numbers: range) -> list[int]:
    found = [paused.get(n) for n in numbers]
    assert all(r is None or ((r.row.parameters == r.seed).all() and r.grown_s == 0.5) for r in found)
    return [r.seed for r in found if r is not None]


def test_what_memory_has_no_room_for_is_read_from_the_disk(tmp_path: Path) -> None:
    paused = Paused(tmp_path / "p", memory_bytes=3000)
    for number in range(8):
        paused.put(number, model(number))
    assert here(paused, range(8)) == [*range(8)]
    assert len([*(tmp_path / "p").iterdir()]) == 5


def test_beyond_both_quotas_the_oldest_are_forgotten(tmp_path: Path) -> None:
    paused = Paused(tmp_path / "p", memory_bytes=2000, disk_bytes=3000)
    for number in range(8):
        paused.put(number, model(number))
    assert here(paused, range(8)) == [3, 4, 5, 6, 7]
    assert len([*(tmp_path / "p").iterdir()]) == 3
    paused.clear()
    assert here(paused, range(8)) == []
    assert not (tmp_path / "p").exists()


def test_what_was_asked_for_lately_stays_in_memory(tmp_path: Path) -> None:
    paused = Paused(tmp_path / "p", memory_bytes=2000, disk_bytes=0)
    paused.put(0, model(0))
    paused.put(1, model(1))
    paused.get(0)
    paused.put(2, model(2))
    assert here(paused, range(3)) == [0, 2]


def test_a_torn_file_or_a_full_disk_is_a_model_that_is_not_here(tmp_path: Path) -> None:
    paused = Paused(tmp_path / "p", memory_bytes=0)
    for number in range(3):
        paused.put(number, model(number))
    torn = sorted((tmp_path / "p").iterdir())[0]
    torn.write_bytes(torn.read_bytes()[:50])
    assert here(paused, range(3)) == [1, 2]
    (tmp_path / "file").write_text("")
    full = Paused(tmp_path / "file" / "p", memory_bytes=0)
    full.put(0, model(0))
    full.put(1, model(1))
    assert here(full, range(2)) == [1]
