"""Loop: batches by the length of segments, and checkpoints only where they pay."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest
from scripted import segment
from waiting import PATIENCE_S

from raysearch.core.segment import Segment, Status
from raysearch.engine.messages import Lease, Reply, Turn
from raysearch.errors import CheckpointError
from raysearch.storage.checkpoints.local import Checkpoints
from raysearch.worker.host import Progress, Trained
from raysearch.worker.job import Job
from raysearch.worker.loop import BATCH_MAX, Loop
from raysearch.worker.shipping import ship

JOB = Job(run="", trainable=ship(list), metric="loss", mode="min")


class Played:
    """A host that takes no time and says how long growing again would take."""

    def __init__(self, grown_s: float = 100.0) -> None:
        self.grown_s = grown_s
        self.result: Callable[[Segment], Trained] = self._completed
        self.saves: list[Path] = []
        self.full = False

    def _completed(self, of: Segment) -> Trained:
        return Trained(Status.COMPLETED, {"loss": [1.0 + of.trial]}, grown_s=self.grown_s)

    def train(self, lease: Lease, checkpoint: Path | None, progress: Progress) -> Trained:
        return self.result(lease.segment)

    def save(self, folder: Path, midway: bool = False) -> bool:
        if self.full:
            raise OSError(28, "No space left on device")
        (folder / "state").write_text("x")
        self.saves.append(folder)
        return True

    def drop(self) -> None: ...


class Ready:
    """An answer that is there at once."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    def get(self) -> Reply:
        return self.reply


class Tap:
    """A link that gives as many segments as are wanted, up to a number, and then says stop."""

    def __init__(self, count: int, bars: dict[int, float] | None = None, keep: bool = True) -> None:
        self.todo = deque(segment(t) for t in range(count))
        self.turns: list[Turn] = []
        self.bars, self.keep = bars or {}, keep

    def send(self, turn: Turn) -> Ready:
        self.turns.append(turn)
        taken = self.first or tuple(Lease(self.todo.popleft()) for _ in range(min(turn.want, len(self.todo))))
        self.first = ()
        held = {o.segment.id for t in self.turns for o in t.outcomes}
        stop = not taken and not turn.holding and len(held) == self.given
        self.given += len(taken)
        return Ready(Reply(taken, stop=stop, keep=self.keep, bars=dict(self.bars)))

    given = 0
    first: tuple[Lease, ...] = ()


def run(tap: Tap, host: Played, tmp_path: Path) -> Loop:
    loop = Loop(JOB, "w", host, Checkpoints(tmp_path / "checkpoints"), tap)
    assert loop.run(time.monotonic() + PATIENCE_S)
    return loop


def test_every_lease_comes_back_as_one_outcome(tmp_path: Path) -> None:
    tap = Tap(1000)
    loop = run(tap, Played(grown_s=0.0), tmp_path)
    trials = [o.segment.trial for turn in tap.turns for o in turn.outcomes]
    assert sorted(trials) == list(range(1000))
    assert loop.segments == 1000


def test_short_segments_come_by_the_hundred_and_the_first_alone(tmp_path: Path) -> None:
    tap = Tap(2000, bars={1: -math.inf})
    run(tap, Played(grown_s=0.0), tmp_path)
    wants = [turn.want for turn in tap.turns]
    assert wants[0] == 1
    assert BATCH_MAX // 2 <= max(wants) <= BATCH_MAX
    assert len(tap.turns) < 60


def test_a_checkpoint_that_is_cheaper_to_grow_again_is_not_written(tmp_path: Path) -> None:
    host = Played(grown_s=0.0)
    run(Tap(50, bars={1: -math.inf}), host, tmp_path)
    assert len(host.saves) == 1  # the first, which measures what a save costs
    dear = Played(grown_s=100.0)
    run(Tap(50, bars={1: -math.inf}), dear, tmp_path)
    assert len(dear.saves) == 50


