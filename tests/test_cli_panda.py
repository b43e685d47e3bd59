"""The commands around a raised model: lineage, schedule, replay, nudge, rollback, --from-checkpoint."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_cli import Shell, working_in
from waiting import Child, Children

import raysearch
from raysearch.cli import main
from raysearch.errors import RunError
from raysearch.report.lineage_rows import rows_of
from raysearch.report.sections.headline import headline_of
from raysearch.report.standing import Phase, Standing

TRAINABLE = """
import json, os, random, time
from ray import tune

class Descent(tune.Trainable):
    def setup(self, config):
        self.lr, self.nap, self.weights = config["lr"], config.get("nap", 0), [1.0, 1.0, 1.0]
        self.slow = config.get("slow", "")

    def step(self):
        time.sleep(0.4 if self.iteration >= 20 and os.path.exists(self.slow) else self.nap)
        for i, curvature in enumerate((1.0, 0.3, 0.1)):
            self.weights[i] -= self.lr * (curvature * self.weights[i] + random.gauss(0.0, 0.1))
        return {"loss": 0.05 + sum(w * w for w in self.weights), "stride": self.lr}

    def save_checkpoint(self, folder):
        with open(f"{folder}/weights", "w") as file:
            json.dump(self.weights, file)

    def load_checkpoint(self, folder):
        with open(f"{folder}/weights") as file:
            self.weights = json.load(file)

    def reset_config(self, config):
        self.setup(config)
        return True
"""
SPEC = """
trainable: descent.py:Descent
metric: loss
mode: min
space:
  lr: {loguniform: [1.0e-4, 1.0]}
baseline: {lr: 0.01}
strategy: {name: panda, max_iterations: 120}
seed_as: seed
"""
INLINE = ("--executor", "inline")


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(make_folder(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    return Shell(tmp_path, capsys)


def make_folder(folder: Path) -> Path:
    (folder / "descent.py").write_text(TRAINABLE)
    (folder / "raised.yaml").write_text(SPEC)
    return folder


@pytest.fixture(scope="module")
def raised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A panda run that is complete; only to be read."""
    folder = make_folder(tmp_path_factory.mktemp("raised"))
    with working_in(folder):
        assert main(["launch", "raised.yaml", *INLINE]) == 0
    return folder / "runs" / "raised"


# ---- looking at it


def test_the_dry_run_says_what_it_may_cost(shell: Shell) -> None:
    said = shell("launch", "raised.yaml", "--dry-run").words
    assert "one model over 120 iterations: at most 150 with all probes" in said


def test_the_lineage_is_drawn_with_every_decision_and_its_numbers(shell: Shell, raised: Path) -> None:
    lines = shell("lineage", str(raised), "--all").out.splitlines()
    assert lines[0].split() == ["segment", "iterations", "changed", "loss", "why"]
    first = next(line for line in lines[1:] if line.startswith(("● ", "├╴")))
    assert "0-1" in first.split()
    text = " ".join(lines)
    for event in ("accept", "reject", "hold", "nudge", "decay"):
        assert event in text
    assert "● what led to the model" in text
    last = shell("lineage", str(raised), "--all", "--limit", "3").out.splitlines()
    assert last[0].startswith("the last 3 of ")
    drawn = [line for line in last if line.startswith(("● ", "├╴")) and "● what led" not in line]
    assert len(drawn) == 3


def test_a_fork_is_one_line_of_the_lineage_and_a_value_stands_where_it_changed(
    shell: Shell, raised: Path
) -> None:
    frame = raysearch.load(raised).lineage()
    rows = list(rows_of(frame))
    trunk = [row for row in rows if row.is_trunk]
    forks = frame["event"].isin(["accept", "reject"]) & frame["on_path"]
    assert sum(row.event in ("accept", "reject") for row in trunk) == forks.sum()
    assert not {row.event for row in trunk} & {"hold", "nudge"}
    assert [row.start for row in trunk] == [0, *(row.stop for row in trunk[:-1])]
    assert all(row.values for row in trunk if row.event == "accept")
    assert not any(row.values for row in trunk if row.event == "reject")
    assert len([row for row in trunk if row.event == "decay"]) == 1
    assert len(rows) < len(list(rows_of(frame, every=True))) <= len(frame)
    assert "--all: both arms of each fork" in shell("lineage", str(raised)).out


