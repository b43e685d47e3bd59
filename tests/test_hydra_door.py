"""An application under `@hydra.main` is searched as it is: its jobs are trials, its overrides the space."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hydra.core.singleton import Singleton
from hydra.errors import HydraException

import raysearch
from hydra_plugins.raysearch_sweeper import RaysearchSweeperConf
from raysearch.errors import SpecError
from raysearch.integrations.hydra import Settings
from raysearch.integrations.hydra_space import read_overrides
from raysearch.run import own_command

ROOT = Path(__file__).parents[1]
APPLICATION = """
import json, os, signal, sys
from pathlib import Path
import hydra, raysearch
from hydra.core.hydra_config import HydraConfig

@hydra.main(config_path="conf", config_name="config", version_base=None)
def main(cfg):
    job = HydraConfig.get()
    here = Path(job.runtime.cwd)
    seen = {"num": job.job.num, "out": job.runtime.output_dir, "cwd": os.getcwd(), "pid": os.getpid(),
            "cfg": [cfg.lr, cfg.model.size, cfg.epochs], "task": list(job.overrides.task)}
    with open(here / "seen.jsonl", "a") as log:
        log.write(json.dumps(seen) + "\\n")
    if cfg.dies_in == job.job.num and not (here / "died").exists():
        (here / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    value = abs(cfg.lr - 0.1) + cfg.model.size
    for epoch in range(cfg.epochs):
        raysearch.report(value=value + 1 / (epoch + 1))
    return value

if __name__ == "__main__":
    main()
"""
SWEEP = (
    *("--multirun", "hydra/sweeper=raysearch", "hydra.sweep.dir=jobs/${now:%f}"),
    *("model=glob(*)", "lr=tag(log, interval(0.01, 1))"),
)


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """The folder of an application with a config group."""
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "train.py").write_text(APPLICATION)
    config = "defaults: [model: small, _self_]\nlr: 1.0\nepochs: 0\ndies_in: -1\n"
    (tmp_path / "conf" / "config.yaml").write_text(config)
    for name, size in {"small": 1, "large": 2}.items():
        (tmp_path / "conf" / "model" / f"{name}.yaml").write_text(f"size: {size}\n")
    return tmp_path


def multirun(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the application in a process of its own."""
    command = [sys.executable, "train.py", *SWEEP, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


Run = Callable[..., tuple[Any, str]]


@pytest.fixture
def run_here(
    application: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Runs the application in this process: (exit code, what it printed on stderr).

    Hydra and the log are as before after the test.
    """

    def run(*arguments: str) -> tuple[Any, str]:
        monkeypatch.setattr(sys, "argv", ["train.py", *SWEEP, "hydra.sweeper.executor=inline", *arguments])
        capsys.readouterr()
        try:
            runpy.run_path("train.py", run_name="__main__")
        except SystemExit as end:
            return end.code, capsys.readouterr().err
        return 0, capsys.readouterr().err

    monkeypatch.chdir(application)
    state, log = Singleton.get_state(), logging.getLogger()
    handlers, level = [*log.handlers], log.level
    yield run
    Singleton.set_state(state)
    log.handlers, log.level = handlers, level


def seen_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "seen.jsonl").read_text().splitlines()]


def test_the_grammar_of_hydra_is_a_space() -> None:
    arguments = {
        "lr=tag(log, interval(1e-5, 0.1))": {"loguniform": [1e-5, 0.1]},
        "width=tag(log, int(interval(1, 64)))": {"lograndint": [1, 64]},
        "layers=int(interval(1, 4))": {"randint": [1, 4]},
        "dropout=interval(0, 1)": {"uniform": [0.0, 1.0]},
        "depth=range(5, 1, -1)": {"randint": [2, 5]},
        "rate=range(0, 1, 0.25)": {"ordinal": [0.0, 0.25, 0.5, 0.75]},
        "steps=shuffle(range(1, 9, 4))": {"ordinal": [1, 5]},
        "optimizer.name=sort(sgd, adam)": {"choice": ["adam", "sgd"]},
        "db/engine=choice(a, b)": {"choice": ["a", "b"]},
        "+new=null,true,1.5": {"choice": ["null", True, 1.5]},
        "sizes='1,2',[3,4]": {"choice": ["1,2", "[3,4]"]},
    }
    found = read_overrides([*arguments, "one=choice(3)", "~gone"], {"lr": "1,2", "epochs": 3, "no": None})
    names = [one.lstrip("+").partition("=")[0].replace("/", ".") for one in arguments]
    assert found.space.to_dict() == dict(zip(names, arguments.values(), strict=True))
    assert found.fixed == ("epochs=3", "no=null", "one=3", "~gone")
    swept = found.swept
    assert swept["lr"].override(1e-5) == "lr=1e-05"
    assert swept["db.engine"].override("b") == "db/engine=b"
    assert [swept["new"].override(value) for value in ("null", True)] == ["+new=null", "+new=True"]
    assert [swept["sizes"].override(value) for value in ("1,2", "[3,4]")] == ["sizes='1,2'", "sizes=[3,4]"]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("lr=tag(log, interval(0, 1))", "lr=tag.*no logarithm"),
        ("lr=interval(2, 1)", "low = 2.0 is above high = 1.0"),
        ("lr=tag(fast, choice(1, 2))", "unknown tag 'fast'; known: log"),
        ("lr=tag(log, choice(1, 2))", "the tag log is for an interval"),
        ("lr=range(0, 1, 1e-6)", "more than 10,000 values; write interval"),
        ("lr=range(3, 3)", "has no value"),
        ("lr=1,1.0", "a value is listed twice"),
        ("lr=3", "nothing is swept; give at least one key"),
    ],
)
def test_a_sweep_that_cannot_be_searched_is_refused_in_words(argument: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        read_overrides([argument], {})


def test_two_keys_that_would_be_one_name_are_refused() -> None:
    with pytest.raises(SpecError, match="db/engine is swept too"):
        read_overrides(["db/engine=a,b", "db.engine=1,2"], {})


def test_what_hydra_cannot_parse_is_hydra_s_error() -> None:
    with pytest.raises(HydraException, match="interval"):
        read_overrides(["lr=interval(1"], {})


def test_the_settings_of_optuna_s_sweeper_are_known() -> None:
    found = Settings.of({"n_trials": 5, "n_jobs": 2, "direction": "maximize", "study_name": "s"})
    assert (found.samples, found.workers, found.mode, found.name) == (5, 2, "max", "s")
    with pytest.raises(SpecError, match="n_trials and samples say the same"):
        Settings.of({"n_trials": 5, "samples": 5})
    with pytest.raises(SpecError, match="unknown direction 'min'; known: maximize, minimize"):
        Settings.of({"direction": "min"})


def test_the_page_s_configuration_is_one_of_the_sweeper() -> None:
    page = (ROOT / "notebooks" / "from_other_frameworks.md").read_text()
    text = page.partition("```\n# conf/config.yaml\n")[2].partition("```")[0]
    settings = yaml.safe_load(text)["hydra"]["sweeper"]
    assert set(settings) <= {field.name for field in dataclasses.fields(RaysearchSweeperConf)}
    params = {**settings.pop("params"), "model": "mlp,cnn"}
    assert read_overrides([], params).space.to_dict() == {
        "lr": {"loguniform": [1e-5, 0.1]},
        "model": {"choice": ["mlp", "cnn"]},
    }


def test_a_killed_sweep_goes_on_and_its_jobs_are_as_hydra_has_them(application: Path, run_here: Run) -> None:
    again = ("hydra.sweeper.n_trials=5", "hydra.sweeper.resume=runs/first")
    first = ("hydra.sweeper.n_trials=5", "hydra.sweeper.name=first", "hydra.sweeper.executor=inline")
    killed = multirun(application, *first, "dies_in=3")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    code, said = run_here(*again)
    assert (code, "its jobs were given ['dies_in=3'], and now []" in said, "Traceback" in said) == (
        1,
        True,
        False,
    )
    code, said = run_here(*again, "dies_in=3")
    assert code == 0, said
    seen = seen_in(application)
    assert [one["num"] for one in seen] == [0, 1, 2, 3, 3, 4]
    results = raysearch.load(application / "runs" / "first")
    configs = results.configs_by_trial()
    for one in seen:
        config = configs[one["num"]]
        assert one["cfg"] == [config["lr"], {"small": 1, "large": 2}[config["model"]], 0]
        assert one["task"] == ["dies_in=3", f"model={config['model']}", f"lr={config['lr']}"]
        assert one["cwd"] == str(application)
        assert Path(one["out"]).name == str(one["num"])
        assert Path(one["out"], ".hydra", "config.yaml").exists()
    (jobs,) = {Path(one["out"]).parent for one in seen}
    best = yaml.safe_load((jobs / "optimization_results.yaml").read_text())
    assert best["best_value"] == min(results.trials().value) == results.best.value
    assert best["best_params"] == {name: results.best.config[name] for name in ("lr", "model")}
    assert best["run"] == str(application / "runs" / "first")
    assert [one.name for one in (application / "jobs").iterdir()] == [jobs.name]


def resumed(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`raysearch resume` of the run, in another folder than the sweep's."""
    command = [sys.executable, "-m", "raysearch.cli", "resume", str(folder / "runs" / "first"), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)


def test_raysearch_resume_starts_the_sweeps_own_command_again(application: Path) -> None:
    first = ("hydra.sweeper.n_trials=4", "hydra.sweeper.name=first", "hydra.sweeper.executor=inline")
    assert multirun(application, *first, "dies_in=2").returncode == -signal.SIGKILL
    refused = resumed(application, "--samples", "9")
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
    (command,) = re.findall(r"or type: (cd .*)", refused.stderr)
    assert command.startswith(f"cd {application} && {sys.executable} train.py --multirun ")
    assert command.endswith(f"dies_in=2 hydra.sweeper.resume={application}/runs/first")
    done = resumed(application)
    assert done.returncode == 0, done.stderr
    assert f"its command goes on with it: {command}" in done.stderr
    assert [one["num"] for one in seen_in(application)] == [0, 1, 2, 2, 3]
    (jobs,) = (application / "jobs").iterdir()
    (jobs / "raysearch-command.json").unlink()
    complete = resumed(application)
    assert (complete.returncode, "The run is complete" in complete.stdout) == (0, True)
    larger = resumed(application, "--samples", "9")
    assert larger.returncode == 2
    assert "type it again, in the same folder, with hydra.sweeper.resume=" in larger.stderr


def test_a_sweep_that_a_module_began_keeps_that_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/app/__main__.py", "lr=1,2", "hydra.sweeper.resume=runs/old"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", SimpleNamespace(name="app.__main__"))
    own = own_command.here()
    assert own.words == (sys.executable, "-m", "app", "lr=1,2")
    assert own.going_on(Path("/r s")).words[-1] == "hydra.sweeper.resume=/r s"
    assert str(own.going_on(Path("/r s"))).endswith("'hydra.sweeper.resume=/r s'")


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("model=small,lrge", "Could not find 'model/lrge'"),
        ("rate=1,2", "Could not override 'rate'"),
        ("hydra.sweeper.mode=lowest", "mode"),
        ("hydra.sweeper.spec={quotaa: 1}", "did you mean 'quota'"),
        ("hydra.sweeper.spec={seed: 1}", "give it as hydra.sweeper.seed"),
        ("hydra.sweeper.samples=0", "samples"),
        ("hydra.sweeper.resume=runs/none", "runs/none: there is no such folder"),
    ],
)
def test_a_mistake_is_said_before_anything_starts(
    argument: str, words: str, application: Path, run_here: Run
) -> None:
    code, said = run_here(argument)
    assert (code, words in said, "Traceback" in said) == (1, True, False), said
    assert {one.name for one in application.iterdir()} == {"conf", "train.py"}


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_jobs_on_workers_are_stopped_early_and_need_no_batch(application: Path) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    settings = (f"hydra.sweeper.address={address}", "hydra.sweeper.workers={count: 2, cpu: 1}", "epochs=9")
    length = ("hydra.sweeper.max_iterations=9", "hydra.sweeper.n_trials=9", "hydra.sweeper.name=wide")
    done = multirun(application, *settings, *length)
    assert done.returncode == 0, done.stderr
    trials = raysearch.load(application / "runs" / "wide").trials()
    assert (len(trials), min(trials.iterations) < max(trials.iterations)) == (9, True)
    seen = seen_in(application)
    assert {one["cwd"] for one in seen} == {str(application)}
    assert len({one["out"] for one in seen}) == 9
    assert {one["pid"] for one in seen}.isdisjoint({os.getpid()})
