"""Pause, stop, budgets: a search ends before its strategy does, in order, and can be gone on with."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trainables
from hypothesis import given
from hypothesis import strategies as st
from scripted import Scripted, completed, segment
from waiting import PATIENCE_S, Children, wait_for

import raysearch
from raysearch.cli import main
from raysearch.core.budget import Account, Budget, Spent
from raysearch.engine.faults import Loss
from raysearch.engine.limits import Limits
from raysearch.engine.search import Search
from raysearch.engine.wind_down import PAUSED, STOPPED, Ended, Ending, WindDown
from raysearch.errors import JournalBusyError, LocatedError, RunError, SpecError
from raysearch.executors.tune import driver
from raysearch.run.driver_lock import driving
from raysearch.run.liveness import held_by, last_ending, stopped
from raysearch.run.orders import Orders
from raysearch.run.pause import PAUSE, RESUME, STOP, begin, order
from raysearch.run.session import spent_on
from raysearch.spec import make_spec
from raysearch.storage import file_lock
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.reading import read_events, read_outcomes
from raysearch.storage.journal.schema import JournalEvent
from raysearch.storage.liveness import owner_of


def searching(trials: int = 6, **limits: Any) -> Search:
    """A search of one-iteration trials in which workers v and w hold one each."""
    search = Search(
        Scripted([segment(t) for t in range(trials)]), metric="loss", mode="min", limits=Limits(**limits)
    )
    for worker in ("v", "w"):
        search.lease(worker, 1, 0.0)
    return search


def held(search: Search, worker: str) -> Any:
    [found] = search.leases.of(worker).values()
    return found


# ---- what an order does


def test_a_pause_hands_out_nothing_new_and_ends_when_the_last_segment_in_training_has_ended() -> None:
    search = searching()
    assert begin(search, PAUSE, order(PAUSE), 1.0) == (
        True,
        "pausing: what 2 workers train is finished first",
    )
    assert not search.beat("v", None, 0, 1e6)
    first = search.exchange("v", [completed(held(search, "v"))], 1, 2.0)
    assert (first.leases, first.stop, search.lifetime.over) == ((), True, False)
    assert search.exchange("w", [completed(held(search, "w"))], 1, 3.0).stop
    assert search.lifetime.ending == "paused"
    assert search.standings.trials == 2


def test_a_stop_cuts_what_has_not_ended_within_its_grace() -> None:
    search = searching()
    assert begin(search, STOP, order(STOP, 30.0), 100.0)[1].endswith(
        "is finished first if it ends within 30s"
    )
    search.exchange("v", [completed(held(search, "v"))], 1, 129.0)
    assert not search.beat("w", None, 0, 129.9)
    assert search.beat("w", None, 0, 130.0)
    assert search.lifetime.ending == "stopped; what 1 worker had in training was cut"


def test_a_pause_is_taken_back_as_long_as_something_is_in_training() -> None:
    search = searching()
    begin(search, PAUSE, order(PAUSE), 1.0)
    assert search.exchange("v", [completed(held(search, "v"))], 1, 2.0).stop
    assert begin(search, RESUME, order(RESUME), 2.0)[0]
    assert len(search.lease("v", 1, 3.0).leases) == 1
    assert begin(search, RESUME, order(RESUME), 4.0) == (False, "it is going on already")
    begin(search, PAUSE, order(PAUSE, 0.0), 5.0)
    assert begin(search, RESUME, order(RESUME), 6.0)[0] is False
    assert search.lifetime.ending.startswith("paused")


def test_of_two_orders_the_last_word_and_the_sooner_cut_count() -> None:
    patient, hasty = WindDown(PAUSED, ordered=True), WindDown(STOPPED, 9.0, ordered=True)
    assert hasty.after(patient) == hasty
    assert patient.after(hasty) == WindDown(PAUSED, 9.0, ordered=True)
    assert not hasty.after(WindDown(Ended(Ending.BUDGET, "the budget is used up"), 20.0)).ordered


def test_a_worker_that_dies_while_a_search_pauses_holds_it_up_no_longer() -> None:
    search = searching()
    begin(search, PAUSE, order(PAUSE), 1.0)
    search.exchange("v", [completed(held(search, "v"))], 1, 2.0)
    search.commit(search.attendance.lose("w", 3.0, Loss("its node is gone")))
    search.lifetime.check(3.0)
    assert search.lifetime.ending == "paused"


# ---- budgets


def test_a_used_up_budget_lets_what_is_in_training_end_within_its_grace() -> None:
    search = searching(budget=Budget(hours=1.0, grace=120.0))
    reply = search.exchange("v", [completed(held(search, "v"))], 1, 3600.0)
    assert (reply.stop, search.lifetime.over) == (True, False)
    search.exchange("w", [completed(held(search, "w"))], 1, 3700.0)
    assert search.lifetime.ending == "the budget of 1 hours is used up"
    late = searching(budget=Budget(hours=1.0, grace=120.0))
    assert not late.beat("v", None, 0, 3600.0)
    assert late.beat("v", None, 0, 3720.0)
    assert late.lifetime.ending == "the budget of 1 hours is used up; what 2 workers had in training was cut"


@given(st.integers(1, 30), st.integers(1, 40), st.integers(1, 5))
def test_a_budget_of_trials_is_never_passed(trials: int, want: int, workers: int) -> None:
    search = Search(
        Scripted([segment(t) for t in range(60)]),
        metric="loss",
        mode="min",
        limits=Limits(budget=Budget(trials=trials)),
    )
    hands: dict[str, list[Any]] = {f"w{i}": [] for i in range(workers)}
    for _ in range(200):
        for worker, mine in hands.items():
            done = [completed(s) for s in mine]
            mine[:] = [lease.segment for lease in search.exchange(worker, done, want, 0.0).leases]
        if search.lifetime.over:
            break
    assert (search.standings.trials, search.lifetime.ending) == (
        trials,
        f"the budget of {trials} trials is used up",
    )


def test_workers_that_wait_cost_what_they_hold() -> None:
    search = searching(held=((2.0, 0.5),), budget=Budget(prices={"gpu_hour": 3.6}))
    search.attendance.hello("idle", 0.0)
    for now in range(0, 101, 2):
        search.beat("v", None, 0, float(now))
        search.beat("idle", None, 0, float(now))
    spent = search.lifetime.spent(100.0)
    assert spent == Spent(100.0, 200.0, 400.0, 100.0)
    assert (
        search.status(100.0)["spent"] == "0.0278 hours · 0.0278 GPU-hours · 0.111 CPU-hours · 0.10 in money"
    )


def test_a_worker_that_held_nothing_and_was_away_for_hours_costs_little_of_them() -> None:
    search = searching()
    search.attendance.hello("idle", 0.0)
    search.beat("idle", None, 0, 7200.0)
    assert search.lifetime.spent(7200.0).worker_s == 30.0


@pytest.mark.parametrize(
    ("budget", "gpu", "text"),
    [
        ({"gpu_hours": 3}, 0, "budget.gpu_hours: no worker holds a GPU (workers.gpu is 0)"),
        ({"money": 3}, 1, "budget.money: nothing that workers hold has a price (prices: none); give some of"),
        ({"money": 3, "prices": {"gpu_hour": 2}}, 0, "budget.money: nothing that workers hold has a price"),
        ({"money": 3, "prices": {"gpu_hours": 2}}, 1, "budget.prices.gpu_hours: unknown field 'gpu_hours'"),
        ({"money": 3, "prices": {"hour": -2}}, 1, "budget.prices.hour: must not be negative: -2"),
        ({"grace": "soon"}, 1, "budget.grace: 'soon' is not a time"),
    ],
)
def test_a_budget_that_could_never_end_a_search_is_refused(
    budget: dict[str, Any], gpu: float, text: str
) -> None:
    with pytest.raises(LocatedError) as error:
        make_spec(
            trainable="a:b", metric="loss", mode="min", space={"x": {"uniform": [0, 1]}},
            strategy={"name": "caviar", "samples": 3, "max_iterations": 3},
            budget=budget, workers={"gpu": gpu, "cpu": 1},
        )  # fmt: skip
    assert text in str(error.value)


def test_a_budget_is_made_larger_on_top_of_what_it_was_or_of_what_is_spent() -> None:
    spent = Spent(seconds=9 * 3600.0)
    assert Budget(hours=8).extended("hours", "+4", spent).hours == 13.0
    assert Budget(hours=12).extended("hours", "+4", spent).hours == 16.0
    assert Budget().extended("hours", "+0.5", spent).hours == 9.5
    assert Budget(hours=8).extended("hours", "10", spent).hours == 10.0
    with pytest.raises(SpecError, match=r"--hours 8: 9\.0* are spent already"):
        Budget(hours=8).extended("hours", "8", spent)
    with pytest.raises(SpecError, match="--gpu-hours: 'lots' is neither a number"):
        Budget().extended("gpu_hours", "lots", spent)


def test_the_account_goes_over_all_lives_and_takes_what_is_known_of_those_that_were_killed() -> None:
    noted = Spent(50.0, 100.0, 200.0, 10.0)
    account = Account(
        [
            JournalEvent("start", {"cpu": 2.0, "gpu": 0.5}, 0.0),
            JournalEvent("spent", {"spent": dataclasses.asdict(Spent(10.0, 20.0, 40.0, 1.0))}, 10.0),
            JournalEvent("end", {"spent": dataclasses.asdict(noted)}, 50.0),
            JournalEvent("start", {"cpu": 2.0, "gpu": 0.5}, 1000.0),
        ]
    )
    account.add(40.0, 7.0)
    account.add(1030.0, 30.0)
    account.add(1060.0, 50.0)
    assert account.total == Spent(50.0 + 60.0, 100.0 + 80.0, 200.0 + 160.0, 10.0 + 40.0)


# ---- in a real run


class Started:
    """Runs of slow trials, each in a thread of its own; the file `hold` keeps `Held` ones from ending."""

    def __init__(self, storage: Path) -> None:
        self.hold = storage.with_name("hold")
        self._storage = storage
        self._threads: list[threading.Thread] = []

    def __call__(self, executor: str, trainable: Any = trainables.Slow, **fields: Any) -> threading.Thread:
        """Fields change its spec."""
        settings: dict[str, Any] = {
            "space": {"rate": {"uniform": [0.0, 1.0]}},
            "config": {"seconds": 0.05, "hold": str(self.hold), "free": 3},
            "metric": "loss",
            "mode": "min",
            "workers": 2,
            "storage": str(self._storage),
            "name": "run",
            "strategy": raysearch.Caviar(
                samples=12, max_iterations=9, min_iterations=3, sampler="sobol", finish=None
            ),
        }
        thread = threading.Thread(
            target=lambda: raysearch.search(trainable, executor=executor, **{**settings, **fields}),  # type: ignore[arg-type]
            daemon=True,
        )
        thread.start()
        self._threads.append(thread)
        return thread

    def end(self) -> None:
        """Stops what a test that failed has left."""
        self.hold.unlink(missing_ok=True)
        for thread in self._threads:
            if thread.is_alive():
                Orders(self._storage / "run" / "orders").give(order(STOP, 0.0))
            thread.join(PATIENCE_S)


@pytest.fixture
def start(storage: Path) -> Iterator[Started]:
    started = Started(storage)
    yield started
    started.end()


@contextlib.contextmanager
def unlinked_when(condition: Callable[[], bool], file: Path) -> Iterator[None]:
    """Deletes the file as soon as the condition holds, beside what is in the block."""

    def wait() -> None:
        wait_for(condition)
        file.unlink()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    yield
    thread.join(PATIENCE_S)


def count(run: Path) -> int:
    return sum(1 for _ in read_outcomes(run / "journal")) if (run / "spec.yaml").is_file() else 0


@pytest.mark.parametrize("executor", ["inline", "tune"])
def test_a_run_is_paused_and_gone_on_with_to_the_same_end(
    executor: str, ray_cluster: None, start: Started, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start.hold.touch()
    thread = start(executor, trainables.Held)
    wait_for(lambda: count(run_dir) >= (2 if executor == "tune" else 1), alive=thread.is_alive)
    # Inline, an order is taken in between two iterations: the one in training must end for it.
    given = "*.answer" if executor == "tune" else "*.json"
    with unlinked_when(lambda: any((run_dir / "orders").glob(given)), start.hold):
        assert main(["pause", str(run_dir), "--wait"]) == 0
    assert "; go on with: raysearch resume " in capsys.readouterr().out
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert last_ending(run_dir / "journal") == "paused"
    before = list(read_outcomes(run_dir / "journal"))
    assert 2 <= len(before) < 16
    main(["status", str(run_dir)])
    assert "paused; go on with: raysearch resume" in " ".join(capsys.readouterr().out.split())

    raysearch.resume(run_dir, raysearch.How(executor=executor), trainable=trainables.Held)  # type: ignore[arg-type]
    rows = list(read_outcomes(run_dir / "journal"))
    assert rows[: len(before)] == before
    assert last_ending(run_dir / "journal") == "complete"
    assert {o.segment.trial for o in rows} == set(range(12))
    assert spent_on(run_dir).worker_s >= sum(o.seconds for o in rows)


def test_a_long_segment_inline_is_cut_by_a_stop_and_its_results_stand(
    start: Started, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strategy = raysearch.Caviar(samples=2, max_iterations=100_000, min_iterations=100_000, finish=None)
    thread = start("inline", strategy=strategy)
    wait_for(
        lambda: (run_dir / "spec.yaml").is_file() and held_by(run_dir / "journal"), alive=thread.is_alive
    )
    wait_for(lambda: any(e.kind == "start" for e in read_events(run_dir / "journal")), alive=thread.is_alive)
    assert main(["stop", str(run_dir), "--grace", "0", "--wait"]) == 0
    thread.join(PATIENCE_S)
    assert last_ending(run_dir / "journal").startswith("stopped")
    assert main(["stop", str(run_dir)]) == 2
    assert "no process is running" in capsys.readouterr().err


def test_a_run_that_is_starting_says_so_and_no_second_process_goes_on_with_it(
    start: Started, run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raysearch.run.driver_lock.PATIENCE_S", 0.0)
    start("inline", config={"seconds": 0.0}).join(PATIENCE_S)
    with driving(run_dir):
        assert main(["status", str(run_dir)]) == 0
        assert f"starting (process {os.getpid()} on " in " ".join(capsys.readouterr().out.split())
        assert main(["status", str(run_dir), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["held_by"], said["ending"]) == (None, "")
        assert said["started_by"].startswith(f"process {os.getpid()} on ")
        with pytest.raises(JournalBusyError, match=rf"process {os.getpid()} on .* is running or starting it"):
            raysearch.resume(run_dir, raysearch.How(executor="inline"), trainable=trainables.Slow)
    assert main(["status", str(run_dir)]) == 0
    assert "complete; raysearch best" in " ".join(capsys.readouterr().out.split())


HOLDER = """
import signal
import sys
from pathlib import Path
from raysearch.run.driver_lock import driving
from raysearch.storage.journal.journal import Journal

