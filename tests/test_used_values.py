"""What is recorded is what was trained: the same numbers wherever a training is cut, and nudges that hold."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray import tune
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim import lr_scheduler as schedulers
from training_lab import (
    LENGTH,
    LR,
    OPTIMIZERS,
    SCHEDULERS,
    STEPS,
    Applying,
    Class,
    Lab,
    Reset,
    Searching,
    Training,
    close,
    function,
    rates,
)

import raysearch.schedule
import raysearch.torch
from raysearch.core.formatting import setting
from raysearch.core.segment import Outcome, Segment
from raysearch.core.used_values import HELD, Wanted, apart, ends_of, series_of, slot_of
from raysearch.fused.member import member
from raysearch.fused.plan import make_plan
from raysearch.report.lineage_rows import rows_of
from raysearch.storage.journal.decode import Decoder
from raysearch.storage.journal.encode import encode_outcomes
from raysearch.torch.bindings import bind
from raysearch.workflows.replay import Comparison, Replayed, effects_of


@pytest.fixture(autouse=True)
def _stay_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def raised_by_panda(trainable: Any, tmp_path: Path, **more: Any) -> raysearch.Results:
    """A search that raises one model from lr = 0.01; `more`: settings of panda, and `on_status`."""
    on_status = more.pop("on_status", None)
    return raysearch.search(
        trainable,
        space={"lr": {"loguniform": [1e-4, 1.0]}},
        metric="loss",
        mode="min",
        storage=tmp_path,
        name="raised",
        executor="inline",
        strategy=raysearch.Panda(**more),
        baseline={"lr": 0.01},
        on_status=on_status,
    )


def test_what_an_optimizer_held_reaches_the_journal_beside_what_was_asked_for(lab: Lab) -> None:
    config = {"lr": LR, "scheduler": "StepLR"}
    curve = lab.train(Class, (4, config), (8, {**config, "lr": 4 * LR}))
    (first, second) = lab.pieces
    segment = Segment(0, 0, None, config, 0, 4, 7, "for a test")
    outcome = Outcome(segment, first.status, first.curve, used=first.used())
    (read,) = Decoder().outcomes(encode_outcomes([outcome]))
    assert read == outcome
    assert [h.first for h in series_of(read.used, "lr")] == [r[0] for r in rates(curve)[:4]]
    assert [h.last for h in series_of(read.used, "lr")] == [r[-1] for r in rates(curve)[:4]]
    assert ends_of(second.used(), "lr") == (rates(curve)[4][0], rates(curve)[-1][-1])


# ---- cut anywhere, same numbers; a nudge holds from its iteration on


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_cut_anywhere_gives_the_same_numbers_and_a_nudge_multiplies_every_rate_after_it(
    lab: Lab, scheduler: str, optimizer: str
) -> None:
    rng = random.Random(f"{scheduler} {optimizer}")
    config = {"lr": LR, "scheduler": scheduler, "optimizer": optimizer, "groups": rng.random() < 0.5}
    trainable = rng.choice([Class, Applying, Searching, Reset, function])
    cuts = sorted(rng.sample(range(1, LENGTH), 3))
    whole = lab.train(trainable, (LENGTH, config))
    cut = lab.train(trainable, *[(stop, config) for stop in (*cuts, LENGTH)])
    assert cut == {name: close(values) for name, values in whole.items()}

    nudged = {**config, "lr": 4 * LR}
    pieces = [(cuts[0], config), (cuts[1], nudged), (LENGTH, nudged)]
    found = rates(lab.train(trainable, *pieces, again=rng.random() < 0.5))
    factor = [1.0 if i < cuts[0] else 4.0 for i in range(LENGTH)]
    expected = [[f * rate for rate in of] for f, of in zip(factor, rates(whole), strict=True)]
    assert found == [close(of) for of in expected]
    assert [(h.least, h.greatest) for h in lab.used("lr")] == [
        close((min(of[g :: 1 + config["groups"]]), max(of[g :: 1 + config["groups"]])))
        for of in expected
        for g in (0,)
    ]
    assert not any(piece.error for piece in lab.pieces)


# ---- two optimizers


class Gan(Class):
    """Two optimizers, each with a learning rate of its own that begin with one value."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup({"gan": True, "scheduler": "StepLR", **config})


