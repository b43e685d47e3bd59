"""Scripts as they are: one process a trial, whose reports and printed lines are iterations."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import sys
import textwrap
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import Children, wait_for
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

import raysearch
from raysearch.errors import SpecError, TrainableError
from raysearch.results import Results
from raysearch.spec import load_spec, make_spec
from raysearch.spec.program import Program, read_program
from raysearch.spec.trainables import can_pause, load_trainable
from raysearch.worker.script.command import expanded
from raysearch.worker.script.lines import numbers_in

LENGTH = 9
# Gradient descent on (w - 1)^2 with momentum: its state is in its checkpoint, its learning rate from outside.
DESCENT = """
    import json, os, sys
    lr = float(sys.argv[1].split("=")[1])
    folder = os.environ.get("RAYSEARCH_CHECKPOINT_DIR", ".")
    file = os.path.join(folder, "state.json")
    w, v, epoch = json.load(open(file)) if os.path.exists(file) else (0.0, 0.0, 0)
    while epoch < 50:
        v = 0.5 * v - lr * 2 * (w - 1)
        w, epoch = w + v, epoch + 1
        json.dump([w, v, epoch], open(file, "w"))
        REPORT
"""
REPORTS = {
    "report": 'import raysearch; raysearch.report({"loss": (w - 1) ** 2})',
    "json": 'print(json.dumps({"loss": (w - 1) ** 2}))',
    "lines": 'print(f"epoch {epoch}: loss={(w - 1) ** 2} (lr {lr})")',
}


def losses(rates: list[float]) -> list[float]:
    """What DESCENT's losses are under these learning rates."""
    w = v = 0.0
    found = []
    for lr in rates:
        v = 0.5 * v - lr * 2 * (w - 1)
        w += v
        found.append((w - 1) ** 2)
    return found


def script(folder: Path, text: str, name: str = "train.py") -> Path:
    file = folder / name
    file.write_text(textwrap.dedent(text))
    return file


def searched(trainable: Any, storage: Path, strategy: Any = None, **more: Any) -> Results:
    strategy = strategy or raysearch.Caviar(samples=1, max_iterations=3, min_iterations=3, finish=None)
    given = {"space": {"lr": {"loguniform": [1e-3, 1e-1]}}, "metric": "loss", "mode": "min", **more}
    quiet = {"storage": str(storage), "executor": "inline", "say": lambda line: None}
    return raysearch.search(trainable, strategy=strategy, **given, **quiet)


def check(results: Results) -> None:
    """Every trial's curve is that of the descent under the rates that it was given."""
    curves = results.curves()
    for trial in results.trials().trial:
        path = results.lineage(trial)
        lengths = (path.reached - path.start).astype(int)
        pairs = zip(results.configs(trial), lengths, strict=True)
        rates = [config["lr"] for config, length in pairs for _ in range(length)]
        own = [curves[curves.segment == s].sort_values("iteration").loss.tolist() for s in path.id]
        assert [*itertools.chain(*own)] == pytest.approx(losses(rates), rel=1e-9)


@pytest.mark.parametrize("way", REPORTS)
@pytest.mark.parametrize("variant", ["stopping", "promotion"])
def test_a_script_trains_as_it_does_alone_wherever_it_is_cut(
    way: str, variant: str, tmp_path: Path, storage: Path
) -> None:
    file = script(tmp_path, DESCENT.replace("REPORT", REPORTS[way]))
    strategy = raysearch.Caviar(samples=4, max_iterations=LENGTH, variant=variant, finish=None)
    program = {"program": str(file), "metrics": {"loss": "loss=(.*)"} if way == "lines" else {}}
    results = searched(program, storage, strategy)
    trials = results.trials()
    assert not trials.error.any()
    assert min(trials.iterations) < max(trials.iterations) == LENGTH
    check(results)


def test_a_script_is_raised_by_panda_and_gets_the_nudged_values(tmp_path: Path, storage: Path) -> None:
    file = script(tmp_path, DESCENT.replace("REPORT", REPORTS["report"]))
    strategy = raysearch.Panda(max_iterations=24, interval=4, nudge=["lr"])
    results = searched({"program": str(file)}, storage, strategy, baseline={"lr": 1e-3})
    assert len({config["lr"] for config in results.configs(results.best.trial)}) > 1
    check(results)


