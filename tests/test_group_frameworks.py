"""Frameworks' own DDP inside a worker of several processes: what it trains is what torchrun would train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ranks
from test_group_host import path, saved, train

from raysearch.core.segment import Status
from raysearch.examples.fsdp_transformer import FsdpTransformer
from raysearch.worker.group.host import GroupHost
from raysearch.worker.group.local import LocalRanks
from raysearch.worker.job import Job
from raysearch.worker.shipping import ship

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize(
    ("trainable", "metric", "file"),
    [(ranks.lightning, "val_loss", "lightning.ckpt"), (ranks.huggingface, "eval_loss", "trainer_state.json")],
)
def test_a_trainer_with_ddp_goes_on_from_its_checkpoint_as_if_it_had_not_been_cut(
    tmp_path: Path, trainable: Any, metric: str, file: str
) -> None:
    constants = {"root": str(tmp_path / "mine")}
    job = Job(str(tmp_path), ship(trainable), metric, "min", constants, processes=2, length=4)
    host = GroupHost(job, LocalRanks(2, 1), tmp_path / "scratch", None)
    try:
        first, second = path(2, 4)
        assert train(host, first).status is Status.COMPLETED
        kept = saved(host, tmp_path / "kept")
        assert (kept / file).is_file()
        live = train(host, second)
        again = train(host, second, kept)
    finally:
        host.drop()
    assert live.status is Status.COMPLETED, live.error
    assert len(live.curve[metric]) == 2
    assert again.curve[metric] == pytest.approx(live.curve[metric], abs=1e-6)


def test_shards_that_two_processes_wrote_are_gone_on_with_by_one(tmp_path: Path) -> None:
    constants = {"weight_decay": 0.01, "width": 32, "layers": 1, "dropout": 0.0, "seed": 1}
    found, kept = {}, tmp_path / "kept"
    first, second = path(1, 2, lr=0.003)
    for processes in (2, 1):
        job = Job(str(tmp_path), ship(FsdpTransformer), "val_loss", "min", constants, processes=processes)
        host = GroupHost(job, LocalRanks(processes, 1), tmp_path / str(processes), None)
        try:
            if not kept.exists():
                assert train(host, first).status is Status.COMPLETED
                saved(host, kept)
            found[processes] = train(host, second, kept)
        finally:
            host.drop()
    assert len([*kept.glob("*.distcp")]) == 2
    assert found[1].curve["val_loss"] == pytest.approx(found[2].curve["val_loss"], abs=1e-3)
    assert {held.least for values in found[1].held.values() for held in values} >= {0.003}
    assert all(held.least > 0 for values in found[1].held.values() for held in values)