def test_each_of_two_optimizers_is_multiplied_by_its_own_hyper_parameter(lab: Lab) -> None:
    config = {"lr": LR, "lr_d": LR}
    whole = rates(lab.train(Gan, (6, config)))
    found = rates(lab.train(Gan, (2, config), (6, {"lr": LR, "lr_d": 3 * LR})))
    expected = [[r * (3 if k % 2 and i >= 2 else 1) for k, r in enumerate(of)] for i, of in enumerate(whole)]
    assert found == [close(of) for of in expected]
    assert ends_of(lab.pieces[1].used(), "lr_d") == close((expected[2][1], expected[-1][-1]))
    assert ends_of(lab.pieces[1].used(), "lr") == close((expected[2][0], expected[-1][-2]))


# ---- what the trainable does by itself is not done twice


class Rebuilding(Class):
    """Builds its optimizers from the configuration and takes only the model from the checkpoint."""

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        before = self.training
        super().load_checkpoint(checkpoint_dir)
        rebuilt = Training(self.config)
        rebuilt.model.load_state_dict(before.model.state_dict())
        rebuilt.at, self.training = before.at, rebuilt


class ByHand(Class):
    """Writes the configuration's value into the groups after a restore."""

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        super().load_checkpoint(checkpoint_dir)
        for group in self.training.optimizers[0].param_groups:
            group["lr"] = self.config["lr"]


class Configured(Reset):
    """Has an apply_config that writes into the groups."""

    def apply_config(self, config: dict[str, Any]) -> None:
        for group in self.training.optimizers[0].param_groups:
            group["lr"] = config["lr"]


class Undone(Applying):
    """Loads the optimizer's state over what it applied."""

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        super().load_checkpoint(checkpoint_dir)
        self.training.load(Path(checkpoint_dir, "state.pt"))


class Twice(Applying):
    """Applies twice."""

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        super().load_checkpoint(checkpoint_dir)
        raysearch.torch.apply(self.training.optimizers[0], self.config)


@pytest.mark.parametrize("trainable", [Rebuilding, ByHand, Configured, Undone, Twice])
def test_a_nudge_is_not_applied_twice_whatever_the_trainable_does(lab: Lab, trainable: Any) -> None:
    config, nudged, more = ({"lr": factor * LR} for factor in (1, 4, 0.5))
    found = rates(lab.train(trainable, (2, config), (4, nudged), (5, nudged), (7, more), (8, config)))
    factors = [1] * 2 + [4] * 3 + [0.5] * 2 + [1]
    assert found == [close([f * LR] * STEPS) for f in factors]


def test_a_step_that_raises_leaves_no_multiplier_behind(lab: Lab) -> None:
    class Stumbling(Class):
        def step(self) -> dict[str, Any]:
            (optimizer,) = self.training.optimizers
            handle = optimizer.register_step_post_hook(_raise)
            with pytest.raises(FloatingPointError):
                self.training.iterate()
            handle.remove()
            return {**self.training.iterate(), "at_rest": optimizer.param_groups[0]["lr"]}

    curve = lab.train(Stumbling, (1, {"lr": LR}), (3, {"lr": 2 * LR}))
    assert rates(curve)[1:] == [close([2 * LR] * STEPS)] * 2
    assert curve["at_rest"] == [LR] * 3


def _raise(*_: Any) -> None:
    raise FloatingPointError


def test_an_optimizer_around_another_one_is_multiplied_once(lab: Lab) -> None:
    class Around(Optimizer):
        def __init__(self, inner: Optimizer) -> None:
            super().__init__(inner.param_groups, inner.defaults)
            self.inner, self.param_groups = inner, inner.param_groups

        def step(self, closure: Any = None) -> Any:
            return self.inner.step(closure)

    class Wrapped(Class):
        def step(self) -> dict[str, Any]:
            training = self.training
            if not isinstance(training.optimizers[0], Around):
                training.optimizers = [Around(training.optimizers[0])]
            return training.iterate()

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            outer = self.training.optimizers
            self.training.optimizers = [outer[0].inner]  # type: ignore[attr-defined]
            super().save_checkpoint(checkpoint_dir)
            self.training.optimizers = outer

    found = rates(lab.train(Wrapped, (1, {"lr": LR}), (3, {"lr": 2 * LR})))
    assert found[1:] == [close([2 * LR] * STEPS)] * 2