def test_the_summary_of_a_lineage_counts_what_was_trained_and_decided(shell: Shell, raised: Path) -> None:
    frame = raysearch.load(raised).lineage()
    said = shell("lineage", str(raised), "--summary", "--json").json
    assert said["line"] == 120
    assert said["trained"] == (frame["reached"] - frame["start"]).sum()
    assert said["others"] == 0
    assert said["line"] + said["probes"] + said["taken_back"] == said["trained"]
    counted = frame["event"].value_counts()
    for event, name in (("accept", "accepted"), ("reject", "rejected"), ("rollback", "put_back")):
        assert sum(span[name] for span in said["spans"]) == counted.get(event, 0)
    assert [span["start"] for span in said["spans"]] == [0, *(span["stop"] for span in said["spans"][:-1])]
    lines = shell("lineage", str(raised), "--summary").out.splitlines()
    assert len(lines) <= 30
    assert lines[1].startswith(f"trained {said['trained']:,} iterations, {said['cost']:.2f} times that")


def test_the_lineage_as_json_holds_every_segment(shell: Shell, raised: Path) -> None:
    rows = shell("lineage", str(raised), "--json").json
    assert len(rows) == len(raysearch.load(raised).segments())
    trunk = sorted((row for row in rows if row["on_path"]), key=lambda row: row["start"])
    assert [row["start"] for row in trunk] == [0, *(row["reached"] for row in trunk[:-1])]
    other = next(row["trial"] for row in rows if not row["on_path"])
    of_other = shell("lineage", str(raised), "--trial", str(other), "--json").json
    assert [row["trial"] for row in of_other if row["on_path"]][-1] == other


@pytest.mark.parametrize("command", ["lineage", "replay", "export"])
def test_a_trial_that_is_not_there_is_named_with_the_command_that_lists_them(
    shell: Shell, raised: Path, command: str
) -> None:
    ran = shell(command, str(raised), "--trial", "9999")
    assert (ran.code, ran.err) == (
        2,
        f"error: {raised}: there is no trial 9999; raysearch trials {raised} lists them\n",
    )


def test_best_names_the_commands_for_a_raised_model(shell: Shell, raised: Path) -> None:
    said = shell("best", str(raised)).words
    assert f"raysearch export {raised} --schedule -o schedule.yaml" in said
    assert f"raysearch replay {raised}" in said
    assert "(schedule and baseline on fresh seeds)" in said
    headline, _ = headline_of(raysearch.load(raised), raysearch.load(raised).best, Standing(Phase.COMPLETE))
    assert headline.endswith(
        f"its gain over the baseline is not known yet: raysearch replay {raised} finds it."
    )


def test_the_dry_run_says_that_a_raised_model_needs_checkpoints(shell: Shell) -> None:
    Path("descent.py").write_text(
        "from ray import tune\n\ndef Descent(config):\n    tune.report({'loss': 1.0})\n"
    )
    ran = shell("launch", "raised.yaml", "--dry-run")
    assert ran.code == 0
    assert "panda trains models on from their checkpoints, and Descent shows none" in ran.err
    Path("descent.py").write_text(
        "from ray import tune\n\nclass Descent(tune.Trainable):\n    def step(self):\n        return {}\n"
    )
    ran = shell("launch", "raised.yaml", "--dry-run")
    assert ran.code == 2
    assert "Descent writes none: implement save_checkpoint and load_checkpoint" in ran.err


# ---- its schedule


@pytest.mark.parametrize("name", ["schedule.yaml", "schedule.json"])
def test_the_exported_schedule_is_what_the_best_trial_was_trained_with(
    shell: Shell, raised: Path, name: str
) -> None:
    assert shell("export", str(raised), "--schedule", "-o", name).code == 0
    schedule = raysearch.schedule.load(name)
    results = raysearch.load(raised)
    trunk = results.lineage(results.best.trial)
    assert schedule.iterations == 120
    for start, lr in zip(trunk["start"], trunk["config.lr"], strict=True):
        assert schedule.at(start) == {"lr": lr}
    if name.endswith("json"):
        assert json.loads(Path(name).read_text())["value"] == results.best.value


def test_a_config_and_a_schedule_at_once_are_refused(shell: Shell, raised: Path) -> None:
    assert "give one of them" in shell("export", str(raised), "--schedule", "--config").err


