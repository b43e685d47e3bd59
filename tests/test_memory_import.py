"""Past results from elsewhere: files of Optuna's and Ray Tune's, W&B's server, tables; what is refused."""

from __future__ import annotations

import csv
import json
import math
import os
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from optuna.storages.journal import JournalFileBackend
from wandb_standin import CANARY, StandIn

from raysearch.cli import main
from raysearch.errors import RunError, SpecError
from raysearch.interop.history import Asked, Past, PastTrial, read_past
from raysearch.interop.history import optuna as optuna_files
from raysearch.space import Space
from raysearch.workflows.memory.curves import losses
from raysearch.workflows.memory.importing import Meaning, record_from
from raysearch.workflows.memory.recall import Record, recall
from raysearch.workflows.memory.store import Memory

SPACE = Space.from_dict({"lr": {"loguniform": [1e-4, 1.0]}, "act": {"choice": ["relu", "gelu"]}})
SPEC = """
trainable: tiny.py:train
metric: loss
mode: min
space: {lr: {loguniform: [1.0e-4, 1.0]}, act: {choice: [relu, gelu]}}
strategy: {name: caviar, samples: 24, max_iterations: 9, sampler: sobol, finish: off}
"""
CONFIGS = SPACE.sample_many(0, 0, 16)
CURVES = [[abs(math.log10(c["lr"]) + 2) + 1 / (i + 1) for i in range(4)] for c in CONFIGS]


@pytest.fixture
def spec(tmp_path: Path) -> str:
    file = tmp_path / "search.yaml"
    file.write_text(SPEC)
    (tmp_path / "tiny.py").write_text("def train(config):\n    pass\n")
    return str(file)