def test_groups_that_are_added_on_the_way_follow_the_same_hyper_parameter(lab: Lab) -> None:
    class Thawing(Class):
        def step(self) -> dict[str, Any]:
            training = self.training
            if training.at == 2 * STEPS:
                extra = nn.Parameter(torch.ones(1))
                training.optimizers[0].add_param_group({"params": [extra], "lr": self.config["lr"] / 10})
            return training.iterate()

    pieces = [(1, {"lr": LR}), (4, {"lr": 2 * LR})]
    found = lab.train(Thawing, *pieces)
    seen = [sorted({round(found[k][i], 9) for k in found if k.startswith("rate")}) for i in range(1)]
    assert seen == [[round(LR, 9)]]
    last = lab.pieces[1]
    assert [last.curve[f"rate{i}"][-1] for i in range(2)] == close([2 * LR, 0.2 * LR])


def test_an_optimizer_that_is_made_anew_for_each_iteration_is_one_optimizer(lab: Lab) -> None:
    class Fickle(Class):
        def step(self) -> dict[str, Any]:
            training = self.training
            training.optimizers = [SGD(training.model.parameters(), lr=self.config["lr"])]
            training.optimizers[0].register_step_pre_hook(training._seen)
            return training.iterate()

        def load_checkpoint(self, checkpoint_dir: str) -> None:
            self.training.at, state, *_ = torch.load(Path(checkpoint_dir, "state.pt"), weights_only=False)
            self.training.model.load_state_dict(state)

    found = rates(lab.train(Fickle, (3, {"lr": LR}), (6, {"lr": 2 * LR})))
    assert found == [close([f * LR] * STEPS) for f in (1, 1, 1, 2, 2, 2)]
    assert [piece.used() for piece in lab.pieces] == [{"lr": close([f * LR] * 3)} for f in (1, 2)]


@pytest.mark.parametrize("scheduler", ["constant", "StepLR", "LambdaLR", "OneCycleLR"])
def test_a_checkpoint_that_says_nothing_of_optimizers_is_gone_on_with_at_the_new_value(
    lab: Lab, scheduler: str
) -> None:
    config = {"lr": LR, "scheduler": scheduler, "groups": True}
    whole = rates(lab.train(Class, (6, config)))
    lab.forgets = True
    found = rates(lab.train(Class, (3, config), (6, {**config, "lr": 4 * LR})))
    assert found == [close([(1 if i < 3 else 4) * rate for rate in of]) for i, of in enumerate(whole)]


# ---- momentum, betas and weight decay


class Settings(Class):
    """AdamW with groups with and without weight decay, and its beta1 from the configuration."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup({**config, "optimizer": "AdamW"})
        model = self.training.model
        decay, beta = config["weight_decay"], config["beta1"]
        groups = [
            {"params": [*model[0].parameters()]},
            {"params": [*model[2].parameters()], "weight_decay": 0.0},
        ]
        self.training.optimizers = [AdamW(groups, lr=config["lr"], weight_decay=decay, betas=(beta, 0.99))]
        self.seen: list[Any] = []
        self.training.optimizers[0].register_step_pre_hook(
            lambda o, a, k: self.seen.append([(g["weight_decay"], *g["betas"]) for g in o.param_groups])
        )

    def step(self) -> dict[str, Any]:
        self.seen.clear()
        metrics = self.training.iterate()
        (first, second) = self.seen[-1]
        return {**metrics, "decay": first[0], "none": second[0], "beta1": first[1], "beta2": second[2]}


def test_weight_decay_and_betas_are_multiplied_and_zeros_stay(lab: Lab) -> None:
    config = {"lr": LR, "weight_decay": 0.1, "beta1": 0.8}
    curve = lab.train(Settings, (1, config), (2, {**config, "weight_decay": 0.3, "beta1": 0.9}))
    assert (curve["decay"], curve["none"]) == (close([0.1, 0.3]), [0.0, 0.0])
    assert (curve["beta1"], curve["beta2"]) == (close([0.8, 0.9]), [0.99, 0.99])
    assert series_of(lab.pieces[1].used(), "weight_decay")[0].first == close(0.3)
    assert series_of(lab.pieces[1].used(), "beta1")[0].first == close(0.9)


# ---- apply


def group(**settings: Any) -> dict[str, Any]:
    return {"params": [nn.Parameter(torch.ones(2))], **settings}


def test_apply_keeps_ratios_zeros_and_what_a_scheduler_made_of_a_value() -> None:
    optimizer = SGD([group(lr=0.2, weight_decay=0.1), group(lr=0.02, weight_decay=0.0)], lr=0.2, momentum=0.9)
    scheduler = schedulers.StepLR(optimizer, 1, 0.5)
    optimizer.step()
    scheduler.step()
    raysearch.torch.apply(optimizer, {"lr": 0.2, "weight_decay": 0.1, "momentum": 0.9})
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.01]
    raysearch.torch.apply(optimizer, {"learning_rate": 0.4, "weight_decay": 0.3})
    assert [g["lr"] for g in optimizer.param_groups] == close([0.2, 0.02])
    assert [g["initial_lr"] for g in optimizer.param_groups] == close([0.4, 0.04])
    assert [g["weight_decay"] for g in optimizer.param_groups] == close([0.3, 0.0])
    assert scheduler.base_lrs == close([0.4, 0.04])


@pytest.mark.parametrize("is_given", [True, False])
def test_apply_reaches_the_schedulers_in_a_sequence(is_given: bool) -> None:
    optimizer = SGD([group()], lr=0.1)
    scheduler = SCHEDULERS["SequentialLR"](optimizer)
    for _ in range(8):
        optimizer.step()
        scheduler.step()
    other = SGD([group()], lr=0.1)
    unnudged = SCHEDULERS["SequentialLR"](other)
    raysearch.torch.apply(optimizer, {"lr": 0.3}, scheduler if is_given else None)
    for step in range(20):
        if step >= 8:
            assert optimizer.param_groups[0]["lr"] == close(3 * other.param_groups[0]["lr"])
        else:
            other.step()
            unnudged.step()
            continue
        for one, of in ((optimizer, scheduler), (other, unnudged)):
            one.step()
            of.step()


# ---- what is said


class HardCoded(Class):
    """Learns with a rate that is nobody's hyper-parameter."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup({**config, "lr": 0.0371})


