"""Two processes under one worker's name: the later one keeps it, and the earlier one ends by itself."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import trainables
from scripted import completed, segment
from test_engine import ids, make
from waiting import wait_for

import raysearch
from raysearch.core.segment import Outcome, Status
from raysearch.engine.faults import Loss
from raysearch.engine.messages import Death
from raysearch.executors.tune.coordinator import start_coordinator
from raysearch.executors.tune.trial import Worker
from raysearch.run.session import Setup
from raysearch.spec import make_spec
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.reading import read_outcomes
from raysearch.storage.paths import RunPaths
from raysearch.worker.job import Job
from raysearch.worker.shipping import ship


def test_a_later_process_takes_the_name_over_and_an_earlier_one_never_takes_it_back() -> None:
    search, _, _, _ = make(segment(0), segment(1))
    attendance = search.attendance
    search.attendance.hello("w", 0.0)
    assert attendance.recognise("w", 10)
    assert sorted(ids(search, "w")) == [0, segment(1).id]
    assert attendance.recognise("w", 10)
    assert len(search.queue) == 0
    assert attendance.recognise("w", 20)  # after a restart of the coordinator both say what they hold
    assert len(search.queue) == 2
    assert not attendance.recognise("w", 10)
    assert attendance.recognise("w", 20)
    assert attendance.recognise("another", 5)
    assert attendance.recognise("w", 0)  # of an executor without processes


def test_a_process_that_was_given_up_is_not_recognised_though_nobody_has_its_name() -> None:
    search, _, _, _ = make(segment(0))
    search.attendance.hello("w", 0.0)
    assert search.attendance.recognise("w", 10)
    search.commit(search.attendance.leave("w", 1.0, "left with its node"))
    assert not search.attendance.recognise("w", 10)
    search.attendance.hello("w", 2.0)
    assert search.attendance.recognise("w", 11)


def test_of_a_process_that_was_given_up_counts_what_it_finished_and_nothing_that_it_lost() -> None:
    search, _, log, store = make(segment(0), segment(1))
    search.attendance.hello("w", 0.0)
    first, second = search.lease("w", 2, 0.0).leases
    search.commit(search.attendance.lose("w", 1.0, Loss("its worker was silent for 61 s")))
    assert ids(search, "v") == [segment(1).id]
    before = len(log.rows)
    lost = Outcome(second.segment, Status.LOST, checkpoint="1.0-late")
    search.commit(search.accept("w", [completed(first.segment), lost], 2.0, is_over=True))
    assert [(o.segment.id, o.status) for o in log.rows[before:]] == [(0, Status.COMPLETED)]
    assert store.deleted == {"1.0-late"}
    assert [*search.leases.of("v")] == [segment(1).id]
    assert "w" in search.workers
    search.workers.forget("w")
    search.accept("w", [], 3.0, is_over=True)
    assert "w" not in search.workers


class Case:
    """A search of twelve trials, and workers as Tune would start them; each waits in its second trial."""

    def __init__(self, run: Path) -> None:
        strategy = raysearch.Caviar(
            samples=12, max_iterations=3, min_iterations=3, sampler="sobol", finish=None
        )
        self.hold = run.parent / "hold"
        self.hold.touch()
        spec = make_spec(
            trainable="trainables:Held",
            space={"rate": {"uniform": [0.0, 1.0]}},
            metric="loss",
            mode="min",
            strategy=strategy,
            name="run",
            storage=str(run.parent),
        )
        run.mkdir()
        Journal.create(RunPaths(run).journal).close()
        self.name = f"epochs-{uuid.uuid4().hex}"
        constants = {"hold": str(self.hold), "free": 3}
        job = Job(str(run), ship(trainables.Held), "loss", "min", constants=constants)
        self.coordinator, _ = start_coordinator(self.name, Setup(str(run), spec), job)
        self._actors = [self.coordinator]
        self._frozen: list[int] = []

    def worker(self) -> Any:
        config = {"worker": "worker-0", "level": 0, "coordinator": self.name}
        self._actors.append(ray.remote(Worker).options(num_cpus=1).remote(config=config))
        return self._actors[-1]

    def state(self) -> dict[str, Any]:
        workers = ray.get(self.coordinator.status.remote())["workers"]
        return dict(workers.get("worker-0", {"segments": 0, "leases": 0, "lives": 0}))

    def freeze(self, pid: int) -> None:
        self._frozen.append(pid)
        os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        while self._frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._frozen.pop(), signal.SIGCONT)

    def end(self) -> None:
        self.thaw()
        for actor in self._actors:
            ray.kill(actor)


class Training:
    """Asks a worker again and again to train, as Tune does: a call ends after a few seconds."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._call = worker.train.remote()

    def goes_on(self) -> bool:
        """False once the worker has said that the search is over."""
        if not ray.wait([self._call], timeout=0)[0]:
            return True
        if ray.get(self._call)["done"]:
            return False
        self._call = self._worker.train.remote()
        return True


@pytest.fixture
def case(ray_cluster: None, run_dir: Path) -> Iterator[Case]:
    made = Case(run_dir)
    yield made
    made.end()


def test_a_process_that_outlives_its_replacement_ends_by_itself_and_takes_nothing_back(
    case: Case, run_dir: Path
) -> None:
    old = case.worker()
    pid = ray.get(old.__ray_call__.remote(lambda self: os.getpid()))
    stepping = Training(old)
    wait_for(lambda: case.state()["segments"], alive=stepping.goes_on, saw=case.state)
    case.freeze(pid)  # as if it were cut off
    actor = old._actor_id.hex()
    ray.get(case.coordinator.died.remote("worker-0", Death.ALONE, "its worker died", actor))
    working = Training(case.worker())
    wait_for(
        lambda: case.state()["leases"] and case.state()["lives"] == 2, alive=working.goes_on, saw=case.state
    )
    ray.get(case.coordinator.died.remote("worker-0", Death.ALONE, "its worker died", actor))  # late
    assert case.state()["leases"]
    case.thaw()
    case.hold.unlink()
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), saw=case.state)
    wait_for(lambda: not working.goes_on(), saw=case.state)
    ray.get(case.coordinator.close.remote())
    rows = list(read_outcomes(run_dir / "journal"))
    done = collections.Counter(o.segment.id for o in rows if o.status is Status.COMPLETED)
    assert len(done) == 12
    assert {*done.values()} == {1}
    assert [o.error for o in rows if o.status is Status.LOST] == ["its worker died"]


def test_a_process_that_was_given_up_before_it_said_hello_does_not_begin(case: Case) -> None:
    hello = case.coordinator.hello
    assert ray.get(hello.remote("worker-0", None, "", 0, "the later"))[2] > 0
    ray.get(case.coordinator.died.remote("worker-0", Death.UNCLEAR, "its worker died", "the earlier"))
    assert ray.get(hello.remote("worker-0", None, "", 0, "the earlier"))[2] == 0
    assert case.state()["lives"] == 1
