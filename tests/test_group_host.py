"""GroupHost: several processes train a segment as one, and as they would under torchrun."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ranks

from raysearch.core.segment import Cause, Segment, Status, segment_id
from raysearch.engine.messages import Lease
from raysearch.storage.checkpoints.meta import read_meta
from raysearch.worker.group.host import GroupHost
from raysearch.worker.group.local import LocalRanks
from raysearch.worker.job import Job
from raysearch.worker.reports import Trained
from raysearch.worker.shipping import ship

Make = Callable[..., GroupHost]
LR = 0.05


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Groups of two ranks, one for each trainable and set of options; they end with the file's tests."""
    made: dict[str, GroupHost] = {}

    def factory(trainable: Any, **options: Any) -> GroupHost:
        key = f"{trainable.__name__} {options}"
        if key not in made:
            run = tmp_path_factory.mktemp("run")
            job = Job(str(run), ship(trainable), "loss", "min", processes=2, **options)
            made[key] = GroupHost(job, LocalRanks(2, 1), run / "scratch", None, frozen_s=5.0)
        return made[key]

    yield factory
    for host in made.values():
        host.drop()


def path(*stops: int, trial: int = 0, **config: Any) -> list[Segment]:
    """A trial's segments from 0 to each stop."""
    config = {"lr": LR, **config}
    segments: list[Segment] = []
    for stop in stops:
        parent = segments[-1] if segments else None
        number = segment_id(trial, len(segments))
        start = parent.stop if parent else 0
        segments.append(Segment(number, trial, parent.id if parent else None, config, start, stop, 7, "test"))
    return segments


def train(host: GroupHost, segment: Segment, checkpoint: Path | None = None) -> Trained:
    name = str(checkpoint) if checkpoint else None
    lease = Lease(segment, name, segment.parent if checkpoint else None)
    return host.train(lease, checkpoint, lambda iteration: 0)


def saved(host: GroupHost, folder: Path) -> Path:
    folder.mkdir(parents=True)
    assert host.save(folder)
    return folder


@pytest.fixture(scope="module")
def torchrun() -> list[float]:
    """The losses of six epochs under torchrun with two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, ranks.__file__, str(LR), "6"], capture_output=True, text=True, check=True
    )
    losses: list[float] = json.loads(done.stdout.splitlines()[-1])
    return losses


@pytest.mark.parametrize("trainable", [ranks.Ddp, ranks.function])
def test_cut_into_segments_it_is_what_it_is_under_torchrun(
    make: Make, torchrun: list[float], tmp_path: Path, trainable: Any
) -> None:
    host = make(trainable)
    first, second, third = path(1, 4, 6)
    losses = list(train(host, first).curve["loss"])
    folder = saved(host, tmp_path / "first")
    pids = host.pids
    losses += train(host, second).curve["loss"]  # goes on live
    kept = saved(host, tmp_path / "second")
    (other,) = path(2, trial=1, lr=0.01)
    assert train(host, other).status is Status.COMPLETED
    losses += train(host, third, kept).curve["loss"]
    assert losses == pytest.approx(torchrun, abs=1e-6)
    again = train(host, second, folder).curve["loss"]
    assert again == pytest.approx(torchrun[1:4], abs=1e-6)
    assert host.pids == pids, "processes were started anew"


def test_what_ranks_write_alike_lies_there_once_and_what_differs_is_each_ones_own(
    make: Make, tmp_path: Path
) -> None:
    host = make(ranks.Ddp)
    (first,) = path(1)
    train(host, first)
    folder = saved(host, tmp_path / "kept")
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    assert files == [".raysearch.json", ".raysearch.ranks/1/rank", "net.pt", "rank"]


def test_all_ranks_stop_after_the_iteration_in_which_the_worker_has_to_go(make: Make, tmp_path: Path) -> None:
    from raysearch.engine.messages import Going

    host = make(ranks.Ddp)
    (whole,) = path(4)
    expected = train(host, whole).curve
    paused = host.train(Lease(whole), None, lambda at: Going.PAUSE if at == 2 else Going.ON)
    assert paused.paused
    assert len(paused.curve["loss"]) == 2
    folder = tmp_path / "midway"
    folder.mkdir()
    assert host.save(folder, midway=True)
    begun = Lease(whole, "midway", None, begun=paused.curve)
    rest = host.train(begun, folder, lambda at: 0)
    assert rest.curve["loss"] == expected["loss"]
    assert rest.curve["draw"] == expected["draw"]


def test_a_loop_function_of_ray_train_trains_as_it_is(make: Make, tmp_path: Path) -> None:
    host = make(ranks.function)
    first, second = path(2, 4, kind="loop")
    begun = train(host, first)
    assert begun.status is Status.COMPLETED, begun.error
    assert begun.curve["size"] == [2.0, 2.0]
    assert begun.curve["seen"] == [ranks.ROWS / 8 / 2] * 2
    kept = saved(host, tmp_path / "kept")
    live = train(host, second)
    again = train(host, second, kept)
    assert again.curve == live.curve
    assert len(live.curve["loss"]) == 2


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ("raise", Status.FAILED, "rank 1: ValueError: not on this rank"),
        (
            "return",
            Status.FAILED,
            "rank 0 made report 2, and rank 1 ended after 1 reports: every rank has to",
        ),
        ("nan", Status.DIVERGED, "rank 1: loss was nan at iteration 2"),
        ("bare", Status.COMPLETED, ""),
        ("kill", Status.LOST, "the process of rank 1 died"),
        ("freeze", Status.LOST, "rank 1 gave no sign of life for 5 s"),
    ],
)
def test_what_goes_wrong_on_one_rank_ends_the_segment_on_all_and_the_next_one_trains(
    make: Make, fault: str, status: Status, text: str
) -> None:
    host = make(ranks.function)
    (segment,) = path(3, fault=fault, length=3, alone=fault == "return")
    ended = train(host, segment)
    assert ended.status is status, ended.error
    assert text in ended.error
    if status is Status.LOST:
        assert ended.cause is (Cause.PROCESS_DIED if fault == "kill" else Cause.UNREACHABLE)
    (sound,) = path(2, trial=1)
    assert train(host, sound).status is Status.COMPLETED


@pytest.mark.parametrize("trainable", [ranks.Ddp, ranks.function])
def test_a_configuration_that_changes_on_the_way_is_changed_on_all_ranks(
    make: Make, tmp_path: Path, trainable: Any
) -> None:
    host = make(trainable)
    first, second = path(2, 4)
    changed = replace(second, config={"lr": 0.01})
    train(host, first)
    kept = saved(host, tmp_path / "kept")
    expected = train(host, changed, kept).curve
    again = saved(host, tmp_path / "again")  # of an iteration that came after a restore
    assert read_meta(again)["iteration"] == 4
    grown = host.train(Lease(changed, None, None, (first,)), None, lambda iteration: 0)
    assert grown.status is Status.COMPLETED, grown.error
    assert grown.curve["loss"] == expected["loss"]