def test_a_rate_that_is_not_the_one_asked_for_is_said_with_both_numbers_once(lab: Lab) -> None:
    lab.train(HardCoded, (2, {"lr": LR}), (4, {"lr": 4 * LR}), again=True)
    assert lab.pieces[0].error.startswith(
        "lr = 0.0123 was asked for, and the optimizer was used with lr = 0.0371; no parameter group holds"
    )
    assert lab.pieces[1].error == ""
    assert ends_of(lab.pieces[1].used(), HELD + "lr") == (0.0371, 0.0371)


def unseen(config: dict[str, Any]) -> None:
    """Learns without torch."""
    value = 1.0
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            value = float(Path(folder, "value").read_text())
    while True:
        value -= config["lr"] * value
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "value").write_text(str(value))
            tune.report({"loss": value}, checkpoint=tune.Checkpoint.from_directory(folder))


def test_values_that_cannot_be_observed_are_said_to_be_so_once_and_reach_the_trainable(lab: Lab) -> None:
    curve = lab.train(unseen, (1, {"lr": 0.5}), (2, {"lr": 0.1}), (3, {"lr": 0.2}), again=True)
    assert curve["loss"] == close([0.5, 0.45, 0.36])
    errors = [piece.error for piece in lab.pieces]
    assert errors[0] == errors[2] == ""
    assert "no torch optimizer takes a step in this process" in errors[1]
    assert "whether lr = 0.5 -> 0.1 reached the training was not observed" in errors[1]
    assert [[*piece.used()] for piece in lab.pieces] == [[], [HELD + "lr"], [HELD + "lr"]]
    assert all(ends_of(piece.used(), HELD + "lr") is None for piece in lab.pieces)


def test_the_verdict_of_a_raised_model_doubts_values_that_nobody_saw_arrive(tmp_path: Path) -> None:
    status: dict[str, Any] = {}
    results = raised_by_panda(unseen, tmp_path, max_iterations=16, interval=4, on_status=status.update)
    assert len({config["lr"] for config in results.configs(results.best.trial)}) > 1
    (said,) = results.verdict().effects
    assert said.startswith("Whether lr reached the training was not observed: it was changed to ")
    assert str(results.verdict()).endswith(said)
    assert sum("reached the training was not observed" in text for text in status["warnings"]) == 1