def imported(memory: Path) -> Record:
    (record,) = Memory(memory).records().good
    return record


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `memory import` says where it refuses."""
    capsys.readouterr()
    assert main(["memory", "import", *arguments]) == 2
    return capsys.readouterr().err


# ---- Optuna


def objective(trial: optuna.Trial) -> float:
    config = {
        "lr": trial.suggest_float("lr", 1e-4, 1.0, log=True),
        "act": trial.suggest_categorical("act", ["relu", "gelu"]),
    }
    loss = abs(math.log10(config["lr"]) + 2)
    for step in range(3):
        trial.report(loss + 1 / (step + 1), step)
        if trial.number > 8 and loss > 1.0:
            raise optuna.TrialPruned
    if trial.number == 3:
        raise ValueError("a failed trial")
    return loss + 1 / 3


def sqlite_storage(file: Path) -> Any:
    return optuna.storages.RDBStorage(f"sqlite:///{file}")


def journal_storage(file: Path) -> Any:
    return optuna.storages.JournalStorage(JournalFileBackend(str(file)))


STORAGES = [pytest.param(sqlite_storage, id="sqlite"), pytest.param(journal_storage, id="journal")]


@pytest.mark.parametrize("storage_at", STORAGES)
def test_a_study_is_read_as_optuna_wrote_it(storage_at: Callable[[Path], Any], tmp_path: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = storage_at(tmp_path / "study")
    study = optuna.create_study(study_name="mine", storage=storage, sampler=optuna.samplers.RandomSampler(0))
    study.optimize(objective, n_trials=20, catch=(ValueError,))
    study.enqueue_trial({"lr": 0.1})  # waits, and says nothing
    past = read_past(tmp_path / "study", Asked())
    assert (past.name, past.mode, past.counts, past.left_out["not ended"]) == ("mine", "min", "step", 1)
    assert past.space == SPACE
    for theirs, ours in zip(study.get_trials(deepcopy=False), past.trials, strict=False):
        assert ours.config == theirs.params
        assert dict(ours.curve) == theirs.intermediate_values
        if theirs.state.name == "FAIL":
            assert math.isnan(ours.value)
        else:
            last = theirs.intermediate_values[max(theirs.intermediate_values)]
            assert ours.value == (theirs.value if theirs.state.name == "COMPLETE" else last)
    states = {one.state.name for one in study.get_trials()}
    assert states == {"COMPLETE", "PRUNED", "FAIL", "WAITING"}, "all kinds were there to be read"


def test_optunas_two_kinds_of_file_tell_the_same(tmp_path: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    first = optuna.create_study(study_name="s", direction="maximize", storage=sqlite_storage(tmp_path / "a"))
    for number, config in enumerate(CONFIGS):
        distributions = {"lr": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True)}
        first.add_trial(
            optuna.trial.create_trial(
                params={"lr": config["lr"]},
                distributions=distributions,  # type: ignore[arg-type]
                value=float("inf") if number == 2 else float(number),
                intermediate_values={0: 0.5, 1: float("nan")},
            )
        )
    journal = journal_storage(tmp_path / "b")
    optuna.copy_study(from_study_name="s", from_storage=first._storage, to_storage=journal)
    a, b = read_past(tmp_path / "a", Asked()), read_past(tmp_path / "b", Asked())
    assert repr(a) == repr(b)
    assert (a.mode, a.trials[2].value, len(a.trials)) == ("max", math.inf, 16)


def test_old_distributions_are_read_as_what_they_meant() -> None:
    def form(kind: str, **given: Any) -> str:
        return json.dumps({"name": kind, "attributes": given})

    old = {
        "a": form("LogUniformDistribution", low=1e-3, high=1.0),
        "b": form("IntUniformDistribution", low=2, high=8, step=2),
        "c": form("DiscreteUniformDistribution", low=0.0, high=1.0, q=0.25),
        "d": form("IntLogUniformDistribution", low=1, high=64, step=1),
    }
    space, why = optuna_files._space([old])
    assert why == ""
    assert space is not None
    assert space.to_dict() == {
        "a": {"loguniform": [1e-3, 1.0]},
        "b": {"randint": [2, 8], "q": 2},
        "c": {"uniform": [0.0, 1.0], "q": 0.25},
        "d": {"lograndint": [1, 64]},
    }


def test_what_a_study_does_not_say_is_asked_for_by_the_name_of_its_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage, file = sqlite_storage(tmp_path / "s.db"), str(tmp_path / "s.db")
    memory = ("--memory", str(tmp_path / "m"))
    study = optuna.create_study(study_name="one", storage=storage)
    study.optimize(objective, n_trials=14, catch=(ValueError,))
    unit = ("--steps-per-iteration", "1")
    assert "say what the new search calls it: --metric NAME" in refusal(capsys, file, *memory, *unit)
    assert "--steps-per-iteration N" in refusal(capsys, file, *memory, "--metric", "loss")
    said = refusal(capsys, file, *memory, *unit, "--metric", "loss", "--mode", "max")
    assert "one notes that loss is better as min, --mode or the spec says max" in said
    assert main(["memory", "import", file, *memory, *unit, "--metric", "loss", "--task", "digits"]) == 0
    record = imported(tmp_path / "m")
    assert (record.task, record.metric, record.mode, len(record.configs)) == ("digits", "loss", "min", 14)
    assert Space.from_dict(record.space) == SPACE
    assert record.iterations[0] == 3, "steps 0, 1, 2 are three iterations"
    optuna.create_study(study_name="two", storage=storage)
    assert "holds 2 studies; say which: --study NAME (one, two)" in refusal(capsys, file, *memory)
    assert "did you mean 'one'" in refusal(capsys, file, *memory, "--study", "ones")


def test_a_study_of_several_objectives_is_asked_for_one(tmp_path: Path) -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], storage=journal_storage(tmp_path / "j"))
    study.optimize(lambda t: (t.suggest_float("lr", 0, 1), 1.0), n_trials=2)
    with pytest.raises(SpecError, match="2 objectives; say which: --metric NAME"):
        read_past(tmp_path / "j", Asked())
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["loss", "speed"])
    past = read_past(tmp_path / "j", Asked(metric="speed"))
    assert (past.metric, past.mode, past.trials[0].value) == ("speed", "max", 1.0)


def test_a_torn_last_line_is_passed_over_and_one_in_the_middle_named(tmp_path: Path) -> None:
    study = optuna.create_study(storage=journal_storage(tmp_path / "j"))
    study.optimize(lambda t: t.suggest_float("lr", 0, 1), n_trials=3)
    whole = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(whole[:-20])
    assert len(read_past(tmp_path / "j", Asked()).trials) == 2
    lines = whole.splitlines(keepends=True)
    (tmp_path / "j").write_bytes(b"".join([*lines[:3], b"{half\n", *lines[3:]]))
    with pytest.raises(SpecError, match="j, line 4: no JSON"):
        read_past(tmp_path / "j", Asked())
    (tmp_path / "x.db").write_bytes(b"SQLite format 3\x00" + b"\x07" * 5000)
    with pytest.raises(SpecError, match=r"x\.db cannot be read as a storage of Optuna's"):
        read_past(tmp_path / "x.db", Asked())
    sqlite3.connect(tmp_path / "y.db").executescript("CREATE TABLE t (a)")
    with pytest.raises(SpecError, match="no such table: studies"):
        read_past(tmp_path / "y.db", Asked())


# ---- Ray Tune


class Bomb:
    """Says that it was unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("unpickled",)


