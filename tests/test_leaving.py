"""Workers that go with their node or are told to: nobody is blamed, and what they began goes on."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trainables
from scripted import Scripted, completed, segment
from test_engine import Log, Store, failed, ids, make
from waiting import PATIENCE_S

from raysearch.core.segment import Cause, Outcome, Segment, Status
from raysearch.engine.faults import GIVE_UP_AFTER, LEFT_LIMIT, LOSS_LIMIT, Loss
from raysearch.engine.limits import Limits
from raysearch.engine.memory_retry import Growth
from raysearch.engine.messages import MEMORY_KILL, Going, Lease, Reply, Turn
from raysearch.engine.search import Search
from raysearch.errors import CheckpointError
from raysearch.storage.checkpoints.local import Checkpoints
from raysearch.storage.paths import CHECKPOINT_RANDOM
from raysearch.worker.host import Aborted, Host
from raysearch.worker.isolated_host import IsolatedHost
from raysearch.worker.job import Job
from raysearch.worker.loop import Loop
from raysearch.worker.preemption import ON_SIGTERM, Notice
from raysearch.worker.shipping import ship

LONG = Segment(0, 0, None, {"rate": 0.5}, 0, 6, 7, "for a test")


def begun(at: int, checkpoint: str = "0.0-half", of: Segment = LONG) -> Outcome:
    return Outcome(of, Status.LOST, {"loss": [0.5] * (at - of.start)}, checkpoint, error="had to go")


# ---- the search


def test_a_worker_that_leaves_is_blamed_for_nothing_however_often() -> None:
    search, strategy, log, _ = make(segment(0), segment(1))
    for life in range(LOSS_LIMIT + 2):
        search.attendance.hello(f"w{life}", 0.0)
        assert sorted(ids(search, f"w{life}")) == [0, segment(1).id]
        search.beat(f"w{life}", 0, 0, 1.0)
        search.commit(search.attendance.leave(f"w{life}", 2.0, "left with its node"))
    assert search.warnings == {f"w{life} left with its node": 1 for life in range(LOSS_LIMIT + 2)}
    assert [o.status for o in log.rows] == [Status.LOST] * (LOSS_LIMIT + 2)
    assert log.rows[0].error == "its worker left with its node"
    assert len(search.workers) == 0
    lease = search.lease("next", 9, 3.0).leases
    assert not any(each.alone for each in lease)
    assert not strategy.finished


def test_a_segment_whose_workers_go_each_time_with_nothing_saved_fails_in_words() -> None:
    """As one whose trainable sends SIGTERM to its own process; a checkpoint on the way is a gain."""
    gone = Outcome(LONG, Status.LOST, error="its worker had to go", cause=Cause.LEFT)
    search, strategy, log, _ = make(LONG)
    for life in range(LEFT_LIMIT - 1):
        search.lease("w", 1, float(life))
        search.commit(search.accept("w", [gone], float(life)))
    search.lease("w", 1, 50.0)
    search.commit(search.accept("w", [dataclasses.replace(begun(2), cause=Cause.LEFT)], 50.0))
    for life in range(LEFT_LIMIT):
        assert {told.status for told in strategy.told} == {Status.LOST}
        search.lease("w", 1, 100.0 + life)
        search.commit(search.accept("w", [gone], 100.0 + life))
    told = strategy.told[-1]
    assert (told.status, told.cause, told.curve) == (Status.FAILED, Cause.LEFT, {})
    assert "sends SIGTERM to its own process" in told.error
    assert [o.status for o in log.rows] == [*[Status.LOST] * (2 * LEFT_LIMIT - 1), Status.FAILED]


def test_nodes_that_come_and_go_before_anything_is_finished_end_no_search() -> None:
    search, _, _, _ = make(segment(0))
    for life in range(3 * GIVE_UP_AFTER):
        search.commit(search.attendance.hello("w", float(life)))
        search.lease("w", 1, float(life))
        search.commit(search.attendance.leave("w", float(life), "left with its node"))
    assert search.lifetime.failed == ""


def test_a_death_passed_over_counts_when_the_node_turns_out_to_live() -> None:
    search, _, _, _ = make(segment(0), segment(1))
    ids(search)
    search.beat("w", 0, 0, 0.0)
    search.commit(search.attendance.lose("w", 1.0, Loss("its worker cannot be reached", blame=False)))
    assert not search.states.is_suspect(0)
    search.attendance.blame([0, segment(1).id], 0)
    assert search.states.is_suspect(0)
    assert not search.states.is_suspect(segment(1).id)


def test_what_was_begun_goes_on_with_whoever_gets_it_and_its_checkpoint_goes_with_its_end() -> None:
    search, _, _, store = make(LONG)
    search.lease("v", 1, 0.0)
    search.commit(search.accept("v", [begun(4)], 1.0))
    [lease] = search.lease("w", 1, 2.0).leases
    assert lease == Lease(LONG, "0.0-half", LONG.id, begun={"loss": [0.5] * 4})
    search.commit(search.accept("w", [completed(LONG, checkpoint="0.0-end")], 3.0))
    search.register.collect({LONG.id})
    assert search.register.checkpoints() == {"0.0-end"}
    search.queue.put([])
    assert "0.0-half" not in store.deleted or store.deleted == {"0.0-half"}


def test_a_checkpoint_in_the_midst_survives_collections_and_a_resume_and_is_deleted_once_spent() -> None:
    search, _, log, store = make(LONG)
    search.lease("v", 1, 0.0)
    search.commit(search.accept("v", [begun(2)], 1.0))
    search.lease("v", 1, 1.0)
    search.commit(search.accept("v", [begun(4, "0.0-more")], 2.0))
    search.collect()
    assert store.deleted == {"0.0-half"}
    again = Search(Scripted([LONG]), metric="loss", mode="min", journal=log, checkpoints=store)
    again.replay(log.rows)
    assert again.register.checkpoints() == {"0.0-more"}
    [lease] = again.lease("w", 1, 3.0).leases
    assert (lease.checkpoint, lease.begun) == ("0.0-more", {"loss": [0.5] * 4})
    again.commit(again.accept("w", [completed(LONG)], 4.0))
    again.collect()
    assert store.deleted == {"0.0-half", "0.0-more"}


def test_a_checkpoint_in_the_midst_that_cannot_be_read_is_given_up() -> None:
    search, _, _, _ = make(LONG)
    search.lease("v", 1, 0.0)
    search.commit(search.accept("v", [begun(4)], 1.0))
    [lease] = search.lease("w", 1, 2.0).leases
    assert lease.checkpoint is not None
    assert lease.origin is not None
    search.checkpoint_lost(lease.checkpoint, lease.origin, "torn")
    search.commit(search.accept("w", [Outcome(LONG, Status.LOST, error="torn")], 2.5))
    assert search.lease("w", 1, 3.0).leases == (Lease(LONG),)


def test_what_was_begun_of_another_segment_is_not_gone_on_with() -> None:
    search, _, _, _ = make(LONG)
    search.lease("v", 1, 0.0)
    search.commit(search.accept("v", [begun(4)], 1.0))
    other = Segment(0, 0, None, {"rate": 0.7}, 0, 6, 7, "another configuration")
    shorter = Segment(0, 0, None, {"rate": 0.5}, 0, 4, 7, "ends where the other stood")
    assert search.register.route(other) == Lease(other)
    assert search.register.route(shorter) == Lease(shorter)


def test_a_late_word_from_a_worker_whose_segment_another_one_trains_changes_nothing() -> None:
    search, _, log, store = make(LONG)
    search.lease("v", 1, 0.0)
    search.commit(search.attendance.lose("v", 1.0, Loss("silent")))
    search.lease("w", 1, 2.0)
    assert search.accept("v", [begun(4)], 3.0) == []
    assert search.leases.holder(LONG.id) == "w"
    assert store.deleted == {"0.0-half"}
    assert len(log.rows) == 1


def test_a_retired_worker_hands_in_what_it_holds_and_is_then_told_to_stop() -> None:
    search, _, _, _ = make(segment(0), segment(1))
    assert ids(search, "v", 1) == [0]
    search.attendance.retire(["v", "unknown"])
    assert search.lease("v", 1, 1.0, holding=[0]) == Reply()
    assert search.exchange("v", [completed(segment(0))], 1, 2.0).stop
    assert "v" not in search.workers
    assert not search.beat("v", None, 0, 3.0)
    assert ids(search, "w") == [segment(1).id]


def test_nothing_is_trained_before_as_many_workers_have_come_as_there_must_be() -> None:
    search, _, _, _ = make(segment(0), least_workers=2)
    search.attendance.hello("v", 0.0)
    assert search.lease("v", 1, 0.0) == Reply()
    search.attendance.hello("w", 1.0)
    assert ids(search, "v") == [0]
    search.commit(search.attendance.leave("w", 2.0, "left with its node"))
    assert search.lease("v", 1, 3.0, holding=[0]).leases == ()
    search.exchange("v", [completed(segment(0))], 1, 4.0)
    assert search.lifetime.over


# ---- memory


def grown(*segments: Segment, words: tuple[str, ...] = ("1 GPU", "2 GPU")) -> tuple[Search, Log]:
    log = Log()
    growth = Growth(words, f"the next share is more than any node has: the most is {words[-1]}")
    made = Search(
        Scripted(segments), metric="loss", mode="min", journal=log, checkpoints=Store(),
        limits=Limits(retries=0), growth=growth,
    )  # fmt: skip
    return made, log


def out_of_memory(of: Segment, error: str = "MemoryError: ") -> Outcome:
    return failed(of, error, Cause.OUT_OF_MEMORY)


@pytest.mark.parametrize(
    "error",
    [
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: CUDA error: out of memory",
        "MemoryError: ",
        "RuntimeError: [enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes",
        "TrainingFailedError: torch.OutOfMemoryError: CUDA out of memory",
    ],
)
def test_a_trial_that_ran_out_of_memory_is_tried_again_by_a_bigger_worker_only(error: str) -> None:
    search, log = grown(segment(0), segment(1))
    search.attendance.hello("small", 0.0)
    search.attendance.hello("big", 0.0, level=1)
    ids(search, "small")
    search.exchange("small", [out_of_memory(segment(0), error)], 1, 1.0, [segment(1).id])
    assert log.rows[-1].status is Status.LOST
    assert log.rows[-1].error == f"out of memory with 1 GPU, tried again with 2 GPU: {error}"
    assert search.handout.work() == {0: 1, 1: 1}
    assert ids(search, "small", holding=[segment(1).id]) == []
    assert ids(search, "big") == [0]


def test_where_no_node_has_more_the_trial_fails_and_says_so() -> None:
    search, log = grown(segment(0), words=("2 GPU",))
    ids(search)
    search.exchange("w", [out_of_memory(segment(0))], 1, 1.0)
    assert log.rows[-1].status is Status.FAILED
    assert log.rows[-1].error == (
        "out of memory with 2 GPU, and the next share is more than any node has: the most is 2 GPU: "
        "MemoryError: "
    )


def test_other_errors_and_searches_without_on_oom_are_as_ever() -> None:
    search, log = grown(segment(0))
    ids(search)
    search.exchange("w", [failed(segment(0), "ValueError: CUDA out of memory")], 1, 1.0)
    assert (log.rows[-1].status, log.rows[-1].error) == (Status.FAILED, "ValueError: CUDA out of memory")
    plain, _, rows, _ = make(segment(0), retries=0)
    ids(plain)
    plain.exchange("w", [out_of_memory(segment(0))], 1, 1.0)
    assert (rows.rows[-1].status, rows.rows[-1].error) == (Status.FAILED, "MemoryError: ")


def test_a_resumed_search_remembers_who_needs_more_and_forks_of_it_do_too() -> None:
    search, log = grown(segment(0))
    ids(search)
    search.exchange("w", [out_of_memory(segment(0))], 0, 1.0)
    fork = segment(5, parent=0, start=1, stop=2)
    again, _ = grown(segment(0), fork)
    again.replay(log.rows)
    assert again.growth.level_of(segment(0)) == again.growth.level_of(fork) == 1
    assert again.growth.level_of(segment(1)) == 0


def test_a_worker_that_rays_memory_monitor_ended_counts_as_out_of_memory() -> None:
    search, log = grown(segment(0))
    ids(search)
    search.beat("w", 0, 0, 0.5)
    search.commit(search.attendance.lose("w", 1.0, Loss(MEMORY_KILL, Cause.MEMORY_KILL)))
    assert log.rows[-1].error == f"out of memory with 1 GPU, tried again with 2 GPU: {MEMORY_KILL}"
    assert search.growth.levels == {0: 1}


# ---- in the midst of a segment


def pausing(at: int) -> Callable[[int], Going]:
    return lambda iteration: Going.PAUSE if iteration == at else Going.ON


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    made: list[Any] = []

    def build(trainable: Any, isolate: bool = False) -> Any:
        scratch = tmp_path / f"scratch{len(made)}"
        for earlier in made:
            earlier.drop()
        if isolate:
            job = Job("", ship(trainable), "loss", "min", isolate=True)
            made.append(IsolatedHost(job, scratch, None))
        else:
            made.append(Host(trainable, metric="loss", scratch=scratch))
        return made[-1]

    yield build
    for each in made:
        each.drop()


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("trainable", [trainables.Walk, trainables.Fresh, trainables.walk])
def test_a_segment_in_two_parts_gives_the_numbers_of_one_in_one(
    host: Any, trainable: Any, isolate: bool, tmp_path: Path
) -> None:
    whole = host(trainable, isolate).train(Lease(LONG), None, lambda i: Going.ON)
    first = host(trainable, isolate)
    part = first.train(Lease(LONG), None, pausing(4))
    assert part.paused
    assert part.status is Status.LOST
    assert part.curve["steps"] == [1.0, 2.0, 3.0, 4.0]
    half = tmp_path / "half"
    half.mkdir()
    assert first.save(half, midway=True)
    second = host(trainable, isolate)
    lease = Lease(LONG, "half", LONG.id, begun=part.curve)
    rest = second.train(lease, half, lambda i: Going.ON)
    assert rest.status is Status.COMPLETED
    assert rest.curve == whole.curve


def test_a_function_goes_on_from_its_last_checkpoint_and_the_curve_is_cut_there(
    host: Any, tmp_path: Path
) -> None:
    def seldom(config: dict[str, Any]) -> None:
        trainables.walk({**config, "every": 3})

    whole = host(seldom).train(Lease(LONG), None, lambda i: Going.ON)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    loop = Loop(Job("", ship(seldom), "loss", "min"), "w", host(seldom), checkpoints, Once(LONG))
    loop._progress = lambda i: setattr(loop, "leaving", ON_SIGTERM) or Going.PAUSE if i == 5 else Going.ON  # type: ignore[method-assign,func-returns-value]
    assert loop.run(time.monotonic() + PATIENCE_S)
    [outcome] = loop._link.turns[-1].outcomes  # type: ignore[attr-defined]
    assert outcome.error == f"its worker {ON_SIGTERM}; it goes on from iteration 3 of 6"
    assert outcome.curve["steps"] == [1.0, 2.0, 3.0]
    lease = Lease(LONG, outcome.checkpoint, LONG.id, begun=outcome.curve)
    rest = host(seldom).train(lease, checkpoints.path(outcome.checkpoint or ""), lambda i: Going.ON)
    assert rest.curve == whole.curve


def test_a_pause_before_the_segments_own_first_iteration_is_an_interruption(host: Any) -> None:
    first = Segment(0, 0, None, {"rate": 0.5}, 0, 3, 7, "for a test")
    second = Segment(1, 0, 0, {"rate": 0.5}, 3, 6, 7, "for a test")
    with pytest.raises(Aborted):
        host(trainables.Walk).train(Lease(second, chain=(first,)), None, pausing(2))


def test_torn_random_generators_make_a_checkpoint_unreadable(host: Any, tmp_path: Path) -> None:
    first = host(trainables.Walk)
    part = first.train(Lease(LONG), None, pausing(4))
    assert first.save(tmp_path, midway=True)
    (tmp_path / CHECKPOINT_RANDOM).write_bytes(b"torn")
    lease = Lease(LONG, "half", LONG.id, begun=part.curve)
    with pytest.raises(CheckpointError, match="the random generators"):
        host(trainables.Walk).train(lease, tmp_path, lambda i: Going.ON)


class Once:
    """A link that gives one lease, and takes everything."""

    def __init__(self, segment: Segment) -> None:
        self.leases: tuple[Lease, ...] = (Lease(segment),)
        self.turns: list[Turn] = []

    def send(self, turn: Turn) -> Once:
        self.turns.append(turn)
        return self

    def ready(self) -> bool:
        return True

    def get(self) -> Reply:
        leases, self.leases = self.leases, ()
        return Reply(leases)


def test_a_loop_told_to_leave_says_so_with_what_it_began_and_takes_nothing_more(
    host: Any, tmp_path: Path
) -> None:
    class Told(trainables.Walk):
        def step(self) -> dict[str, Any]:
            if self.steps == 3:
                loop.leaving = ON_SIGTERM
            return super().step()

    link = Once(LONG)
    loop = Loop(Job("", ship(trainables.Walk), "loss", "min"), "w", host(Told), Checkpoints(tmp_path), link)
    assert loop.run(time.monotonic() + PATIENCE_S)
    last = link.turns[-1]
    assert (last.leaving, last.want, last.holding) == (ON_SIGTERM, 0, ())
    assert [o.reached for o in last.outcomes] == [4]
    assert loop.held() == ()


class Leaving:
    leaving = ""


def test_sigterm_is_a_notice_and_only_the_first_counts() -> None:
    loop, before = Leaving(), signal.getsignal(signal.SIGTERM)
    try:
        notice = Notice(loop, 3600.0, lambda why: None)
        os.kill(os.getpid(), signal.SIGTERM)
        assert loop.leaving == ON_SIGTERM
        notice.take("left its node, which is being drained")
        assert loop.leaving == ON_SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_worker_whose_iteration_does_not_end_in_time_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    before, said, gone = signal.getsignal(signal.SIGTERM), [], threading.Event()
    monkeypatch.setattr(os, "_exit", lambda code: gone.set())
    try:
        Notice(Leaving(), 0.05, said.append).take(ON_SIGTERM)
        assert gone.wait(PATIENCE_S)
        assert said == [f"{ON_SIGTERM}, and its iteration did not end within 0.05 s"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_a_worker_had_that_died_together_with_the_search_is_lost_with_the_right_cause() -> None:
    growth = Growth(("1 CPU", "2 CPU"), "no node has more")
    strategy, log = Scripted([segment(i) for i in range(4)]), Log()
    search = Search(strategy, metric="loss", mode="min", journal=log, growth=growth)
    search.attendance.adopt("v", [Lease(segment(0))], 0.0)
    search.commit(search.lose_forgotten("w", segment(2).id, 1.0, Loss(MEMORY_KILL, Cause.MEMORY_KILL)))
    [lost] = log.rows
    assert (lost.segment, lost.status, lost.worker) == (segment(2), Status.LOST, "w")
    assert lost.error == f"out of memory with 1 CPU, tried again with 2 CPU: {MEMORY_KILL}"
    assert [*search.workers] == ["v"]
    assert ids(search, "small", 9, 1.0) == [segment(1).id, segment(3).id]
    for done in (segment(0), segment(5)):  # held by somebody; never asked for
        assert search.lose_forgotten("w", done.id, 2.0, Loss(MEMORY_KILL, Cause.MEMORY_KILL)) == []


def test_a_segment_that_ends_its_worker_and_the_search_again_and_again_fails_in_the_end() -> None:
    log = Log()
    for life in range(LOSS_LIMIT):
        search = Search(Scripted([segment(0), segment(1)]), metric="loss", mode="min", journal=log)
        search.replay(log.rows)
        search.commit(search.lose_forgotten("w", 0, float(life), Loss(MEMORY_KILL, Cause.MEMORY_KILL)))
    assert [o.status for o in log.rows] == [Status.LOST] * (LOSS_LIMIT - 1) + [Status.FAILED]
    assert log.rows[-1].error == f"{MEMORY_KILL}, {LOSS_LIMIT} times: this segment kills its worker"