def test_a_run_of_a_script_is_resumed_from_its_spec_alone(tmp_path: Path, storage: Path) -> None:
    file = script(tmp_path, DESCENT.replace("REPORT", REPORTS["report"]))
    strategy = raysearch.Caviar(samples=3, max_iterations=LENGTH, variant="promotion", finish=None)
    before = searched({"program": str(file)}, storage, strategy, budget={"trials": 1})
    spec = load_spec(before.path / "spec.yaml", {"budget": {}})
    assert spec.trainable.program == str(file)
    how = raysearch.How("inline", say=lambda line: None)
    results = raysearch.resume(before.path, how, edits=lambda _: spec)
    assert len(results.trials()) == 3
    check(results)


def test_a_wandb_sweep_file_runs_its_unchanged_script_and_nothing_is_sent(
    tmp_path: Path, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    script(
        tmp_path,
        """
        import argparse
        import wandb
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, default=0.1)
        parser.add_argument("--depth", type=int, default=1)
        args = parser.parse_args()
        with wandb.init(project="p", config={**vars(args), "own": 3, "lr": 77}) as run:
            assert wandb.config.lr == run.config["lr"] == args.lr, "what the sweep says goes first"
            assert dict(run.config) == {"lr": args.lr, "depth": args.depth, "own": 3}
            run.define_metric("val.loss", summary="min")
            w = v = 0.0
            for epoch in range(30):
                wandb.log({"batch_loss": 1.0, "image": wandb.Image([[1]])})
                v = 0.5 * v - wandb.config.lr * 2 * (w - 1)
                w += v
                run.log({"epoch": epoch}, commit=False)
                wandb.log({"val": {"loss": (w - 1) ** 2}})
        """,
    )
    sweep = script(
        tmp_path,
        """
        program: train.py
        method: bayes
        run_cap: 4
        metric: {name: val.loss, goal: minimize}
        early_terminate: {type: hyperband, min_iter: 1, max_iter: 9, eta: 3}
        parameters:
          lr: {distribution: log_uniform_values, min: 0.001, max: 0.1}
          depth: {value: 2}
        command: ["${env}", "${interpreter}", "${program}", "${args}"]
        """,
        "sweep.yaml",
    )
    spec = load_spec(sweep, {"storage": str(storage), "strategy.finish": None})
    results = raysearch.launch.launch(spec, raysearch.How("inline", say=lambda line: None))
    trials = results.trials()
    assert not trials.error.any()
    assert min(trials.iterations) < max(trials.iterations) == 9
    curves = results.curves()
    for trial in trials.itertuples():
        own = curves[curves.trial == trial.trial]
        rates = [results.configs_by_trial()[trial.trial]["lr"]] * len(own)
        assert own["val.loss"].tolist() == pytest.approx(losses(rates), rel=1e-9)
        assert own.epoch.tolist() == [*range(len(own))]
    assert not (tmp_path / "wandb").exists()


# ---- the call


def test_arguments_are_built_as_wandbs_own_agents_build_them() -> None:
    config = {"lr": 0.1, "flag": True, "off": False, "name": "a b", "none": None, "nested": {"x": [1]}}
    theirs = create_sweep_command_args({"args": {name: {"value": v} for name, v in config.items()}})
    for form, words in theirs.items():
        if form != "args_dict":
            program = Program("train.py", (f"${{{form}}}",))
            assert expanded(program, config, None, "file.json") == words


def test_a_call_holds_the_interpreter_the_trials_values_and_the_environments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATA", "/d")
    called = read_program({"program": "train.py", "args": "--rate ${lr} ${envvar:DATA} -n${max_iterations}"})
    assert expanded(called, {"lr": 0.1}, 27, "") == [
        sys.executable,
        "train.py",
        "--rate",
        "0.1",
        "/d",
        "-n27",
    ]
    assert expanded(Program("./run.sh"), {"lr": 0.1}, 27, "f") == ["./run.sh", "--lr=0.1"]
    by_env = read_program({"program": "./run.sh", "env": {"LR": "${lr}"}})
    assert expanded(by_env, {"lr": 0.1}, 27, "f") == ["./run.sh"]
    json_of = Program("t.py", ("${args_json_file}",))
    assert expanded(json_of, {"lr": 0.1}, 27, "/f.json") == ["/f.json"]


def test_values_reach_a_shell_script_by_its_environment(tmp_path: Path, storage: Path) -> None:
    text = '#!/bin/sh\necho "{\\"loss\\": $LR, \\"length\\": $RAYSEARCH_MAX_ITERATIONS}"\n'
    file = script(tmp_path, text, "train.sh")
    file.chmod(0o755)
    results = searched({"program": str(file), "env": {"LR": "${lr}"}}, storage)
    assert results.curves()[["loss", "length"]].values.tolist() == [[results.best.config["lr"], 3.0]]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"args": ["${lrr}"]}, r"trainable.command: \$\{lrr\}: unknown name 'lrr'; did you mean 'lr'"),
        ({"env": {"A": "${Lr}"}}, r"trainable.env.A: \$\{Lr\}: unknown name 'Lr'"),
        ({"metrics": {"loss": "loss=.*"}}, "trainable.metrics.loss: 'loss=.*' has no group for the value"),
        ({"metrics": {"loss": "(loss"}}, "trainable.metrics.loss: .* is no regular expression"),
        ({"arg": []}, "trainable.arg: unknown key 'arg'; did you mean 'args'"),
        ({"args": [], "command": ["a"]}, "trainable.args: stand in `command` already"),
    ],
)
def test_a_program_that_cannot_be_called_so_is_refused_with_its_place(form: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        make_spec(
            trainable={"program": "train.py", **form},
            space={"lr": {"uniform": [0.0, 1.0]}},
            metric="loss",
            mode="min",
            strategy={"name": "caviar", "samples": 1, "max_iterations": 1},
        )


def test_a_file_that_is_not_there_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(TrainableError, match=r"program: no file '.*none.py' \(looked in "):
        load_trainable(Program("none.py").anchored(tmp_path))


def test_a_script_shows_in_its_text_that_it_saves_checkpoints(tmp_path: Path) -> None:
    saves = script(tmp_path, 'import os\nos.environ["RAYSEARCH_CHECKPOINT_DIR"]\n')
    assert can_pause(load_trainable(Program(str(saves))))
    assert not can_pause(load_trainable(Program(str(script(tmp_path, "print(1)\n")))))


# ---- what it says


@pytest.mark.parametrize(
    ("line", "patterns", "found"),
    [
        ('{"a": 1, "b": {"c": 2.5}, "d": "x", "e": true}', {}, {"a": 1.0, "b/c": 2.5, "e": 1.0}),
        ('{"a": NaN}', {}, {"a": pytest.approx(float("nan"), nan_ok=True)}),
        ("{not json", {}, {}),
        ("INFO:root: {'a': '0.5', 'b': 2, 'c': 'x1'}", {}, {"a": 0.5, "b": 2.0}),
        ('continue? {"a": 1}', {}, {"a": 1.0}),
        ("{'a': 1} and more", {}, {}),
        ("{'a', 'b'}", {}, {}),
        ("[1, 2]", {}, {}),
        ("epoch 3 loss=0.5e-3 acc=.75", {"l": "loss=(.*)", "a": "acc=(.*)"}, {"l": 0.5e-3, "a": 0.75}),
        ("loss=inf", {"l": "loss=(.*)"}, {"l": float("inf")}),
        ("loss=-", {"l": "loss=(.*)"}, {}),
    ],
)
def test_metrics_are_found_in_printed_lines(line: str, patterns: Any, found: Any) -> None:
    assert numbers_in(line, patterns) == found


def test_a_report_outside_a_search_is_a_printed_line(capfd: pytest.CaptureFixture[str]) -> None:
    raysearch.report({"loss": 0.5}, epoch=1)
    assert json.loads(capfd.readouterr().out) == {"loss": 0.5, "epoch": 1}


def test_a_report_in_a_function_trainable_is_an_iteration(storage: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        for epoch in range(3):
            raysearch.report(loss=config["lr"] + epoch)

    results = searched(train, storage)
    assert len(results.curves()) == 3


# ---- how it ends


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise ValueError('bad rate')", "train.py ended with exit code 1: ValueError: bad rate"),
        (
            "import argparse; p = argparse.ArgumentParser(); p.add_argument('--lr', action='store_true')\n"
            "p.parse_args(['--lr=1'])",
            r"explicit argument '1'. A flag without a value: args: ..\$\{args_no_boolean_flags\}",
        ),
        ("import sys; sys.exit(7)", "train.py ended with exit code 7"),
        ("import os; os.kill(os.getpid(), 11)", r"train.py was ended by SIGSEGV \(Segmentation fault"),
        ("import os; os.kill(os.getpid(), 9)", r"SIGKILL \(Killed; often because memory ran out"),
        ("print('{\"acc\": 1}')", "never reported 'loss'; seen were: acc"),
        ("pass", "never reported 'loss'; no metric was seen"),
    ],
)
def test_an_end_without_the_metric_is_said_in_words(
    text: str, words: str, tmp_path: Path, storage: Path
) -> None:
    results = searched({"program": str(script(tmp_path, text)), "args": []}, storage, retries=0)
    (error,) = results.trials().error
    assert re.search(words, error), error


