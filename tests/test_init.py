"""`raysearch init` writes a search that runs where it was written."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from raysearch.cli import main
from raysearch.launch import How, launch
from raysearch.launch_checks import check
from raysearch.spec import load_spec

SCRIPT = """
import argparse, json
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--layers", type=int, default=2)
parser.add_argument("--kind", choices=["a", "b"], default="a")
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
for epoch in range(args.epochs):
    print(json.dumps({"train_loss": 1.0, "val_loss": args.lr * args.layers / (epoch + 1)}))
"""
SWEEP = "program: train.py\nmetric: {name: val_loss}\nparameters: {lr: {min: 0.001, max: 0.1}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def searched(folder: Path) -> Any:
    size = {"strategy.samples": 2, "strategy.max_iterations": 2, "strategy.finish": None}
    spec = load_spec(folder / "search.yaml", {**size, "storage": str(folder / "runs")})
    results = launch(spec, How("inline", say=lambda line: None))
    assert not results.trials(finals=True).error.any()
    return results


def test_a_folder_with_nothing_gets_a_plain_loop_that_runs(folder: Path) -> None:
    assert main(["init"]) == 0
    assert sorted(file.name for file in folder.iterdir()) == ["my_model.py", "search.yaml"]
    assert searched(folder).metric == "val_loss"


def test_each_default_lies_in_the_domain_that_is_written_for_it(folder: Path) -> None:
    numbers = {"a": -1.0, "b": -2, "c": -1, "d": 0, "e": 0.0, "f": 1.5, "g": 0.9, "h": -3e-5, "i": 7}
    lines = [f'parser.add_argument("--{name}", default={value})' for name, value in numbers.items()]
    (folder / "train.py").write_text(
        "\n".join(["import argparse", "parser = argparse.ArgumentParser()", *lines])
    )
    assert main(["init"]) == 0
    spec = load_spec(folder / "search.yaml")
    assert spec.baseline == numbers
    assert spec.space.why_not(spec.baseline) is None


def test_a_script_is_searched_around_its_own_defaults(folder: Path) -> None:
    (folder / "train.py").write_text(SCRIPT)
    assert main(["init"]) == 0
    spec = load_spec(folder / "search.yaml")
    assert spec.space.to_dict() == {
        "lr": {"loguniform": [1e-4, 1e-2]},
        "layers": {"randint": [1, 4]},
        "kind": {"choice": ["a", "b"]},
    }
    assert spec.baseline == {"lr": 1e-3, "layers": 2, "kind": "a"}
    assert (spec.metric, spec.seed_as) == ("val_loss", "seed")
    assert max(searched(folder).trials().iterations) == 2


SUBCOMMANDS = """
import argparse, json
parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
subs = parser.add_subparsers(dest="command", required=True)
tests = subs.add_parser("evaluate")
tests.add_argument("--threshold", type=float, default=0.5)
tests.add_argument("--share", type=float, default=0.1)
fit = subs.add_parser("fit")
group = fit.add_argument_group("optimizer")
group.add_argument("--lr", type=float, default=0.1)
args = parser.parse_args()
for epoch in range(2):
    print(json.dumps({"val_loss": args.lr + args.seed % 7}), flush=True)