root = Path(sys.argv[1])
with driving(root), Journal.open(root / "journal"):
    print("holds it", flush=True)
    signal.pause()
"""


def test_a_driver_that_is_stopped_is_said_by_status_pause_and_resume(
    start: Started,
    run_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    start_process: Children,
) -> None:
    monkeypatch.setattr("raysearch.cli.ending_order.STOPPED_S", 0.3)
    start("inline", config={"seconds": 0.0}).join(PATIENCE_S)
    holder = start_process(sys.executable, "-c", HOLDER, run_dir)
    holder.wait_for(lambda: "holds it" in holder.said)
    os.kill(holder.pid, signal.SIGSTOP)
    words = (
        f"process {holder.pid} on {socket.gethostname()}, which is stopped (kill -CONT {holder.pid} lets it"
    )
    wait_for(lambda: stopped(run_dir))
    assert main(["status", str(run_dir)]) == 0
    assert words in " ".join(capsys.readouterr().out.split())
    assert main(["status", str(run_dir), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["held_by"].startswith(words)
    for command in ("pause", "stop", "resume"):
        assert main([command, str(run_dir)]) == 2
        assert words in capsys.readouterr().err, command
    with pytest.raises(JournalBusyError, match=r"which is stopped"):
        raysearch.resume(run_dir, raysearch.How(executor="inline"), trainable=trainables.Slow)
    os.kill(holder.pid, signal.SIGCONT)
    wait_for(lambda: not stopped(run_dir))


def test_storage_that_fails_for_a_moment_does_not_keep_a_driver_from_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [OSError(errno.ENOSPC, "No space left on device")] * 2
    take = file_lock.take

    def failing(lock: Path) -> int:
        if failures:
            raise failures.pop()
        return take(lock)

    monkeypatch.setattr(file_lock, "take", failing)
    with driving(tmp_path):
        assert owner_of(tmp_path / "driver") is not None
    assert owner_of(tmp_path / "driver") is None
    failures.append(OSError(errno.EROFS, "Read-only file system"))
    with pytest.raises(RunError, match="cannot be written: Read-only file system"), driving(tmp_path):
        pass


def test_an_order_given_while_a_launch_starts_up_ends_it(
    ray_cluster: None,
    start: Started,
    run_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = driver.start_coordinator

    def begin_after_the_order(*given: Any) -> Any:
        wait_for(lambda: any((run_dir / "orders").glob("*.json")))
        return begin(*given)

    monkeypatch.setattr(driver, "start_coordinator", begin_after_the_order)
    thread = start("tune", workers=1, config={"seconds": 0.5})
    wait_for((run_dir / "driver").is_file, alive=thread.is_alive)
    assert held_by(run_dir / "journal") is None
    assert main(["stop", str(run_dir), "--grace", "0", "--wait"]) == 0
    assert "go on with: raysearch resume" in capsys.readouterr().out
    thread.join(PATIENCE_S)
    assert last_ending(run_dir / "journal").startswith("stopped")
    assert count(run_dir) < 16


def test_a_budget_is_kept_over_lives_and_resume_says_what_to_give(
    start: Started, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    money = {"money": 0.001, "prices": {"cpu_hour": 3.6}, "grace": 0}
    began = time.time()
    start("inline", budget=money).join(PATIENCE_S)
    assert last_ending(run_dir / "journal").startswith("the budget")
    assert held_by(run_dir / "journal") is None
    spent = spent_on(run_dir)
    lasted = time.time() - began
    assert 0.001 <= spent.money(money["prices"]) < 0.001 * lasted  # type: ignore[arg-type]
    assert main(["resume", str(run_dir), "--executor", "inline"]) == 2
    error = capsys.readouterr().err
    assert "the budget of 0.001 in money is used up (spent: " in error
    assert "--money +N" in error


def test_an_order_meant_for_an_earlier_life_does_not_end_a_later_one(start: Started, run_dir: Path) -> None:
    run_dir.mkdir()
    name = Orders(run_dir / "orders").give(order(PAUSE))
    start("inline", config={"seconds": 0.0}).join(PATIENCE_S)
    assert last_ending(run_dir / "journal") == "complete"
    assert Orders(run_dir / "orders").answered(name) == (
        False,
        "the run had ended before the order was taken in",
    )


def test_a_coordinator_that_starts_again_while_a_run_pauses_goes_on_pausing(storage: Path) -> None:
    from raysearch.run.session import Session, Setup

    spec = make_spec(
        trainable="a:b", metric="loss", mode="min", space={"x": {"uniform": [0, 1]}}, name="run",
        strategy=raysearch.Caviar(samples=5, max_iterations=1, finish=None), storage=str(storage),
    )  # fmt: skip
    root = storage / "run"
    Journal.create(root / "journal").close()
    began = time.time()
    first = Session.open(Setup(str(root), spec, began=began), began)
    first.search.lease("w", 1, began)
    Orders(root / "orders").give(order(PAUSE))
    assert first.look(began + 1)
    first.journal.close()  # as if killed
    again = Session.open(Setup(str(root), spec, began=began), began + 2)
    again.look(began + 3)
    assert again.search.lifetime.winding == WindDown(PAUSED, ordered=True)
    assert not again.search.lifetime.over
    assert again.search.lease("w", 1, began + 3).leases == ()
    again.look(began + 60)
    assert again.search.lifetime.ending == "paused"
    again.close(began + 60)
    later = Session.open(Setup(str(root), spec, began=began + 100), began + 100)
    assert later.search.lifetime.winding is None
    later.close(began + 100)