def test_all_that_a_script_printed_counts_however_long_its_lines_are(tmp_path: Path, storage: Path) -> None:
    text = """
        print('{"loss": 2.0}')
        print("x" * 300_000)
        print('{"loss": 1.0}', end="")
    """
    results = searched({"program": str(script(tmp_path, text)), "args": []}, storage)
    assert results.curves().loss.tolist() == [2.0, 1.0]


def test_a_script_that_does_not_read_its_checkpoint_fails_rather_than_counts(
    tmp_path: Path, storage: Path
) -> None:
    text = DESCENT.replace("if os.path.exists(file)", "if False").replace("REPORT", REPORTS["report"])
    strategy = raysearch.Caviar(samples=4, max_iterations=3, variant="promotion", finish=None)
    results = searched({"program": str(script(tmp_path, text))}, storage, strategy, retries=0)
    assert "read none of the files in RAYSEARCH_CHECKPOINT_DIR" in "".join(results.segments().error)


FAMILY = """
    import os, subprocess, sys, time
    child = subprocess.Popen(["sleep", "1000"])
    daemon = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    open(os.environ["PIDS"], "a").write(f"{os.getpid()} {child.pid} {daemon.pid} ")
    for i in range(1000):
        print('{"loss": %f}' % (1 / (i + 1)))
        time.sleep(SECONDS)
"""


