"""The coordinator without a cluster: nobody is left waiting, and the right process is replaced."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle
from waiting import PATIENCE_S

import raysearch
from raysearch.core.segment import Cause, Outcome, Status
from raysearch.engine.messages import Death, Dismissal, Turn
from raysearch.engine.workers import Overdue
from raysearch.errors import JournalError
from raysearch.executors.tune import coordinator as module
from raysearch.executors.tune import node_watch
from raysearch.executors.tune.coordinator import Coordinator, in_pieces
from raysearch.run.session import Session, Setup
from raysearch.spec import make_spec
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.reading import read_outcomes
from raysearch.storage.paths import RunPaths
from raysearch.worker.job import Job
from raysearch.worker.shipping import ship

Story = Callable[[Coordinator], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Story], Coordinator]:
    """Runs a story with a coordinator of 20 one-iteration trials; nothing in it may wait for ever."""
    monkeypatch.setattr(module, "was_restarted", lambda: False)
    spec = make_spec(
        trainable="tests:unused",
        space={"x": {"uniform": [0, 1]}},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(samples=20, max_iterations=1, sampler="random", finish=None),
        name="run",
        storage=str(tmp_path),
        retries=0,
        storage_timeout=0.3,  # three attempts
    )

    def run(story: Story) -> Coordinator:
        Journal.create(RunPaths(tmp_path).journal).close()
        made: list[Coordinator] = []

        async def all_of_it() -> None:
            given = Setup(str(tmp_path), spec), Job(str(tmp_path), ship(list), "loss", "min")
            made.append(Coordinator(*in_pieces(cloudpickle.dumps(given))))
            await asyncio.wait_for(story(made[0]), PATIENCE_S)
            await made[0].close()

        asyncio.run(all_of_it())
        return made[0]

    return run


def completed(of: Any) -> Outcome:
    return Outcome(of.segment, Status.COMPLETED, {"loss": [of.segment.config["x"]]})


def test_exchanges_that_come_together_are_made_durable_by_one_flush(
    play: Callable[[Story], Coordinator], tmp_path: Path
) -> None:
    flushes: list[int] = []

    async def story(c: Coordinator) -> None:
        append = c._session.journal.append
        c._session.journal.append = lambda o: flushes.append(len(o)) or append(o)  # type: ignore[method-assign]
        replies = [await c.exchange(Turn(f"w{i}", want=1)) for i in range(8)]
        turns = [Turn(f"w{i}", [completed(r.leases[0])], 1) for i, r in enumerate(replies)]
        await asyncio.gather(*(c.exchange(turn) for turn in turns))

    play(story)
    assert sum(flushes) == len(list(read_outcomes(tmp_path / "journal"))) == 8
    assert len(flushes) <= 2


def test_text_that_no_file_can_hold_leaves_nobody_waiting(
    play: Callable[[Story], Coordinator], tmp_path: Path
) -> None:
    async def story(c: Coordinator) -> None:
        one, two = [(await c.exchange(Turn(w, want=1))).leases[0] for w in ("v", "w")]
        strange = Outcome(one.segment, Status.FAILED, error="FileNotFoundError: /data/\udcff.png")
        await asyncio.gather(c.exchange(Turn("v", [strange], 1)), c.exchange(Turn("w", [completed(two)], 1)))

    play(story)
    told = {o.status: o.error for o in read_outcomes(tmp_path / "journal")}
    assert told == {Status.FAILED: "FileNotFoundError: /data/\\udcff.png", Status.COMPLETED: ""}


def test_a_strategy_that_raises_ends_the_search_with_its_error_and_everyone_is_answered(
    play: Callable[[Story], Coordinator],
) -> None:
    async def story(c: Coordinator) -> None:
        lease = (await c.exchange(Turn("w", want=1))).leases[0]
        c._search.strategy.tell = lambda outcome: 1 / 0  # type: ignore[method-assign,assignment]
        assert (await c.exchange(Turn("w", [completed(lease)], 1))).stop
        assert (await c.exchange(Turn("v", want=1))).stop

    assert play(story)._search.lifetime.failed == "the strategy raised ZeroDivisionError: division by zero"


def test_outcomes_that_cannot_be_written_are_asked_for_again_and_the_search_ends_with_what_to_do(
    play: Callable[[Story], Coordinator], tmp_path: Path
) -> None:
    async def story(c: Coordinator) -> None:
        lease = (await c.exchange(Turn("w", want=1))).leases[0]

        def full(outcomes: Any) -> None:
            raise JournalError("no space left on device")

        append, c._session.journal.append = c._session.journal.append, full  # type: ignore[method-assign]
        assert (await c.exchange(Turn("w", [completed(lease)], 1))).stop
        c._session.journal.append = append  # type: ignore[method-assign]
        assert c._search.standings.trials == 0

    failed = play(story)._search.lifetime.failed
    assert "no space left on device. Every acknowledged outcome is in it" in failed
    assert f"raysearch resume {tmp_path}" in failed
    assert list(read_outcomes(tmp_path / "journal")) == []


def test_a_coordinator_waits_for_storage_that_is_out_of_reach_just_now(
    play: Callable[[Story], Coordinator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, tries = Session.open, []

    def open_later(setup: Setup, now: float) -> Session:
        tries.append(now)
        if len(tries) == 1:
            raise OSError(5, "Input/output error")
        if len(tries) == 2:
            Journal.open(tmp_path / "away")
        return opened(setup, now)

    monkeypatch.setattr(Session, "open", open_later)

    async def story(c: Coordinator) -> None:
        lease = (await c.exchange(Turn("w", want=1))).leases[0]
        await c.exchange(Turn("w", [completed(lease)], 0))

    play(story)
    assert len(tries) == 3
    assert len(list(read_outcomes(tmp_path / "journal"))) == 1


def test_a_coordinator_does_not_wait_for_a_damaged_journal(
    play: Callable[[Story], Coordinator], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def damaged(setup: Setup, now: float) -> Session:
        tries.append(now)
        raise JournalError("broken at byte 24, with whole rows behind it")

    monkeypatch.setattr(Session, "open", damaged)
    with pytest.raises(JournalError, match="broken at byte 24"):
        play(lambda c: asyncio.sleep(0))
    assert len(tries) == 1


def test_a_failing_look_at_the_workers_is_not_the_last(
    play: Callable[[Story], Coordinator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COLLECT_S", 0.1)
    looks = asyncio.Event()

    async def story(c: Coordinator) -> None:
        collect = c._search.collect

        def stale() -> None:
            def again() -> None:
                looks.set()
                collect()

            c._search.collect = again  # type: ignore[method-assign]
            raise OSError(116, "Stale file handle")

        c._search.collect = stale  # type: ignore[method-assign]
        await c.hello("w", None)
        await looks.wait()

    warnings = play(story)._search.warnings
    assert "watching the workers failed: OSError: [Errno 116] Stale file handle" in warnings


def test_after_the_machine_slept_nobody_is_blamed_for_silence(
    play: Callable[[Story], Coordinator], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(c: Coordinator) -> None:
        await c.hello("w", None)
        await c.exchange(Turn("w", want=1))
        real, excused = time.time, asyncio.Event()
        excuse = c._search.attendance.excuse
        c._search.attendance.excuse = lambda s: (excuse(s), excused.set())[0]  # type: ignore[method-assign]
        await asyncio.sleep(0)  # the watch notes the time before the jump
        await c.status()
        monkeypatch.setattr(module.time, "time", lambda: real() + 600.0)
        await excused.wait()
        monkeypatch.setattr(module.time, "time", lambda: real() + 601.0)
        assert c._search.attendance.overdue(real() + 601.0) == []
        monkeypatch.setattr(module.time, "time", real)

    assert play(story)._search.warnings == {}


def test_a_worker_that_says_hello_while_its_predecessor_is_replaced_is_not_killed(
    play: Callable[[Story], Coordinator], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[Any] = []
    monkeypatch.setattr(module.ray, "kill", lambda handle, no_restart: killed.append(handle))

    async def story(c: Coordinator) -> None:
        await c.hello("w", pickle.dumps("the old process"))
        await c.exchange(Turn("w", want=1))
        late = Overdue("w", "its worker was silent for 61 s", Cause.UNREACHABLE)
        replace = asyncio.create_task(c._replace(late))
        await asyncio.gather(replace, c.hello("w", pickle.dumps("the new process")))

    play(story)
    assert killed == ["the old process"]


def test_workers_that_start_over_and_over_and_finish_nothing_end_the_search_with_their_complaint(
    play: Callable[[Story], Coordinator],
) -> None:
    async def story(c: Coordinator) -> None:
        await c.complain("w", "OSError: no GPU driver on this node")
        for _ in range(11):
            await c.hello("w", None)

    failed = play(story)._search.lifetime.failed
    assert failed.startswith("workers were started 11 times and none finished a segment: ")
    assert "no GPU driver on this node" in failed


def test_workers_that_a_trainable_ends_without_a_word_are_said_with_what_they_trained(
    play: Callable[[Story], Coordinator],
) -> None:
    async def story(c: Coordinator) -> None:
        for _ in range(11):
            await c.hello("w", None)
            await c.exchange(Turn("w", want=1))
            await c.died("w", Death.ALONE, "its worker died")

    failed = play(story)._search.lifetime.failed
    assert re.fullmatch(
        r"workers were started 11 times and none finished a segment: the last, w, ended while it trained "
        r"segment \d\.0 \(its worker died\)\. .* at the end of logs/w.log in the run's folder .*",
        failed,
    )


def test_a_duplicate_that_comes_with_another_checkpoint_leaves_the_one_that_counts(
    play: Callable[[Story], Coordinator],
) -> None:
    deleted: list[str] = []

    async def story(c: Coordinator) -> None:
        c._session._deleter.delete = deleted.extend  # type: ignore[method-assign]
        lease = (await c.exchange(Turn("w", want=1))).leases[0]
        first = dataclasses.replace(completed(lease), checkpoint="0.0-aaaa")
        for outcome in (first, first, dataclasses.replace(first, checkpoint="0.0-bbbb")):
            await c.exchange(Turn("w", [outcome], 0))
        assert deleted == ["0.0-bbbb"]

    play(story)


def test_a_worker_that_cannot_be_reached_is_blamed_only_if_its_node_lives(
    play: Callable[[Story], Coordinator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_watch, "VERDICT_S", 0.05)
    monkeypatch.setattr(node_watch, "NODES_S", 0.01)
    monkeypatch.setattr(node_watch, "alive", lambda: {"living": {}})
    monkeypatch.setattr(node_watch, "draining", set)
    held: dict[str, int] = {}

    async def story(c: Coordinator) -> None:
        for worker, node in (("v", "living"), ("w", "dead")):
            await c.hello(worker, None, node)
            held[worker] = (await c.exchange(Turn(worker, want=1))).leases[0].segment.id
        await asyncio.gather(*(c.died(each, Death.UNCLEAR, "its worker cannot be reached") for each in held))
        await c.died("unknown", Death.WITH_NODE, "left with its node")

    search = play(story)._search
    assert search.states.is_suspect(held["v"])
    assert not search.states.is_suspect(held["w"])
    assert search.warnings == {"w left with its node": 1}
    assert [*search.workers] == ["v"]


def test_a_worker_on_a_drained_node_is_told_so_and_its_last_word_is_taken_in(
    play: Callable[[Story], Coordinator], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(node_watch, "alive", dict)
    monkeypatch.setattr(node_watch, "draining", lambda: {"going"})

    async def story(c: Coordinator) -> None:
        await c.hello("w", None, "going")
        lease = (await c.exchange(Turn("w", want=2))).leases[0]
        while not (told := (await c.beat("w", lease.segment.id, 1))[2]):
            await asyncio.sleep(0.01)
        assert told == Dismissal.DRAINED
        begun = Outcome(lease.segment, Status.LOST, error=f"its worker {told}")
        assert (await c.exchange(Turn("w", [begun], leaving=told))).stop
        assert await c.beat("w", None, 0) == (False, c._life, "", module.BEAT_S)

    search = play(story)._search
    assert len(search.workers) == 0
    assert len(search.leases) == 0
    assert {o.error for o in read_outcomes(tmp_path / "journal")} == {f"its worker {Dismissal.DRAINED}"}


def test_the_process_of_the_coordinator_does_not_load_tune() -> None:
    code = "import sys, raysearch.executors.tune.coordinator; print('ray.tune' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