def test_a_replay_trains_the_schedule_on_fresh_seeds_beside_constants(shell: Shell, raised: Path) -> None:
    options = ("--seeds", "2", "--constants", "2", "--name", shell.folder.name, *INLINE)
    said = shell("replay", str(raised), *options, "--json").json
    original = raysearch.load(raised).best
    assert said["original"] == original.value
    assert said["iterations"] == 120
    assert [len(one["values"]) for one in (said["schedule"], *said["constants"])] == [2, 2, 2]
    seeds = [set(one["values"]) for one in (said["schedule"], *said["constants"])]
    assert seeds[0] == seeds[1] == seeds[2]
    assert said["gap"] == pytest.approx(said["schedule"]["mean"] - original.value)
    means = {one["name"]: one["mean"] for one in said["constants"]}
    assert said["best_constant"] == min(means, key=lambda name: means[name])
    assert said["gain"]["mean"] == pytest.approx(min(means.values()) - said["schedule"]["mean"])
    assert "The training that found it ended at" in said["text"]
    baseline = next(one for one in said["constants"] if one["config"] == {"lr": 0.01})
    assert said["baseline"] == baseline["name"] == "lr 0.01, the baseline"
    assert said["baseline_gain"]["mean"] == pytest.approx(baseline["mean"] - said["schedule"]["mean"])
    assert f"The baseline gives {baseline['mean']:.5g}" in said["text"]


def test_a_replay_within_limits_says_of_each_whether_it_meets_them(shell: Shell) -> None:
    within = ("--set", "limits=['stride <= 0.02']", "--set", "strategy.max_iterations=60", "--name", "held")
    assert shell("launch", "raised.yaml", *INLINE, *within).code == 0
    assert shell("export", "runs/held", "--schedule", "-o", "steep.json").code == 0
    steep = json.loads(Path("steep.json").read_text())
    assert all(step["config"]["lr"] <= 0.02 for step in steep["steps"])
    steps = [(0, 10, 0.5), (10, 60, 0.3)]
    steep["steps"] = [{"start": a, "stop": b, "config": {"lr": lr}} for a, b, lr in steps]
    Path("steep.json").write_text(json.dumps(steep))
    options = ("--schedule", "steep.json", "--seeds", "2", "--constants", "2", *INLINE)
    said = shell("replay", "runs/held", *options, "--json").json
    assert said["schedule"]["further"]["stride"]["mean"] == pytest.approx(0.3)
    assert said["schedule"]["beyond"] == "stride <= 0.02 (stride 0.3000)"
    assert [one["beyond"] == "" for one in said["constants"]] == [True, False]
    assert said["best_constant"] == "lr 0.01, the baseline"  # of another rate, which is beyond
    assert "The schedule gives stride 0.3" in said["text"]
    assert "The constant lr 0.01, the baseline gives stride 0.01" in said["text"]
    refused = shell("best", "runs/held-replay").err
    assert "no finalist is on the front on fresh seeds; the baseline is" in refused
    table = shell("replay", "runs/held", *options, "--name", "again").words
    assert "60 iterations on fresh seeds mean loss 95% interval seeds mean stride limits" in table
    assert "0.300000 beyond constant lr 0.01" in table


def test_a_run_without_a_schedule_is_not_replayed(shell: Shell) -> None:
    small = ("--set", "strategy={name: caviar, samples: 3, max_iterations: 3, finish: off}")
    assert shell("launch", "raised.yaml", *INLINE, *small, "--name", "wide").code == 0
    ran = shell("replay", "runs/wide", *INLINE)
    assert (ran.code, "Traceback" in ran.err) == (2, False)
    assert "runs/wide: there is no schedule to replay: caviar changes no configuration while" in ran.err
    assert "raysearch retest runs/wide" in ran.err
    assert not Path("runs/wide-replay").exists()
    assert shell("export", "runs/wide", "--schedule", "-o", "constant.yaml").code == 0
    options = ("--schedule", "constant.yaml", "--seeds", "1", "--name", "of-file", *INLINE)
    assert shell("replay", "runs/wide", *options).code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--seeds", "0"), "seeds = 0 must be a whole number from 1"),
        (("--constants", "-1"), "--constants -1 must be at least 0"),
        (("--schedule", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
        (("--trial", "99999"), "there is no trial 99999"),
    ],
)
def test_a_replay_that_cannot_be_is_refused(
    shell: Shell, raised: Path, options: tuple[str, ...], words: str
) -> None:
    ran = shell("replay", str(raised), *options, *INLINE)
    assert ran.code in (1, 2)
    assert words in ran.err
    assert "Traceback" not in ran.err


# ---- stepping in


@contextmanager
def running(start_process: Children) -> Iterator[tuple[Path, Child]]:
    """A run that another process trains, some segments long and then slowly; waited for at the end."""
    slow = Path("slow").absolute()
    slow.touch()
    arguments = ["launch", "raised.yaml", *INLINE, "--set", f"config.slow={slow}"]
    child = start_process(sys.executable, "-m", "raysearch.cli", *arguments)
    folder = Path("runs/raised")
    child.wait_for(lambda: done(folder) >= 6)
    yield folder, child
    slow.unlink()
    child.end()


def done(folder: Path) -> int:
    try:
        return len(raysearch.load(folder).segments())
    except RunError:
        return 0