def test_what_is_among_the_best_of_its_rung_is_saved_however_cheap(tmp_path: Path) -> None:
    host = Played(grown_s=0.0)
    host.result = lambda of: Trained(Status.COMPLETED, {"loss": [abs(of.trial - 30.0)]})
    tap = Tap(50, bars={1: 3.0})
    run(tap, host, tmp_path)
    saved = [o.segment.trial for t in tap.turns for o in t.outcomes if o.checkpoint]
    assert set(saved) == {0, *range(27, 34)}


def test_over_the_quota_only_the_best_is_saved(tmp_path: Path) -> None:
    host = Played()
    run(Tap(50, bars={1: 0.5}, keep=False), host, tmp_path)
    assert host.saves == []


def test_a_full_disk_costs_the_checkpoint_and_not_the_outcome(tmp_path: Path) -> None:
    host, tap = Played(), Tap(3)
    host.full = True
    run(tap, host, tmp_path)
    outcomes = [o for t in tap.turns for o in t.outcomes]
    assert {o.status for o in outcomes} == {Status.COMPLETED}
    assert {o.checkpoint for o in outcomes} == {None}
    assert {o.error for o in outcomes} == {
        "checkpoint not written: OSError: [Errno 28] No space left on device"
    }
    assert not any((tmp_path / "checkpoints" / "tmp").iterdir())


def test_a_checkpoint_that_cannot_be_loaded_is_told_by_name_and_its_segment_is_lost(tmp_path: Path) -> None:
    class Refusing(Played):
        def train(self, lease: Lease, checkpoint: Path | None, progress: Progress) -> Trained:
            raise CheckpointError("EOFError: torn")

    child = segment(0, 1, parent=segment(0).id, start=1, stop=3)
    for host in (Refusing(), Played()):  # the second finds no such folder at all
        tap = Tap(0)
        tap.first = (Lease(child, "0.0-abcd", segment(0).id),)
        run(tap, host, tmp_path)
        [(name, origin, cause)] = [u for turn in tap.turns for u in turn.unreadable]
        assert (name, origin) == ("0.0-abcd", segment(0).id)
        assert cause == "EOFError: torn" or "there is no checkpoint '0.0-abcd'" in cause
        [outcome] = [o for turn in tap.turns for o in turn.outcomes]
        assert outcome.status is Status.LOST
        assert outcome.error == f"checkpoint 0.0-abcd could not be loaded: {cause}"


def test_what_was_finished_when_the_search_is_stopped_is_handed_in(tmp_path: Path) -> None:
    tap, host = Tap(10), Played()
    loop = Loop(JOB, "w", host, Checkpoints(tmp_path / "checkpoints"), tap)

    def interrupted_at_its_end(of: Segment) -> Trained:
        loop.abort = True
        return Trained(Status.COMPLETED, {"loss": [1.0]})

    host.result = interrupted_at_its_end
    assert loop.run(time.monotonic() + PATIENCE_S)
    assert [o.segment.trial for turn in tap.turns for o in turn.outcomes] == [0]


def test_told_to_abort_the_loop_ends_and_hands_in_nothing_half_done(tmp_path: Path) -> None:
    tap = Tap(1000)
    host = Played()
    loop = Loop(JOB, "w", host, Checkpoints(tmp_path / "checkpoints"), tap)

    def third(of: Segment) -> Trained:
        loop.abort = of.trial >= 3
        return Trained(Status.COMPLETED, {"loss": [1.0]})

    host.result = third
    assert loop.run(time.monotonic() + PATIENCE_S)
    assert len(host.saves) <= 6


@pytest.mark.parametrize("seconds", [0.001, 1.0])
def test_the_loop_returns_when_its_time_is_up_and_keeps_its_leases(tmp_path: Path, seconds: float) -> None:
    tap = Tap(10)
    loop = Loop(JOB, "w", Played(), Checkpoints(tmp_path / "checkpoints"), tap)
    assert not loop.run(time.monotonic() - seconds)
    assert [lease.segment.trial for lease in loop.held()] == [0]
    assert loop.run(time.monotonic() + PATIENCE_S)
    assert loop.segments == 10
