"""What a trial leaves in its process: put back, noticed, or said."""

from __future__ import annotations

import locale
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from ray import tune
from test_host import path, train
from torch import nn
from waiting import wait_for

import raysearch
from raysearch.core.segment import Status
from raysearch.core.used_values import series_of
from raysearch.torch.trained_weights import Sample
from raysearch.worker import set_by_modules
from raysearch.worker.host import Host
from raysearch.worker.left_threads import LeftThreads
from raysearch.worker.reports import Trained


@pytest.fixture(autouse=True)
def _stay_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")


Trials = Callable[[Any, int], list[Trained]]


@pytest.fixture
def trials(tmp_path: Path) -> Iterator[Trials]:
    """Trains so many trials of a trainable, of two iterations, one after the other in this process."""
    made: list[Host] = []

    def run(trainable: Any, count: int) -> list[Trained]:
        made.append(Host(trainable, metric="loss", scratch=tmp_path / f"scratch{len(made)}"))
        return [train(made[-1], path(2, trial=trial, number=trial)[0]) for trial in range(count)]

    yield run
    for host in made:
        host.drop()


def environment() -> str:
    return os.environ.get("RAYSEARCH_TEST_LEFT", "unset")


SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "a variable": (environment, lambda: os.environ.update(RAYSEARCH_TEST_LEFT="1")),
    "sys.argv": (lambda: list(sys.argv), lambda: sys.argv.append("--left")),
    "warnings": (
        lambda: [each[0] for each in warnings.filters].count("error"),
        lambda: warnings.filterwarnings("error", "left", UserWarning, "nowhere"),
    ),
    "logging": (lambda: logging.root.manager.disable, lambda: logging.disable(logging.CRITICAL)),
    "NumPy": (lambda: np.geterr()["over"], lambda: np.seterr(over="raise")),
    "recursion": (sys.getrecursionlimit, lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 77)),
    "locale": (
        lambda: locale.setlocale(locale.LC_ALL),
        lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C"),
    ),
    "torch's device": (lambda: str(torch.get_default_device()), lambda: torch.set_default_device("meta")),
    "torch's anomalies": (torch.is_anomaly_enabled, lambda: torch.autograd.set_detect_anomaly(True)),
    "torch's dtype": (torch.get_default_dtype, lambda: torch.set_default_dtype(torch.float64)),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("is_class", [True, False])