def test_two_nudges_without_effect_end_a_panda_search_and_say_what_to_do(tmp_path: Path) -> None:
    status: dict[str, Any] = {}
    results = raised_by_panda(HardCoded, tmp_path, max_iterations=60, on_status=status.update)
    texts = list(status["warnings"])
    assert any("the search ends: 2 nudges of lr had no effect" in text for text in texts)
    assert any("raysearch.torch.apply(optimizer, config)" in text for text in texts)
    forks = results.segments()["reason"].str.startswith("nudge: ").sum()
    assert forks == 2


# ---- which hyper-parameter is which value


def levels(*lrs: float) -> list[dict[str, tuple[float, ...]]]:
    return [{"lr": (lr,)} for lr in lrs]


def wanted(**values: float) -> list[Wanted]:
    return [Wanted(name, slot_of(name), value, value) for name, value in values.items()]


def test_groups_belong_to_the_hyper_parameter_whose_value_they_hold_or_keep_a_ratio_to() -> None:
    assert bind(levels(LR, LR / 10, 0.0), wanted(lr=LR)) == {(0, "lr"): "lr", (1, "lr"): "lr"}
    assert bind(levels(0.5 * LR), wanted(learning_rate=LR)) == {(0, "lr"): "learning_rate"}
    two = wanted(head_lr=0.0171, body_lr=0.0023)
    assert bind(levels(0.0023, 0.0171, 0.004), two) == {(0, "lr"): "body_lr", (1, "lr"): "head_lr"}


def test_a_value_that_no_hyper_parameter_stands_for_is_bound_to_none() -> None:
    assert bind(levels(0.00317), wanted(lr=LR)) == {}  # no round multiple
    assert bind([{"weight_decay": (0.01,)}], wanted(weight_decay=0.1)) == {}  # torch's default
    assert bind(levels(LR), wanted(lr_decay=LR, lr_gamma=LR, dropout=LR)) == {}
    assert bind(levels(0.0), wanted(lr=0.0)) == {}
    assert bind(levels(LR), wanted(lr_g=LR, lr_d=LR)) == {}  # either


def test_two_hyper_parameters_with_one_value_differ_in_the_last_bit_where_they_are_handed_out() -> None:
    one, other, third = apart(wanted(lr_g=LR, lr_d=LR, momentum=LR))
    assert (one.given, third.given) == (LR, LR)
    assert other.given == other.asked != LR
    assert other.given == pytest.approx(LR, rel=1e-15)
    assert bind(levels(other.given), [one, other]) == {(0, "lr"): "lr_d"}


# ---- where the used values are read


@pytest.fixture
def raised(tmp_path: Path) -> raysearch.Results:
    """A panda search of a model with a schedule of its own."""

    class Stepped(Class):
        def setup(self, config: dict[str, Any]) -> None:
            super().setup({**config, "scheduler": "StepLR"})

    return raised_by_panda(Stepped, tmp_path, max_iterations=20, interval=4)


def test_curves_lineage_schedule_and_export_have_the_used_values(raised: raysearch.Results) -> None:
    curves = raised.curves()
    assert curves["used.lr.first"].to_list() == close(curves["rate0"].to_list())
    assert curves["used.lr.last"].to_list() == close(curves[f"rate{STEPS - 1}"].to_list())
    lineage = raised.lineage(raised.best.trial)
    ends = curves.groupby("segment")[["rate0", f"rate{STEPS - 1}"]].agg(["first", "last"])
    for row in lineage.to_dict("records"):
        assert row["used.lr.first"] == close(ends["rate0"]["first"][row["id"]])
        assert row["used.lr.last"] == close(ends[f"rate{STEPS - 1}"]["last"][row["id"]])
    schedule = raysearch.schedule.of(raised)
    assert raysearch.schedule.from_dict(schedule.to_dict()) == schedule
    assert schedule.steps[0].used["lr"][0] == close(lineage["used.lr.first"].iloc[0])
    assert schedule.steps[-1].used["lr"][1] == close(lineage["used.lr.last"].iloc[-1])
    values = [row.values for row in rows_of(raised.lineage())]
    assert any("(used 0.01 to 0.005)" in text for text in values), values
    (line,) = (trace for trace in raised.plot.schedules().data if trace.name == "used")
    assert line.y[0] == close(lineage["used.lr.first"].iloc[0])
    (said,) = raised.verdict().effects
    assert said.endswith(", the trainable's own scheduler included.")
    assert said.startswith("lr was asked to be 0.0")
    assert line.y[-1] == close(lineage["used.lr.last"].iloc[-1])