def test_a_nudge_and_a_rollback_are_taken_in_by_a_run_that_goes_on(
    shell: Shell, start_process: Children
) -> None:
    with running(start_process) as (folder, child):
        taken = shell("nudge", str(folder), "lr=3e-1", "--json").json
        assert taken["taken"] is True
        assert taken["words"].endswith("-> 0.3, from the next decision on")
        wrong = shell("nudge", str(folder), "lr=30")
        assert (wrong.code, wrong.err) == (2, "error: lr=30: is outside [1e-4, 1.0]\n")
        child.wait_for(lambda: "order" in set(raysearch.load(folder).lineage()["event"]))
        lineage = raysearch.load(folder).lineage()
        target = lineage.loc[lineage["event"] == "order", "segment"].iloc[0]
        back = shell("rollback", str(folder), target)
        assert f"rollback to {target}, iteration" in back.out
        assert "900.1 did not end well" in shell("rollback", str(folder), "900.1").err
    lineage = raysearch.load(folder).lineage()
    orders = lineage[lineage["event"] == "order"]
    assert orders["words"].str.startswith("nudge lr").any()
    nudged = orders[orders["words"].str.startswith("nudge lr")]
    assert nudged["config.lr"].iloc[0] == 0.3
    grown = orders[orders["words"].str.startswith("rollback")]
    parent = lineage.loc[lineage["segment"] == target, "id"].iloc[0]
    assert grown["parent"].tolist() == [parent]
    assert lineage["reached"].max() == 120


def test_an_order_for_a_run_that_stands_still_is_taken_in_when_it_goes_on(shell: Shell) -> None:
    slow = ("--set", "budget.hours=1.0e-4", "--set", "config.nap=0.02")
    assert "is used up" in shell("launch", "raised.yaml", *INLINE, *slow).out
    said = shell("nudge", "runs/raised", "lr=0.2")
    assert said.out == (
        "no process is running runs/raised: the order is taken in by raysearch resume runs/raised\n"
    )
    quick = ("--set", "budget.hours=1", "--set", "config.nap=0")
    assert shell("resume", "runs/raised", *INLINE, *quick).code == 0
    lineage = raysearch.load("runs/raised").lineage()
    assert lineage.loc[lineage["event"] == "order", "config.lr"].tolist() == [0.2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nudge", "RUN", "lt=1"), "unknown hyper-parameter 'lt'; known: lr"),
        (("nudge", "RUN", "lr"), "'lr' is not NAME=VALUE, such as lr=3e-4"),
        (("nudge", "RUN", "lr=0.1"), "complete, so there is nothing left to change"),
        (("rollback", "RUN", "9"), "'9' is no segment; they are like 12.3"),
        (("rollback", "RUN", "0.0"), "complete, so there is nothing left to change"),
        (("nudge", "nowhere", "lr=0.1"), "no run at 'nowhere'"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(
    shell: Shell, raised: Path, arguments: tuple[str, ...], words: str
) -> None:
    ran = shell(*(str(raised) if a == "RUN" else a for a in arguments))
    assert ran.code != 0
    assert words in ran.err
    assert not (raised / "orders").exists()


def test_population_based_training_as_published_takes_no_orders(shell: Shell) -> None:
    options = ("--set", "strategy={name: panda, max_iterations: 20, population: 4, exploit: truncation}")
    assert shell("launch", "raised.yaml", *INLINE, *options).code == 0
    assert "takes no nudges and no rollbacks" in shell("nudge", "runs/raised", "lr=0.1").err


# ---- going on with a model


def test_a_checkpoint_taken_out_of_one_run_is_where_another_begins(shell: Shell, raised: Path) -> None:
    assert shell("export", str(raised), "--checkpoint", "model").code == 0
    longer = ("--set", "strategy.max_iterations=160", "--name", "longer")
    assert shell("launch", "raised.yaml", *INLINE, "--from-checkpoint", "model", *longer).code == 0
    segments = raysearch.load("runs/longer").segments()
    assert segments["reached"].tolist()[0] == 120
    assert segments["start"].min() == 0
    assert (segments["start"].iloc[1:] >= 120).all()
    wrong = shell("launch", "raised.yaml", *INLINE, "--from-checkpoint", "model")
    assert "the model is at iteration 120, and the search trains to" in wrong.err


def test_a_complete_training_is_made_longer(shell: Shell) -> None:
    assert shell("launch", "raised.yaml", *INLINE).code == 0
    assert shell("resume", "runs/raised", *INLINE, "--max-iterations", "160").code == 0
    assert raysearch.load("runs/raised").best.iteration == 160
