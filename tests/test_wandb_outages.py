"""The real W&B client against a stand-in server that goes away: every row there once, whatever happened."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread

import pytest
from waiting import PATIENCE_S, SHOWN, wait_for
from wandb_runs import WANDB, expected, there, written
from wandb_standin import CANARY, StandIn

from raysearch.bench.report import outcomes
from raysearch.storage.journal.journal import Journal
from raysearch.storage.paths import RunPaths
from raysearch.tracking.supervisor import Companion, push
from raysearch.tracking.wandb import client as module

GIVES_UP_S = 2.0


@pytest.fixture
def companion_of() -> Iterator[Callable[[Path], Companion]]:
    """Starts the tracking process of a run, which ends with the test."""
    started: list[Companion] = []

    def begin(run: Path) -> Companion:
        started.append(Companion(run, CANARY))
        return started[-1]

    yield begin
    for companion in started:
        companion.close(patience_s=0.0)


def told(run: Path) -> str:
    """What the tracking process of a run has printed."""
    return RunPaths(run).tracking.joinpath("process.log").read_text()[-SHOWN:]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["401", "hang"])
def test_a_server_that_is_away_at_the_start_gets_everything_later(
    server: StandIn, tmp_path: Path, fault: str
) -> None:
    counts = written(tmp_path / "run", 3, finals=2)
    server.fault = fault
    assert push(tmp_path / "run", CANARY, GIVES_UP_S) == 3
    assert json.loads((tmp_path / "run/tracking/wandb.json").read_text())["trouble"]
    server.fault = ""
    assert push(tmp_path / "run", CANARY, PATIENCE_S) == 0
    assert there(server) == counts


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "fault"), [(1, "500"), (100, "down"), (100, "429"), (10**6, "hang")])
def test_a_server_that_goes_away_on_the_way_or_at_the_end_gets_the_rest_later(
    server: StandIn, tmp_path: Path, rows: int, fault: str
) -> None:
    counts = written(tmp_path / "run", 3, finals=2)
    server.fault_after = (min(rows, sum(counts.values())), fault)
    patience_s = GIVES_UP_S
    while server.fault != fault:  # a busy machine may have sent nothing in so short a time
        assert patience_s < PATIENCE_S, f"it never went away while the run was sent: {told(tmp_path / 'run')}"
        push(tmp_path / "run", CANARY, patience_s)
        patience_s *= 2
    server.fault = ""
    assert push(tmp_path / "run", CANARY, PATIENCE_S) == 0
    assert there(server) == counts


def test_a_tracking_process_that_is_killed_is_started_again_and_nothing_is_there_twice(
    server: StandIn, companion_of: Callable[[Path], Companion], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "spec.yaml").write_text(
        f"name: demo\nmetric: loss\nmode: min\nspace: {{lr: {{uniform: [0, 1]}}}}\n{WANDB}"
        "strategy: {name: caviar, samples: 8, max_iterations: 81}\n"
    )
    made = [*outcomes(8, 2)]
    with Journal.create(run / "journal") as journal:
        journal.append_event("start", {}, 1000.0)
        journal.append(made[:5])
        companion = companion_of(run)
        wait_for(lambda: sum(there(server).values()) > 0, saw=lambda: told(run))
        os.killpg(companion.pid, signal.SIGKILL)
        journal.append(made[5:])
        wait_for(lambda: len(there(server)) >= 8, saw=lambda: (there(server), told(run)))
        journal.append_event("end", {"ending": "complete"}, 2000.0)
    assert companion.close(PATIENCE_S), told(run)
    assert there(server) == expected(made)


def test_a_search_does_not_wait_for_a_server_that_hangs(
    server: StandIn, companion_of: Callable[[Path], Companion], tmp_path: Path
) -> None:
    written(tmp_path / "run", 3, finals=2)
    server.fault = "hang"
    companion, ends = companion_of(tmp_path / "run"), SimpleQueue[bool]()
    Thread(target=lambda: ends.put(companion.close(patience_s=1.0)), daemon=True).start()
    assert ends.get(timeout=PATIENCE_S) is False  # the server hangs until this test has ended


def test_a_run_that_the_client_never_finishes_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLACK_S", 0.0)
    runs, released, finished = module.Runs({"project": "demo"}, tmp_path, patience_s=1.0), Event(), []

    class Open:
        def __init__(self, name: str) -> None:
            self.name = name

        def finish(self) -> None:
            if self.name == "stuck":
                released.wait()
            finished.append(self.name)

    runs._open.update((name, Open(name)) for name in ("one", "stuck", "two"))
    try:
        runs.finish_all()
        assert sorted(finished) == ["one", "two"]
        assert not runs._open
    finally:
        released.set()