def test_an_exported_schedule_leaves_out_changes_that_did_not_reach_the_optimizer(tmp_path: Path) -> None:
    results = raised_by_panda(HardCoded, tmp_path, max_iterations=8, interval=4, decay=0.5, decay_steps=2)
    asked = set(results.lineage(results.best.trial)["config.lr"])
    assert len(asked) > 1
    schedule = raysearch.schedule.of(results)
    assert [(step.config, step.used) for step in schedule.steps] == [({"lr": 0.01}, {"lr": (0.0371, 0.0371)})]
    (said,) = results.verdict().effects
    first = results.lineage(results.best.trial).drop_duplicates("config.lr").iloc[1]
    change = f"0.01 -> {setting(first['config.lr'])} at iteration {first['start']}"
    assert "did not reach the optimizer" in said
    assert f"{change}, left it at 0.0371." in said
    assert effects_of(results, schedule) == (said,)
    assert effects_of(results, replace(schedule, about={})) == ()
    replayed = Replayed("the schedule", {}, {1: 0.5})
    comparison = Comparison("loss", "min", 8, replayed, (), None, 0.5, None, effects=(said,))
    assert str(comparison).splitlines()[-1] == f"In the training that found it: {said}"


# ---- torch that comes late, and Learners


def test_a_function_that_imports_torch_itself_is_observed_from_its_first_step(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from raysearch.core.segment import Segment
from raysearch.engine.messages import Lease
from raysearch.worker.host import Host
from ray import tune

def late(config):
    import torch
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=config["lr"])
    while True:
        (weight**2).sum().backward()
        optimizer.step()
        tune.report({"loss": float(weight.detach())})

host = Host(late, metric="loss", scratch=Path(sys.argv[1]))
assert "torch" not in sys.modules
trained = host.train(Lease(Segment(0, 0, None, {"lr": 0.0123}, 0, 2, 7, "")), None, lambda iteration: 0)
assert trained.used() == {"lr": [0.0123, 0.0123]}, (trained.used(), trained.error)
host.drop()
"""
    environment = {**os.environ, "RAY_CHDIR_TO_TRIAL_DIR": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Line(raysearch.torch.Learner):
    """A learner with a schedule of its own, one pass of three steps an iteration."""

    batch_size = 8

    def data(self) -> raysearch.torch.Data:
        x = torch.randn(24, 4, generator=torch.Generator().manual_seed(1))
        y = x.sum(1, keepdim=True)
        return raysearch.torch.Data(train=(x, y), validation=(x, y))

    def model(self, config: Any) -> nn.Module:
        return nn.Linear(4, 1)

    def loss(self, model: nn.Module, batch: Any, config: Any) -> Any:
        return ((model(batch[0]) - batch[1]) ** 2).mean()

    def metrics(self, model: nn.Module, batch: Any) -> Any:
        return {"loss": ((model(batch[0]) - batch[1]) ** 2).mean()}


def test_a_learner_cut_anywhere_gives_the_same_numbers_and_is_remarked_on_nowhere(lab: Lab) -> None:
    config = {"lr": 0.02, "momentum": 0.9, "optimizer": "sgd", "schedule": "cosine", "total_steps": 36}
    whole = lab.train(Line, (LENGTH, config))
    cut = lab.train(Line, (3, config), (4, config), (9, config), (LENGTH, config))
    assert cut["loss"] == close(whole["loss"])
    lab.train(Line, (3, config), (LENGTH, {**config, "lr": 0.01}))
    assert [piece.error for piece in lab.pieces] == ["", ""]
    assert not any(piece.used() for piece in lab.pieces)  # its rules are ours: what is asked for is used


def test_packs_train_at_the_configured_rate_times_the_learners_schedule() -> None:
    learner, data = Line.plain(), Line.plain().data()
    config = {"lr": 0.02, "optimizer": "sgd", "schedule": "cosine", "total_steps": 36, "warmup_steps": 4}
    for at in range(LENGTH):
        models = [member(learner, {**config, "lr": lr}, 1, at) for lr in (0.02, 0.08)]
        both = make_plan(learner, models, data, torch.device("cpu")).rates[:, :, 0]
        steps = np.arange(3 * at, 3 * at + 3)
        assert both[:, 0].tolist() == close((0.02 * learner.schedule(steps, config)).tolist())
        assert both[:, 1].tolist() == close((4 * both[:, 0]).tolist())