def experiment(folder: Path) -> Path:
    """An experiment as Ray Tune leaves it, but for its pickles, which leave a mark where one is loaded."""
    states = []
    for number, (config, curve) in enumerate(zip(CONFIGS, CURVES, strict=True)):
        trial = folder / f"train_{number:05d}"
        trial.mkdir(parents=True)
        nested = {"opt": {"lr": config["lr"]}, "act": config["act"], "fn": f"<function f at {number}>"}
        (trial / "params.json").write_text(json.dumps(nested))
        (trial / "params.pkl").write_bytes(pickle.dumps(Bomb()))
        lines = [
            {
                "eval": {"loss": v},
                "training_iteration": i,
                "trial_id": f"t{number}",
                "config": nested,
                "done": i == 4,
            }
            for i, v in enumerate(curve, 1)
        ]
        (trial / "result.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
        status = {"trial_id": f"t{number}", "status": "ERROR" if number == 1 else "TERMINATED"}
        states.append([json.dumps({**status, "placement_group_factory": pickle.dumps(Bomb()).hex()}), "{}"])
    (folder / "tuner.pkl").write_bytes(pickle.dumps(Bomb()))
    state = {"trial_data": states, "runner_data": {"x": pickle.dumps(Bomb()).hex()}, "stats": {}}
    (folder / "experiment_state-2026-01-01_00-00-00.json").write_text(json.dumps(state))
    return folder


def test_an_experiment_of_ray_tune_is_read_and_nothing_in_it_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, memory = str(experiment(tmp_path / "exp")), ("--memory", str(tmp_path / "m"))
    assert "not which is to be improved: --metric NAME (eval/loss)" in refusal(capsys, folder, *memory)
    metric = ("--metric", "eval/loss")
    assert "--mode min or --mode max" in refusal(capsys, folder, *memory, *metric)
    said = refusal(capsys, folder, *memory, *metric, "--mode", "min")
    assert "it notes no search space; say the space of the new search: --spec FILE" in said
    said = refusal(capsys, folder, *memory, *metric, "--spec", spec)
    assert "0 trials can be used" in said
    assert "16 trials are left out: it has no lr (--rename THEIRS=lr, or --constant lr=VALUE)" in said
    arguments = [folder, *memory, *metric, "--spec", spec, "--rename", "opt/lr=lr"]
    assert main(["memory", "import", *arguments]) == 0
    record = imported(tmp_path / "m")
    assert (record.metric, record.mode, record.iterations) == ("loss", "min", [4] * 16)
    assert list(record.configs) == CONFIGS
    assert math.isnan(record.values[1]), "the trial that failed"
    assert [v for i, v in enumerate(record.values) if i != 1] == [
        c[-1] for i, c in enumerate(CURVES) if i != 1
    ]
    assert [v for _, v in record.curves[0]] == CURVES[0]
    assert not (tmp_path / "unpickled").exists()


def test_a_trial_whose_hyper_parameters_changed_on_the_way_is_left_out(tmp_path: Path) -> None:
    folder = experiment(tmp_path / "exp")
    file = folder / "train_00000" / "result.json"
    last = json.loads(file.read_text().splitlines()[-1])
    last["config"]["opt"]["lr"] = 0.5
    with file.open("a") as lines:
        lines.write(json.dumps({**last, "training_iteration": 5}) + "\n")
    past = read_past(folder, Asked(metric="eval/loss"))
    assert past.left_out == {"its hyper-parameters changed while it trained": 1}
    assert len(past.trials) == 15


def test_what_rays_own_logger_writes_is_read(ray_cluster: None, tmp_path: Path) -> None:
    from ray.train._internal.storage import StorageContext
    from ray.tune.experiment import Trial
    from ray.tune.logger import JsonLoggerCallback

    storage = StorageContext(storage_path=str(tmp_path), experiment_dir_name="exp", trial_dir_name="t0")
    trial = Trial("train", stub=True, config={"lr": 0.25, "f": len}, trial_id="a0", storage=storage)
    trial.init_local_path()
    logger = JsonLoggerCallback()
    logger.log_trial_start(trial)
    for iteration in (1, 2):
        report = {"loss": 1 / iteration, "training_iteration": iteration, "trial_id": "a0"}
        logger.log_trial_result(iteration, trial, {**report, "config": trial.config})
    logger.log_trial_end(trial)
    folder = Path(trial.local_path or "").parent
    state = {"trial_data": [trial.get_json_state()]}
    (folder / "experiment_state-2026-01-01_00-00-00.json").write_text(json.dumps(state))
    past = read_past(folder, Asked(metric="loss"))
    assert past.trials[0].config["lr"] == 0.25
    assert past.trials[0].curve == ((1.0, 1.0), (2.0, 0.5))


# ---- W&B


def wandb_lines(raw: bool = False) -> list[dict[str, Any]]:
    runs = []
    for number, (config, curve) in enumerate(zip(CONFIGS, CURVES, strict=True)):
        given = {n: {"value": v, "desc": None} for n, v in config.items()} if raw else config
        history = [{"_step": i, "val": {"loss": v}, "other": 1} for i, v in enumerate(curve)]
        summary = {"val": {"loss": curve[-1]}, "_runtime": 3}
        state = "crashed" if number == 1 else "running" if number == 2 else "finished"
        one = {
            "id": f"r{number}",
            "state": state,
            "config": {**given, "_wandb": {"v": 1}},
            "summary": summary,
        }
        runs.append({**one, "history": history})
    return runs


@pytest.mark.parametrize("how", ["lines", "parquet", "parquet of texts"])
def test_runs_of_wandb_are_read_from_json_lines_and_parquet(
    how: str, tmp_path: Path, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, file = wandb_lines(raw=how == "lines"), tmp_path / "project.data"
    if how == "lines":
        file.write_text("".join(json.dumps(run) + "\n" for run in runs))
    elif how == "parquet":
        pq.write_table(pa.Table.from_pylist(runs), file)
    else:
        texts = [{n: v if n in ("id", "state") else json.dumps(v) for n, v in run.items()} for run in runs]
        pq.write_table(pa.Table.from_pylist(texts), file)
    memory = ("--memory", str(tmp_path / "m"), "--spec", spec)
    assert "--metric: unknown metric 'loss'" in refusal(capsys, str(file), *memory)
    metric = ("--metric", "val/loss")
    assert "--steps-per-iteration" in refusal(capsys, str(file), *memory, *metric)
    arguments = [str(file), *memory, *metric, "--steps-per-iteration", "2"]
    assert main(["memory", "import", *arguments]) == 0
    assert "1 trial is left out: not ended" in capsys.readouterr().err
    record = imported(tmp_path / "m")
    kept = [i for i in range(16) if i != 2]
    assert list(record.configs) == [CONFIGS[i] for i in kept]
    assert record.iterations == [2] * 15, "four steps, two of which make an iteration"
    assert math.isnan(record.values[1])
    assert record.curves[0] == ((1, CURVES[0][1]), (2, CURVES[0][3]))


def test_runs_are_fetched_from_wandbs_server_by_a_process_that_alone_has_the_key(
    server: StandIn, tmp_path: Path, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in wandb_lines():
        given = {n: {"value": v} for n, v in run["config"].items()}
        flat = [{"_step": row["_step"], "loss": row["val"]["loss"]} for row in run["history"]]
        server.runs[run["id"]] = {
            "name": run["id"],
            "project": "demo",
            "entity": "team",
            "state": run["state"],
            "config": json.dumps(given),
            "summary": json.dumps({"loss": run["summary"]["val"]["loss"]}),
        }
        server.history[run["id"]] = [json.dumps(row) for row in flat]
    memory = ("--memory", str(tmp_path / "m"), "--spec", spec, "--steps-per-iteration", "1")
    assert main(["memory", "import", "wandb:team/demo", *memory]) == 0
    record = imported(tmp_path / "m")
    assert (record.task, record.run, len(record.configs)) == ("demo", "wandb:team/demo", 15)
    assert [v for _, v in record.curves[0]] == CURVES[0]
    assert CANARY not in "".join(capsys.readouterr())
    assert not any(CANARY.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert "names no project of W&B" in refusal(capsys, "wandb:demo", *memory)
    server.fault = "401"
    assert "the runs of team/demo were not fetched" in refusal(capsys, "wandb:team/demo", *memory)


# ---- tables


def write_csv(file: Path, rows: list[dict[str, Any]]) -> str:
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
    return str(file)


def test_a_table_of_a_row_a_trial_is_read_with_names_units_and_constants_as_they_are_said(
    tmp_path: Path, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"lr_milli": c["lr"] * 1000, "error": v[-1], "who": "me"}
        for c, v in zip(CONFIGS, CURVES, strict=True)
    ]
    file = write_csv(tmp_path / "t.csv", rows)
    arguments = [file, "--memory", str(tmp_path / "m"), "--spec", spec, "--metric", "error"]
    names = ["--rename", "lr_milli=lr", "--scale", "lr=0.001", "--constant", "act=relu"]
    assert main(["memory", "import", *arguments, *names]) == 0
    assert "note: not in the space, and so not remembered: who" in capsys.readouterr().err
    record = imported(tmp_path / "m")
    assert [c["lr"] for c in record.configs] == pytest.approx([c["lr"] for c in CONFIGS])
    assert {c["act"] for c in record.configs} == {"relu"}
    assert record.curves == ()
    wrong = refusal(capsys, *arguments, *names[:2], "--scale", "lrr=2")
    assert "--scale: 'lrr' is no hyper-parameter of the space (lr, act)" in wrong
    assert "--scale 'lr' is not NAME=VALUE" in refusal(capsys, *arguments, "--scale", "lr")
    wrong = refusal(capsys, *arguments, *names[:2], *names[4:])
    assert "is outside [1e-4, 1.0]" in wrong, "milli are no units, which nobody guesses"


def test_a_table_of_a_row_a_report_needs_the_trial_and_what_counts(
    tmp_path: Path, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"name": f"t{n}", "epoch": i, **CONFIGS[n], "loss": v}
        for n, curve in enumerate(CURVES)
        for i, v in enumerate(curve, 1)
    ]
    file = write_csv(tmp_path / "t.csv", rows)
    arguments = [file, "--memory", str(tmp_path / "m"), "--spec", spec, "--trial", "name"]
    assert "which column counts how far it was trained: --iteration COLUMN" in refusal(capsys, *arguments)
    arguments += ["--iteration", "epoch"]
    assert "learning curves over 'epoch'" in refusal(capsys, *arguments)
    assert main(["memory", "import", *arguments, "--steps-per-iteration", "1"]) == 0
    record = imported(tmp_path / "m")
    assert [[v for _, v in curve] for curve in record.curves] == CURVES
    assert list(record.configs) == CONFIGS


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "not which is to be improved"),
        (b"a,b\n1,2,3\n", "row 2: more cells than the 2 columns"),
        (b"loss,lr\n", "nothing in it"),
        (b"\xff\xfe\x00", "cannot be read as CSV"),
        (b'{"x": 1}\n', "neither a journal of Optuna's"),
        (b"PAR1 and no more", "cannot be read as Parquet"),
        (b'{"config": 3, "summary": {"loss": 1}}\n', "config 3 is no mapping"),
        (b'{"config": {}, "summary": "{"}\n', "summary is no JSON"),
    ],
)
def test_files_of_other_kinds_are_refused_with_words(content: bytes, text: str, tmp_path: Path) -> None:
    file = tmp_path / "given"
    file.write_bytes(content)
    asked = Asked() if not content else Asked(metric="a" if content.startswith(b"a") else "loss")
    with pytest.raises(SpecError, match=text):
        read_past(file, asked)


