"""TensorBoard and MLflow get what the journal says; a sink of one's own is one file."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import trainables
from wandb_runs import written
from wandb_standin import CANARY

import raysearch
from raysearch.cli import main
from raysearch.errors import SpecError
from raysearch.tracking.sending import send
from raysearch.tracking.sinks import find
from raysearch.tracking.supervisor import sinking, tracked


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """(tag, step, value) of the scalars in an event file, in order."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob("events*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack("<Q", data[at : at + 8])
            event = Event.FromString(data[at + 12 : at + 12 + size])
            at += 16 + size
            found += [
                (v.tag, event.step, v.simple_value) for v in event.summary.value if v.HasField("simple_value")
            ]
    return found


def test_tensorboard_has_every_row_once_however_often_it_is_written(tmp_path: Path) -> None:
    counts = written(tmp_path / "run", 6)
    for _ in range(2):
        send(tmp_path / "run", ["tensorboard"])
    folder = tmp_path / "run" / "tensorboard"
    assert {p.name for p in folder.iterdir()} == {*counts, "search"}
    curve = raysearch.load(tmp_path / "run").curves().query("trial == 0")
    logged = [(step, value) for tag, step, value in scalars(folder / "trial-0") if tag == "loss"]
    assert [step for step, _ in logged] == curve["iteration"].tolist()
    assert [value for _, value in logged] == pytest.approx(curve["loss"].tolist())


def test_tensorboard_has_every_row_of_a_run_that_is_written_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tensorboardX.event_file_writer.time", SimpleNamespace(time=lambda: 1.7e9))
    counts = written(tmp_path / "run", 2)
    send(tmp_path / "run", ["tensorboard"])
    for key, rows in counts.items():
        tags = [tag for tag, _, _ in scalars(tmp_path / "run" / "tensorboard" / key)]
        assert (tags.count("loss"), tags.count("final/loss")) == (rows, 1)


def test_tensorboard_says_where_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "run", 2)
    (tmp_path / "run" / "tensorboard").write_text("a file of one's own")
    assert main(["sink", str(tmp_path / "run"), "tensorboard"]) == 2
    assert "error: TensorBoard's files cannot be written to" in capsys.readouterr().err
    assert (tmp_path / "run" / "tensorboard").read_text() == "a file of one's own"


def test_mlflow_has_the_search_and_below_it_its_trials_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    counts = written(tmp_path / "run", 6)
    for _ in range(2):
        send(tmp_path / "run", ["mlflow"])
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("demo")
    runs = {run.data.tags["mlflow.runName"]: run for run in client.search_runs([experiment.experiment_id])}
    assert {*runs} == {*counts, "search"}
    trial = runs["trial-0"]
    assert trial.data.tags["mlflow.parentRunId"] == runs["search"].info.run_id
    history = client.get_metric_history(trial.info.run_id, "loss")
    curve = raysearch.load(tmp_path / "run").curves().query("trial == 0")
    assert [(m.step, m.value) for m in sorted(history, key=lambda m: m.step)] == [
        *zip(curve["iteration"], curve["loss"], strict=True)
    ]
    assert float(trial.data.params["lr"]) > 0


OWN = """
class Own:
    def __init__(self, paths):
        self.file = (paths.root / "own.txt").open("w")

    def log(self, feed, row, number):
        self.file.write(f"{feed.key} {number} {row.get('loss')}\\n")

    def end(self, feeds):
        self.file.write("end\\n")
        self.file.close()
"""


def test_a_sink_of_ones_own_is_one_file_and_follows_the_search(
    storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_sink.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    results = raysearch.search(
        trainables.Moody,
        executor="inline",
        space={"rate": {"uniform": [0.0, 1.0]}},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(
            samples=4, max_iterations=3, min_iterations=3, sampler="sobol", finish=None
        ),
        storage=str(storage),
        name="own",
        sinks=["own_sink:Own"],
    )
    lines = (results.path / "own.txt").read_text().splitlines()
    assert lines[-1] == "end"
    assert len([line for line in lines if line.startswith("trial-")]) == len(results.curves())


def test_a_sink_that_is_not_there_is_named_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SpecError, match=r"did you mean 'tensorboard'\?"):
        find("tensorbord")
    with pytest.raises(SpecError, match="cannot be loaded"):
        find("no_such_module:Sink")
    written(tmp_path / "run", 3)
    assert main(["sink", str(tmp_path / "run"), "nothing"]) == 2
    assert "unknown sink 'nothing'" in capsys.readouterr().err


SPY = """
import json, os
from pathlib import Path

SEEN = dict(os.environ)  # while the module is imported


class Spy:
    def __init__(self, paths):
        first = Path("/proc/self/environ").read_text()
        paths.root.joinpath("seen.json").write_text(json.dumps([SEEN, dict(os.environ), first]))

    def log(self, feed, row, number):
        pass

    def end(self, feeds):
        pass
"""


@pytest.fixture
def spy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run, beside a module with a sink that writes down its environment, in which there is a W&B key."""
    written(tmp_path / "run", 2)
    (tmp_path / "spy_sink.py").write_text(SPY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("WANDB_API_KEY", CANARY)
    monkeypatch.setenv("WANDB_MODE", "offline")
    return tmp_path / "run"


@pytest.mark.parametrize("wandb", [{}, {"mode": "auto"}, {"mode": "off"}])
@pytest.mark.parametrize("sink_first", [True, False])
def test_a_sinks_process_never_has_the_key_of_wandb(
    spy: Path, wandb: dict[str, str], sink_first: bool
) -> None:
    said: list[str] = []
    blocks = [sinking(spy, ["spy_sink:Spy"], said.append), tracked(spy, wandb, said.append)]
    with contextlib.ExitStack() as stack:
        for block in blocks if sink_first else blocks[::-1]:
            stack.enter_context(block)
    assert CANARY not in (spy / "seen.json").read_text(), said
    assert "PYTHONPATH" in (spy / "seen.json").read_text()
    assert os.environ["WANDB_API_KEY"] == CANARY


def test_the_command_gives_a_sink_no_key_of_wandb(spy: Path) -> None:
    command = [sys.executable, "-m", "raysearch.cli", "sink", str(spy), "spy_sink:Spy"]
    subprocess.run(command, check=True, capture_output=True)
    imported, inside, _ = json.loads((spy / "seen.json").read_text())
    assert CANARY not in imported.values()
    assert CANARY not in inside.values()


def test_a_sink_that_is_looked_for_is_imported_without_the_key_of_wandb(spy: Path) -> None:
    sys.modules.pop("spy_sink", None)
    find("spy_sink:Spy")
    assert CANARY not in sys.modules.pop("spy_sink").SEEN.values()