"""


def test_of_a_script_with_subcommands_the_one_that_trains_is_called(folder: Path) -> None:
    (folder / "train.py").write_text(SUBCOMMANDS)
    assert main(["init"]) == 0
    spec = load_spec(folder / "search.yaml")
    assert spec.space.to_dict() == {"lr": {"loguniform": [0.01, 1.0]}}
    line = 'args: ["--seed=${seed}", fit, "--lr=${lr}"]   # its subcommand fit; there is evaluate too'
    assert line in (folder / "search.yaml").read_text().splitlines()
    assert {*searched(folder).trials().status} == {"completed"}


@pytest.mark.parametrize(
    ("logs", "metric", "mode"),
    [
        ('print(json.dumps({"epoch": 1, "val/acc@1": 0.5}))', "val/acc@1", "max"),
        ('print({"train_loss": 1, "validAccuracy": 2, "lossless": 3})', "validAccuracy", "max"),
        ('wandb.log({"val": {"loss": 1, "acc": 2}})', "val/loss", "min"),
        ('metrics = {}\nmetrics["test err"] = 1\nwandb.log(metrics)', "test err", "min"),
        ("raysearch.report(f1=0.5, loss_scale=2, test_f1=1)", "test_f1", "max"),
        ('print(f\'{{"epoch": {1}, "eval_loss": {2}}}\')', "eval_loss", "min"),
        ('print({"val_error": 1, "best_val_loss": 1, "val_loss": 1})', "val_loss", "min"),
        ('print({"loss": 1, "train_loss": 1, "train_acc": 1})', "loss", "min"),
    ],
)
def test_the_metric_and_which_way_is_better_are_those_that_the_script_logs(
    folder: Path, logs: str, metric: str, mode: str
) -> None:
    (folder / "train.py").write_text(f"import json\np.add_argument('--lr', default=0.1)\n{logs}\n")
    assert main(["init"]) == 0
    spec = load_spec(folder / "search.yaml")
    assert (spec.metric, spec.mode) == (metric, mode)
    assert "NOT SEEN" not in (folder / "search.yaml").read_text()


@pytest.mark.parametrize(
    ("logs", "also"), [("pass", ""), ('print({"reward": 1, "return": 2})', "; there are reward, return")]
)
def test_a_metric_that_the_script_does_not_show_is_said_to_be_unseen(
    folder: Path, logs: str, also: str
) -> None:
    (folder / "train.py").write_text(f"p.add_argument('--lr', default=0.1)\n{logs}\n")
    assert main(["init"]) == 0
    _, _, metric, mode = (folder / "search.yaml").read_text().splitlines()[:4]
    assert metric.startswith("metric: val_loss   # NOT SEEN in train.py: set it to what is printed as JSON")
    assert metric.endswith(f"each iteration{also}")
    assert mode.startswith("mode: min   # NOT SEEN either: set it")


def test_a_sweep_file_is_found_before_its_script(folder: Path) -> None:
    (folder / "train.py").write_text(SCRIPT)
    (folder / "sweep.yaml").write_text(SWEEP)
    assert main(["init"]) == 0
    assert load_spec(folder / "search.yaml").space.to_dict() == {"lr": {"uniform": [0.001, 0.1]}}
    assert max(searched(folder).trials().iterations) == 2


@pytest.mark.parametrize("kind", ["lightning", "huggingface", "optuna"])
def test_a_framework_gets_its_example_as_files_of_one_s_own(folder: Path, kind: str) -> None:
    assert main(["init", f"--{kind}"]) == 0
    ready = check(load_spec(folder / "search.yaml"))
    assert ready.spec.name == "my-search"
    assert kind in (folder / "my_model.py").read_text()


OWN = {
    "lightning": ("net.py", "import lightning.pytorch as pl\n", "resume_path"),
    "huggingface": ("hf.py", "from transformers import Trainer\n", "resume_from_checkpoint=resume_path()"),
    "optuna": (
        "study.py",
        "import argparse, optuna\np.add_argument('--n', default=9)\ntrial.suggest_int('k', 1, 3)\n",
        "results = search(objective",
    ),
    "function": ("loop.py", "import torch\n", 'raysearch.report({"val_loss": loss})'),
}


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("is_named", [False, True])
def test_beside_code_of_one_s_own_it_is_said_that_the_example_is_not_that_code(
    folder: Path, capsys: pytest.CaptureFixture[str], kind: str, is_named: bool
) -> None:
    name, text, line = OWN[kind]
    (folder / name).write_text(text)
    assert main(["init", *([f"--{kind}"] if is_named and kind != "function" else [])]) == 0
    said = capsys.readouterr().out
    for shown in (said, (folder / "search.yaml").read_text(), (folder / "my_model.py").read_text()):
        assert f"{name} is not what is searched: my_model.py is an example, of digits" in shown
        assert line in shown
    assert "raysearch.integrations.examples" not in (folder / "my_model.py").read_text()
    compile((folder / "my_model.py").read_text(), "my_model.py", "exec")
    assert load_spec(folder / "search.yaml").trainable == f"{folder}/my_model.py:train"
    assert (folder / name).read_text() == text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--lightning", "--script", "a.py"],
            "give one of --lightning, --huggingface, --optuna, --script, --hydra, --sweep",
        ),
        (["--script", "none.py"], "--script none.py: No such file"),
        (["--script", "empty.py"], "has no argument with a number"),
        (["--sweep", "none.yaml"], "none.yaml: there is no such file"),
    ],
)
def test_what_cannot_be_made_is_said_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    (folder / "empty.py").write_text("pass\n")
    assert main(["init", *words]) == 2
    assert said in capsys.readouterr().err
    assert [file.name for file in folder.iterdir()] == ["empty.py"]


def test_files_that_are_there_stay(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "search.yaml").write_text("mine")
    assert main(["init"]) == 2
    assert "search.yaml is here already" in capsys.readouterr().err
    assert (folder / "search.yaml").read_text() == "mine"
    assert not (folder / "my_model.py").exists()


APPLICATION = """
import hydra

@hydra.main(version_base=None, config_path="conf", config_name="main")
def train(cfg):
    return (cfg.optimizer.lr - 0.01) ** 2 + cfg.layers
"""


def test_an_application_under_hydra_is_searched_around_its_configuration(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "conf" / "optimizer").mkdir(parents=True)
    (folder / "train.py").write_text(APPLICATION)
    main_config = "defaults: [{optimizer: sgd}, _self_]\nlayers: 2\nepochs: 5\nname: first\n"
    (folder / "conf" / "main.yaml").write_text(main_config)
    (folder / "conf" / "optimizer" / "sgd.yaml").write_text("lr: 0.01\nmomentum: 0.9\n")
    (folder / "conf" / "optimizer" / "adam.yaml").write_text("lr: 0.01\n")
    assert main(["init"]) == 0
    assert capsys.readouterr().out.splitlines() == ["wrote search.sh", "next  sh search.sh"]
    words = shlex.split((folder / "search.sh").read_text().replace("\\\n", " "), comments=True)
    assert words == [
        *("exec", "python", "train.py", "--multirun", "hydra/sweeper=raysearch", "optimizer=adam,sgd"),
        *("layers=int(interval(1, 4))", "optimizer.lr=tag(log, interval(0.001, 0.1))"),
        *("hydra.sweeper.samples=50", "$@"),
    ]
    pytest.importorskip("hydra", reason="the extra `hydra` is not installed")
    from raysearch.integrations.hydra_space import read_overrides

    assert len(read_overrides(words[5:-2], {}).swept) == 3
    (folder / "search.sh").unlink()
    (folder / "conf" / "main.yaml").write_text("name: first\n")
    assert main(["init", "--hydra", "train.py"]) == 2
    assert "conf/main.yaml has no number and no group of several files" in capsys.readouterr().err