def test_a_kind_that_is_not_meant_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("loss,lr\n1,2\n")
    with pytest.raises(SpecError, match=r"--from optuna: t\.csv is of the kind 'table'"):
        read_past(tmp_path / "t.csv", Asked(), "optuna")
    with pytest.raises(SpecError, match="did you mean 'wandb'"):
        read_past(tmp_path / "t.csv", Asked(), "wandbb")
    with pytest.raises(SpecError, match="no such file or folder"):
        read_past(tmp_path / "nothing", Asked())
    with pytest.raises(SpecError, match=r"holds no result\.json of a trial"):
        read_past(tmp_path, Asked())


def test_too_few_trials_are_no_record() -> None:
    past = Past("p", tuple(PastTrial(c, 1.0) for c in CONFIGS[:9]), "loss", "min", SPACE)
    with pytest.raises(RunError, match="9 trials can be used, and a record needs 10: it has 9 in all"):
        record_from(past, Meaning(), task="t", source="s", now=0.0)
    with pytest.raises(SpecError, match="cannot name a file"):
        record_from(past, Meaning(), task="../t", source="s", now=0.0)


# ---- curves


def slow_losses(curves: list[list[tuple[int, float]]], ends: list[float], lengths: list[int]) -> list[float]:
    """How many others are better, pair by pair."""

    def at(trial: int, iteration: int) -> float:
        if not curves[trial] or lengths[trial] == iteration:
            return ends[trial]
        before = [v for i, v in curves[trial] if i <= iteration]
        return before[-1] if before else curves[trial][0][1]

    found = []
    for mine in range(len(ends)):
        lost = 0.0
        for other in range(len(ends)):
            iteration = min(lengths[mine], lengths[other])
            a, b = at(mine, iteration), at(other, iteration)
            lost += 0.0 if other == mine else 0.5 if a == b else float(b < a)
        found.append(lost)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_losses_are_those_of_every_pair(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 8, 30).tolist()
    curves = [[(i, float(rng.integers(0, 9))) for i in range(1, n + 1)] for n in lengths]
    ends = [curve[-1][1] for curve in curves]
    assert losses(curves, lengths, np.array(ends), "min").tolist() == slow_losses(curves, ends, lengths)


