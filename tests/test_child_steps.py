"""Optimizers in processes that a trainable starts: what is recorded claims nothing that nobody saw."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune
from test_host import path, train
from torch import nn

import raysearch
from raysearch.core.segment import Status
from raysearch.worker.child_steps import STEPS, ChildSteps, environment_for
from raysearch.worker.host import Host

PROGRAM = """
import sys, torch
weight = torch.nn.Parameter(torch.ones(1))
optimizer = torch.optim.SGD([weight], lr=float(sys.argv[1]))
for step in range(3):
    weight.sum().backward()
    optimizer.step()
"""


def learn(lr: float, file: Path) -> None:
    """Trains a weight for three steps, from where it was left."""
    torch.set_num_threads(1)
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.Adam([weight], lr=lr)
    if file.exists():
        weight.data, state = torch.load(file)
        optimizer.load_state_dict(state)
    for _ in range(3):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
    torch.save([weight.data, optimizer.state_dict()], file)


class Elsewhere(tune.Trainable):  # type: ignore[misc]
    """Each iteration trains in a process of its own."""

    def setup(self, config: dict[str, Any]) -> None:
        self.file = Path(self.logdir, f"state{id(self)}")

    def step(self) -> dict[str, float]:
        context = multiprocessing.get_context(self.config.get("start", "fork"))
        process = context.Process(
            target=learn, args=(self.config["lr"] * self.config.get("times", 1), self.file)
        )
        process.start()
        process.join()
        assert process.exitcode == 0
        return {"loss": float(torch.load(self.file)[0])}

    def save_checkpoint(self, folder: str) -> None:
        Path(folder, "state").write_bytes(self.file.read_bytes())

    def load_checkpoint(self, folder: str) -> None:
        self.file.write_bytes(Path(folder, "state").read_bytes())


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    for name, value in environment_for(tmp_path / "children").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    made = Host(Elsewhere, metric="loss", scratch=tmp_path / "scratch")
    yield made
    made.drop()


def test_steps_in_a_process_that_is_forked_are_noticed_and_said_once(host: Host) -> None:
    first, second = (train(host, path(2, trial=trial, lr=0.1)[0]) for trial in (0, 1))
    assert first.error.startswith("optimizers take steps in other processes, which the trainable started")
    assert second.error == ""
    assert first.used() == second.used() == {}


def test_steps_in_a_process_that_is_spawned_are_noticed(host: Host) -> None:
    found = train(host, path(1, lr=0.1, start="spawn", times=2)[0])
    assert "optimizers take steps in other processes" in found.error
    assert (
        "lr = 0.1 was asked for, and an optimizer in a process that the trainable started began with"
        in found.error
    )
    assert "lr = 0.2: hand config['lr'] over" in found.error


def test_a_nudge_that_a_child_process_undoes_is_said_with_both_numbers(host: Host, tmp_path: Path) -> None:
    one, two = path(1, 2, lr=0.1)
    train(host, one)
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    assert host.save(checkpoint)
    host.drop()
    nudged = type(two)(two.id, two.trial, two.parent, {**two.config, "lr": 0.4}, 1, 2, 7, "nudged")
    found = train(host, nudged, checkpoint)
    assert found.status is Status.COMPLETED
    assert "lr = 0.4 was asked for" in found.error
    assert "began with lr = 0.1" in found.error
    assert found.unseen == ("lr",)


def test_another_python_is_watched_and_keeps_its_own_sitecustomize(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import os; os.environ['OWN'] = 'ran'", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(own), *filter(None, sys.path)]))
        for name, value in environment_for(tmp_path / "children").items():
            patch.setenv(name, value)
        steps = ChildSteps()
        assert steps.look() == []
        again = f"import os; assert os.environ['OWN'] == 'ran'\n{PROGRAM}"
        subprocess.run([sys.executable, "-c", again, "0.25"], check=True)
        (found,) = steps.look()
        assert steps.look() == []
    assert found["lr"] == [0.25]


def test_a_search_gives_back_the_environment_of_its_process(tmp_path: Path) -> None:
    before = os.environ.get("PYTHONPATH")
    results = raysearch.search(
        Elsewhere,
        space={"lr": {"uniform": [0.01, 0.1]}},
        metric="loss",
        mode="min",
        storage=tmp_path,
        executor="inline",
        strategy=raysearch.Caviar(samples=1, max_iterations=1, finish=None),
        say=lambda text: None,
    )
    assert "in other processes" in results.segments()["error"][0]
    assert os.environ.get("PYTHONPATH") == before
    assert STEPS not in os.environ