def alive(file: Path) -> list[int]:
    """The processes that a FAMILY noted and that are not gone."""
    pids = map(int, file.read_text().split()) if file.exists() else ()
    running = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return [process.pid for process in running if process.status() != psutil.STATUS_ZOMBIE]


def test_what_a_script_started_ends_with_its_trial(
    tmp_path: Path, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    searched({"program": str(script(tmp_path, FAMILY.replace("SECONDS", "0"))), "args": []}, storage)
    assert len((tmp_path / "pids").read_text().split()) == 3
    assert alive(tmp_path / "pids") == []


def test_what_a_script_started_ends_with_a_worker_that_is_killed(
    tmp_path: Path, storage: Path, monkeypatch: pytest.MonkeyPatch, start_process: Children
) -> None:
    pids = tmp_path / "pids"
    monkeypatch.setenv("PIDS", str(pids))
    file = script(tmp_path, FAMILY.replace("SECONDS", "100"))
    spec = {
        "trainable": {"program": str(file), "args": []}, "space": {"lr": {"uniform": [0.0, 1.0]}},
        "metric": "loss", "mode": "min", "strategy": {"name": "caviar", "samples": 1, "max_iterations": 9},
        "storage": str(storage),
    }  # fmt: skip
    (tmp_path / "search.yaml").write_text(json.dumps(spec))
    command = ("-m", "raysearch.cli", "launch", tmp_path / "search.yaml", "--executor", "inline")
    worker = start_process(sys.executable, *command)
    worker.wait_for(lambda: len(alive(pids)) == 3)
    os.kill(worker.pid, signal.SIGKILL)
    wait_for(lambda: not alive(pids), saw=lambda: alive(pids))