def test_with_curves_a_trial_that_was_stopped_while_good_is_not_behind_a_longer_bad_one() -> None:
    given: dict[str, Any] = {
        "task": "t",
        "run": "r",
        "metric": "loss",
        "mode": "min",
        "space": SPACE.to_dict(),
        "configs": CONFIGS[:2],
        "iterations": [2, 4],
        "values": [0.1, 0.5],
        "at": 0.0,
    }
    assert Record(**given).scores.tolist() == [1, 0], (
        "without curves the longer one is taken to be the better"
    )
    curves = [[(1, 0.3), (2, 0.1)], [(1, 0.9), (2, 0.8), (4, 0.5)]]
    assert Record(**given, curves=curves).scores.tolist() == [0, 1]


def test_curves_come_back_from_a_memory_and_an_imported_task_is_begun_from(tmp_path: Path) -> None:
    trials = tuple(PastTrial(c, v[-1], tuple(enumerate(v, 1))) for c, v in zip(CONFIGS, CURVES, strict=True))
    past = Past("p", trials, "loss", "min", SPACE, counts="iterations")
    made = record_from(past, Meaning(), task="t", source="s", now=0.0).record
    Memory(tmp_path).add(made)
    back = imported(tmp_path)
    assert [list(map(tuple, c)) for c in back.curves] == [list(c) for c in made.curves]
    assert back.scores.tolist() == made.scores.tolist()
    found = recall([back], SPACE, "loss", "min")
    best = min(zip(CURVES, CONFIGS, strict=True), key=lambda pair: pair[0][-1])[1]
    assert found.transfer.portfolio[0]["config"] == best