def test_each_trial_finds_the_settings_of_the_process_that_the_first_one_found(
    trials: Trials, name: str, is_class: bool
) -> None:
    read, change = SETTINGS[name]
    found: list[Any] = []

    class Changing(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            found.append(read())
            change()

        def step(self) -> dict[str, float]:
            return {"loss": 1.0}

    def changing(config: dict[str, Any]) -> None:
        found.append(read())
        change()
        for _ in range(2):
            tune.report({"loss": 1.0})

    with warnings.catch_warnings(), np.errstate(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", list(sys.argv))
        results = trials(Changing if is_class else changing, 3)
        trials(Changing, 1)  # a host of its own begins with what it finds
    os.environ.pop("RAYSEARCH_TEST_LEFT", None)
    logging.disable(logging.NOTSET)
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.autograd.set_detect_anomaly(False)
    assert found[1:3] == [found[0]] * 2
    assert name.startswith("torch") or not any(trained.error for trained in results)  # each sets it anew
    is_of_thread = name in ("NumPy", "torch's device") and not is_class  # a function has a thread of its own
    assert (found[3] != found[0]) is not is_of_thread  # it was changed


def test_what_only_the_first_trial_sets_is_said(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSEARCH_TEST_LEFT", "before")

    def first_only(config: dict[str, Any]) -> None:
        if config["number"] == 0:
            os.environ["RAYSEARCH_TEST_LEFT"] = "changed"
        for _ in range(2):
            tune.report({"loss": 1.0})

    results = trials(first_only, 4)
    said = [trained.error for trained in results if trained.error]
    assert len(said) == 1
    assert "a trial changed the environment variable RAYSEARCH_TEST_LEFT for its whole process" in said[0]
    assert environment() == "before"


def test_an_environment_that_a_trial_puts_in_place_of_the_process_s_is_put_back_too(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYSEARCH_TEST_LEFT", "before")
    monkeypatch.setattr(os, "environ", os.environ)
    found = []

    def replacing(config: dict[str, Any]) -> None:
        if config["number"] == 0:
            os.environ = dict(os.environ)  # type: ignore[assignment]  # noqa: B003
        found.append(environment())
        os.environ["RAYSEARCH_TEST_LEFT"] = "changed"
        tune.report({"loss": 1.0})
        tune.report({"loss": 1.0})

    trials(replacing, 3)
    assert found == ["before"] * 3


# ---- models that live on


class Net:
    """A model with its optimizer."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        self.net = nn.Linear(3, 1)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)

    def step(self) -> dict[str, float]:
        loss = (self.net(torch.ones(4, 3)) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": float(loss.detach())}


class Resets(tune.Trainable):  # type: ignore[misc]
    """Says that it was reset."""

    is_lying: ClassVar = False
    made: ClassVar[int] = 0

    def setup(self, config: dict[str, Any]) -> None:
        self.net = Net()
        Resets.made += 1

    def step(self) -> dict[str, float]:
        return self.net.step()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        if not self.is_lying:
            self.net = Net()
        return True


class Lies(Resets):
    is_lying = True


def test_a_reset_that_keeps_the_trained_model_is_found_and_made_good(trials: Trials) -> None:
    right = trials(Resets, 3)
    Resets.made = 0
    found = trials(Lies, 3)
    assert [t.status for t in found] == [Status.COMPLETED] * 3
    assert [t.curve for t in found] == [t.curve for t in right]
    assert [t.error.split(" and ")[0] for t in found] == ["", "reset_config returned True", ""]
    assert Resets.made == 3
    assert not any(t.error for t in right)


def test_a_model_that_outlives_its_trial_fails_the_next_one_in_words(trials: Trials) -> None:
    shared = Net()

    def train_shared(config: dict[str, Any]) -> None:
        for _ in range(2):
            tune.report(shared.step())

    class Shared(tune.Trainable):  # type: ignore[misc]
        def step(self) -> dict[str, float]:
            return shared.step()

    for trainable in (train_shared, Shared):
        first, second = trials(trainable, 2)
        assert first.status is Status.COMPLETED
        assert second.status is Status.FAILED
        assert "found the weights with which the trial before it had ended" in second.error
        assert "isolate: true" in second.error


def test_models_that_begin_alike_or_do_not_move_are_fresh(trials: Trials) -> None:
    class Still(Resets):
        def setup(self, config: dict[str, Any]) -> None:
            self.net = Net()
            self.net.optimizer.param_groups[0]["lr"] = 0.0

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

    for trainable in (Resets, Still):
        assert [(t.status, t.error) for t in trials(trainable, 3)] == [(Status.COMPLETED, "")] * 3


def test_parameters_whose_numbers_may_lie_elsewhere_are_not_looked_at() -> None:
    class Sharded(nn.Parameter):
        def detach(self) -> torch.Tensor:
            raise AssertionError("asks other processes")

    def optimizer_of(param: nn.Parameter) -> torch.optim.Optimizer:
        param.grad = torch.ones_like(param)
        return torch.optim.SGD([param], lr=0.1)

    assert Sample(optimizer_of(Sharded(torch.ones(2)))).moved_to() is None
    plain = optimizer_of(nn.Parameter(torch.ones(2)))
    sample = Sample(plain)
    assert sample.first == (1.0, 1.0)
    plain.step()
    assert sample.moved_to() == pytest.approx((0.9, 0.9))


# ---- threads


def test_threads_that_a_trial_leaves_are_said_and_their_steps_are_none_of_the_next_ones(
    trials: Trials,
) -> None:
    end, go_on, stepped = threading.Event(), threading.Event(), threading.Event()

    def stray() -> None:
        net = Net()
        net.optimizer.param_groups[0]["lr"] = 0.7
        while not end.is_set():
            if go_on.wait(0.01):
                net.step()
                stepped.set()

    def leaving(config: dict[str, Any]) -> None:
        if config["number"] == 0:
            threading.Thread(target=stray, name="stray").start()
        net = Net()
        for _ in range(2):
            if config["number"] == 1:
                go_on.set()
                wait_for(stepped.is_set, alive=lambda: not end.is_set())
            tune.report(net.step())

    try:
        first, second = trials(leaving, 2)
    finally:
        end.set()
        go_on.set()
    assert first.error == ""
    assert "a trial left 1 of its threads running (stray)" in second.error
    assert "a thread that an earlier trial left running takes steps" in second.error
    assert [held.greatest for held in series_of(second.used(), "held:lr")] == [0.1, 0.1]


def test_threads_that_have_ended_are_not_looked_at_again() -> None:
    threads = LeftThreads()
    assert [*threads.look(False)] == []
    end = threading.Event()
    for _ in range(3):
        stray = threading.Thread(target=end.wait, daemon=True)
        stray.start()
        assert [*threads.look(False)] == []
    assert len(threads.left) == 3
    end.set()
    for thread in threads.left:
        thread.join()
    assert [*threads.look(False)] == []
    assert threads.left == []


# ---- processes


class Ends(tune.Trainable):  # type: ignore[misc]
    """Ends a process in the first trial, where the environment says so: its own, or the one that began it."""

    def step(self) -> dict[str, float]:
        if self.config["x"] == 2 and (ends := os.environ.get("RAYSEARCH_TEST_END")):
            os._exit(0) if ends == "own" else os.kill(os.getppid(), signal.SIGKILL)
        return {"loss": float(self.config["x"])}


def search_ends(storage: str, isolate: bool) -> None:
    raysearch.search(
        Ends,
        space={"x": {"ordinal": [1, 2, 3]}},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(samples=3, max_iterations=1, finish=None),
        baseline={"x": 2},
        storage=storage,
        name="ends",
        executor="inline",
        isolate=isolate,
    )


@pytest.mark.parametrize(
    ("isolate", "ends", "code", "told"),
    [(False, "own", 0, "With isolate: true"), (True, "other", -signal.SIGKILL, "The trial was not in it")],
)
def test_a_resume_says_in_which_segment_the_process_ended_and_what_would_have_kept_it(
    isolate: bool, ends: str, code: int, told: str, tmp_path: Path
) -> None:
    does = f"import test_process_state as t; t.search_ends({str(tmp_path)!r}, {isolate})"
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    env = {**os.environ, "PYTHONPATH": paths, "RAYSEARCH_TEST_END": ends}
    assert subprocess.run([sys.executable, "-c", does], env=env, check=False).returncode == code
    said: list[str] = []
    for _ in range(2):
        results = raysearch.resume(
            tmp_path / "ends", raysearch.How("inline", say=said.append), trainable=Ends
        )
    ended = [text for text in said if "ended in the midst of segment 0.0" in text]
    assert len(ended) == 1
    assert told in ended[0]
    assert ("isolate: true" in ended[0]) is not isolate
    assert sorted(results.trials()["config.x"]) == [1, 2, 3]


SETS = """
import os

def sets():
    os.environ["RAYSEARCH_TEST_CALLED"] = "1"

os.environ["RAYSEARCH_TEST_MODULE"] = "1"
os.environ.pop("RAYSEARCH_TEST_BEFORE")
sets()
"""


def test_what_a_module_sets_as_it_is_imported_stays_for_the_next_trials(
    trials: Trials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("RAYSEARCH_TEST_MODULE", "RAYSEARCH_TEST_CALLED", "RAYSEARCH_TEST_BEFORE")
    monkeypatch.setattr(set_by_modules, "_found", {})
    for name in names[:2]:
        monkeypatch.setenv(name, "")  # gone after the test
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAYSEARCH_TEST_BEFORE", "1")
    monkeypatch.setenv("RAYSEARCH_TEST_LEFT", "process")
    (tmp_path / "sets_when_imported.py").write_text(SETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    seen = []

    def trainable(config: dict[str, Any]) -> None:
        import sets_when_imported  # type: ignore[import-not-found]

        seen.append([os.environ.get(name) for name in (*names, "RAYSEARCH_TEST_LEFT")])
        sets_when_imported.os.environ.update(RAYSEARCH_TEST_MODULE="2", RAYSEARCH_TEST_LEFT="trial")
        for i in range(2):
            tune.report({"loss": float(i)})

    said = [one.error for one in trials(trainable, 3)]
    assert seen == [["1", "1", None, "process"]] * 3
    assert not any(said)
