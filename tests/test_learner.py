"""Learner: described once, trained alone by Ray Tune's rules and many at once by a search on Ray."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import learners
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

import raysearch
from raysearch.core.segment import Outcome, Status
from raysearch.errors import CheckpointError, RunError, TrainableError
from raysearch.fused.data import Data
from raysearch.storage.journal.reading import read_outcomes
from raysearch.torch.learner import Learner, _prepared, scale

CONFIG = {**learners.CONFIG, "seed": 3}
SPACE = {
    "lr": {"loguniform": [1e-3, 1e-1]},
    "dropout": {"uniform": [0.05, 0.5]},
    "hidden": {"ordinal": [6, 12]},
}


def train(learner: Any, iterations: int) -> list[dict[str, float]]:
    reports = [learner.train() for _ in range(iterations)]
    return [{k: report[k] for k in ("train_loss", "val_loss", "val_accuracy")} for report in reports]


# ---- alone


def test_a_pause_changes_no_bit_of_what_comes_after(tmp_path: Path) -> None:
    for name, config in {
        "adam": CONFIG,
        "averaged": {**CONFIG, "optimizer": "sgd", "ema_decay": 0.9},
    }.items():
        unbroken = train(learners.Perceptron(config=config), 4)
        paused = learners.Perceptron(config=config)
        before = train(paused, 2)
        saved = paused.save(str(tmp_path / name))
        torch.manual_seed(99)
        resumed = learners.Perceptron(config=config)
        resumed.restore(saved)
        assert before + train(resumed, 2) == unbroken


def test_the_seed_decides_everything_and_torchs_own_generator_is_left_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    once = train(learners.Perceptron(config=CONFIG), 2)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert train(learners.Perceptron(config=CONFIG), 2) == once
    assert train(learners.Perceptron(config={**CONFIG, "seed": 4}), 2) != once


def test_a_process_used_again_trains_as_a_fresh_one_does() -> None:
    used = learners.Perceptron(config={**CONFIG, "lr": 0.5, "hidden": 5})
    train(used, 1)
    assert used.reset(CONFIG)
    assert train(used, 2) == train(learners.Perceptron(config=CONFIG), 2)


def test_a_checkpoint_goes_on_under_the_hyper_parameters_of_now(tmp_path: Path) -> None:
    donor = learners.Perceptron(config=CONFIG)
    train(donor, 2)
    saved = donor.save(str(tmp_path))
    ends = []
    for changes in ({}, {"lr": 0.1}, {"optimizer": "sgd"}):
        fork = learners.Perceptron(config={**CONFIG, **changes})
        fork.restore(saved)
        ends.append(train(fork, 1)[0]["val_loss"])
    assert ends[0] == train(donor, 1)[0]["val_loss"]
    assert len({*ends}) == 3


def test_a_checkpoint_of_another_shape_is_told(tmp_path: Path) -> None:
    donor = learners.Perceptron(config=CONFIG)
    donor.save_checkpoint(str(tmp_path))
    with pytest.raises(CheckpointError, match=r"0.weight has shape \(12, 16\); the model's has \(5, 16\)"):
        learners.Perceptron(config={**CONFIG, "hidden": 5}).load_checkpoint(str(tmp_path))


def test_averaged_weights_are_what_is_judged_and_restored(tmp_path: Path) -> None:
    one = learners.Perceptron(config={**CONFIG, "ema_decay": 0.95, "dropout": 0.0})
    report = train(one, 3)[-1]
    one.save_checkpoint(str(tmp_path))
    model = learners.Perceptron.restored(tmp_path)
    points, sides = learners.examples(50, 1)
    loss = torch.nn.functional.cross_entropy(model(points), sides).item()
    assert loss == pytest.approx(report["val_loss"], rel=1e-5)


def test_losses_in_parts_are_reported_for_pairing_and_those_of_test_examples_by_their_name() -> None:
    class Tested(learners.Perceptron):
        def data(self) -> Data:
            return Data(learners.examples(90, 0), learners.examples(50, 1), learners.examples(30, 2))

    report = Tested(config=CONFIG).train()
    parts = report["val_loss_parts"]
    sizes = [len(part) for part in np.array_split(np.arange(50), 4)]
    assert np.average([*parts.values()], weights=sizes) == pytest.approx(report["val_loss"], rel=1e-5)
    assert report["test_loss"] > 0
    assert 0 <= report["test_accuracy"] <= 1


@pytest.mark.parametrize(
    ("config", "steps", "factors"),
    [
        ({}, [0, 5], [1, 1]),
        ({"warmup_steps": 4}, [0, 1, 3, 9], [0.25, 0.5, 1, 1]),
        ({"schedule": "linear", "total_steps": 10}, [0, 5, 10, 20], [1, 0.5, 0, 0]),
        ({"schedule": "cosine", "total_steps": 12, "warmup_steps": 2}, [2, 7, 12], [1, 0.5, 0]),
    ],
    ids=["constant", "warm-up", "linear", "cosine"],
)
def test_schedules_warm_up_and_go_down(
    config: dict[str, Any], steps: list[int], factors: list[float]
) -> None:
    assert scale(np.array(steps), config) == pytest.approx(factors, abs=1e-9)


# ---- data


class Points(Dataset[Any]):
    def __len__(self) -> int:
        return 7

    def __getitem__(self, at: int) -> dict[str, Any]:
        return {"x": torch.full((2,), float(at)), "y": at}


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield 0


def test_datasets_and_loaders_are_read_into_tensors() -> None:
    tensors = (torch.arange(5.0), torch.arange(5))
    for given in (
        tensors,
        [*tensors],
        TensorDataset(*tensors),
        DataLoader(TensorDataset(*tensors), batch_size=2),
    ):
        found = Data(given, given)
        assert found.train_size == 5
        assert torch.equal(found.train[1], tensors[1])
    found = Data(Points(), Points())
    assert found.train["x"].shape == (7, 2)
    assert found.train["y"].tolist() == [*range(7)]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Endless(), "train is an iterable dataset, which has no end and no numbers"),
        (
            (torch.zeros(3), torch.zeros(4)),
            r"train has lengths \[3, 4\]: all its tensors need the same length",
        ),
        (torch.zeros(0, 2), r"train has lengths \[0\]"),
        (np.zeros(3), "train is a ndarray; expected a tensor with an entry for each example, a tuple, list"),
        ((torch.zeros(3), np.zeros(3)), r"train\[1\] is a ndarray; expected a tensor"),
        ({"x": torch.zeros(3), "y": "abc"}, r"train\['y'\] is a str; expected a tensor"),
        (torch.tensor(1.0), "train is a tensor without dimensions"),
        (
            DataLoader(Points(), sampler=WeightedRandomSampler([1.0] * 7, 3)),
            "train is a loader with a WeightedRandomSampler, and every model draws an order of its own",
        ),
        ((), "train has no tensor"),
    ],
    ids=["endless", "lengths", "empty", "array", "array inside", "text", "scalar", "sampler", "nothing"],
)
def test_data_of_another_kind_are_told(given: Any, text: str) -> None:
    with pytest.raises(TrainableError, match=text):
        Data(given, torch.zeros(3))


class Broken(learners.Perceptron):
    """What goes wrong is chosen by a subclass."""


def broken(name: str, does: Any) -> type[Learner]:
    return type("Broken", (Broken,), {name: does})


@pytest.mark.parametrize(
    ("name", "does", "text"),
    [
        ("data", lambda self: (1, 2), "Broken.data returned a tuple: return raysearch.torch.Data"),
        ("data", lambda self: 1 / 0, "Broken.data raised ZeroDivisionError: division by zero"),
        ("model", lambda self, config: 3, "model returned a int: it must be a torch.nn.Module"),
        (
            "model",
            lambda self, config: torch.nn.ReLU(),
            "model returned a module without parameters to train",
        ),
        (
            "loss",
            lambda self, m, b, c: m(b[0]),
            r"loss returned a tensor of shape \(16, 4\): it must be one number",
        ),
        ("loss", lambda self, m, b, c: 0.5, "loss returned float: it must be one number"),
        ("metrics", lambda self, m, b: {"val_loss": 0.5}, "metrics: val_loss is a float, not a tensor"),
        ("metrics", lambda self, m, b: None, "metrics returned a NoneType: return a dict of name -> tensor"),
        (
            "metrics",
            lambda self, m, b: {"train_loss": m(b[0])},
            "metrics: train_loss is reported already; give this one another name",
        ),
        (
            "metrics",
            lambda self, m, b: {"val_loss": m(b[0].mul_(0.5))},
            "metrics changes the examples it is given in place",
        ),
        ("batch_size_of", lambda self, config: 0, "batch_size: 0 must be at least 1"),
        ("batch_size", 8.7, "batch_size: 8.7 must be a whole number, at least 1"),
        ("clip", lambda self, config: -1.0, "clip_norm: -1.0 must be a number, 0"),
        ("ema", lambda self, config: 1.5, "ema_decay: 1.5 must be a number, at least 0 and below 1"),
        (
            "optimizer",
            lambda self, config: "sgd",
            "optimizer returned a str: return a rule of raysearch.torch",
        ),
        ("schedule", lambda self, s, c: None, "schedule returned a NoneType of shape"),
        (
            "schedule",
            lambda self, s, c: 1.0 if s < 3 else 0.1,
            "schedule: The truth value of an array.*numpy.where",
        ),
        ("batch_size_of", lambda self, c: Learner.batch_size_of(self, {"batch_size": math.inf}), "size: inf"),
        ("device", "gpu", "Broken.device: 'gpu' is not to be had here"),
        ("device", "cuda:64", "Broken.device: 'cuda:64' is not to be had here"),
        (
            "schedule",
            lambda self, s, c: scale(s, {"schedule": "step"}),
            "schedule: 'step' is not one of constant",
        ),
        ("schedule", lambda self, s, c: scale(s, {"schedule": "linear"}), "linear needs total_steps"),
    ],
)
def test_a_learner_that_is_wrong_is_told_what_and_how(name: str, does: Any, text: str) -> None:
    with pytest.raises(TrainableError, match=text):
        broken(name, does)(config=CONFIG).train()


def test_the_package_gives_a_learner_without_loading_ray_before_it_is_asked_for() -> None:
    code = "import sys, raysearch.torch as t; r = lambda: 'ray' in sys.modules; print(r(), t.Learner and r())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


# ---- searched on Ray


def search(learner: Any, storage: Path, name: str, samples: int = 40, **options: Any) -> raysearch.Results:
    options.setdefault(
        "strategy", raysearch.Caviar(samples=samples, max_iterations=9, sampler="sobol", finish=None)
    )
    fields = {"space": SPACE, "workers": 2, "seed_as": "seed", "config": {"batch_size": 16}, **options}
    return raysearch.search(learner, metric="val_loss", mode="min", storage=str(storage), name=name, **fields)


def outcomes(storage: Path, name: str) -> list[Outcome]:
    return list(read_outcomes(storage / name / "journal"))


def alone_to_the_end(config: dict[str, Any], seed: int, iterations: int) -> float:
    one = learners.Perceptron(config={"batch_size": 16, **config, "seed": seed})
    return train(one, iterations)[-1]["val_loss"]


class Suicidal(learners.Perceptron):
    """Kills its process in the third iteration of a model, once."""

    def schedule(self, steps: Any, config: Any) -> Any:
        mark = Path(config["mark"])
        if steps[0] >= 12 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().schedule(steps, config)


@pytest.mark.slow
def test_a_search_of_a_learner_whose_worker_is_killed_gives_the_numbers_of_models_alone_and_loses_nothing(
    ray_cluster: None, storage: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    results = search(Suicidal, storage, "packs", config={"batch_size": 16, "mark": str(mark)})
    assert mark.exists()
    told = outcomes(storage, "packs")
    assert {o.status for o in told} == {Status.COMPLETED, Status.LOST}
    done = [o for o in told if o.status is Status.COMPLETED]
    assert len({o.segment.id for o in done}) == len(done)
    assert {o.segment.trial for o in done} == set(range(40))
    assert len({o.worker for o in done}) >= 2
    for outcome in sorted(done, key=lambda o: -o.segment.stop)[:3]:
        segment = outcome.segment
        expected = alone_to_the_end(dict(segment.config), segment.seed, segment.stop)
        assert outcome.curve["val_loss"][-1] == pytest.approx(expected, rel=1e-4)
    assert results.best.checkpoint is not None
    model = learners.Perceptron.restored(results.best.checkpoint)
    points, sides = learners.examples(50, 1)
    loss = torch.nn.functional.cross_entropy(model(points), sides).item()
    assert loss == pytest.approx(results.best.value, rel=1e-4)


def test_models_that_cannot_train_together_are_searched_one_at_a_time_with_a_warning(
    ray_cluster: None, storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search(learners.Recurrent, storage, "singly", samples=6)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(said) == 1  # once, though two workers say it
    assert said[0].startswith("warning: models are trained one at a time: module recur")
    assert {o.status for o in outcomes(storage, "singly")} == {Status.COMPLETED}


def test_data_that_cannot_be_read_end_the_search_with_the_reason(ray_cluster: None, storage: Path) -> None:
    with pytest.raises(RunError, match=r"could not start: .*data raised ZeroDivisionError: division by zero"):
        search(Failing, storage, "data", workers=1)


class Failing(learners.Perceptron):
    """Its data cannot be read."""

    def data(self) -> Data:
        raise ZeroDivisionError("division by zero")


@pytest.mark.slow
def test_panda_raises_a_learner_with_its_forks_copied_in_memory(ray_cluster: None, storage: Path) -> None:
    results = search(
        learners.Perceptron,
        storage,
        "panda",
        space={"lr": {"loguniform": [1e-4, 1e-1]}},
        config={"batch_size": 16, "dropout": 0.1},
        baseline={"lr": 1e-4},
        strategy=raysearch.Panda(max_iterations=60, population=1),
        workers=1,
    )
    told = outcomes(storage, "panda")
    assert {o.status for o in told} == {Status.COMPLETED}
    assert max(o.segment.stop for o in told) == 60
    assert results.best.value < alone_to_the_end({"lr": 1e-4, "dropout": 0.1}, told[0].segment.seed, 60)


def test_fuse_off_trains_one_at_a_time_and_the_note_of_a_checkpoint_says_the_model(
    ray_cluster: None, storage: Path
) -> None:
    results = search(learners.Perceptron, storage, "off", samples=6, fuse=False, workers=1)
    note = json.loads((Path(str(results.best.checkpoint)) / "learner.json").read_text())
    assert note["row"] == 0
    assert note["config"]["lr"] == pytest.approx(results.best.config["lr"])


class Thinning(learners.Recurrent):
    """A recurrent kernel with dropout of its own, which draws from torch's generator."""

    def model(self, config: Any) -> nn.Module:
        made = super().model(config)
        made.recur = nn.GRU(4, 6, num_layers=2, dropout=0.5, batch_first=True)
        return made


def test_a_kernel_that_draws_by_itself_draws_by_the_seed_of_the_trial() -> None:
    def losses(seed: int) -> list[float]:
        one = Thinning(config={**CONFIG, "seed": seed})
        return [one.train()["train_loss"] for _ in range(2)]

    first = losses(3)
    torch.rand(7)
    assert losses(3) == first
    assert losses(4) != first


def test_a_seed_of_torch_that_fills_64_bits_is_as_good_as_any() -> None:
    before = torch.get_rng_state()
    torch.manual_seed(-1)
    try:
        assert torch.initial_seed() == 2**64 - 1
        assert math.isfinite(learners.Perceptron(config=CONFIG).train()["val_loss"])
    finally:
        torch.set_rng_state(before)
    with pytest.raises(TrainableError, match="seed: 9223372036854775809 must be less than"):
        learners.Perceptron(config={**CONFIG, "seed": 2**63 + 1})


class Splitting(learners.Perceptron):
    """Draws which examples validate."""

    def data(self) -> Data:
        points, sides = learners.examples(60, 0)
        drawn = torch.randperm(60)
        kept = torch.from_numpy(np.random.permutation(40))
        train, validation = drawn[:40][kept], drawn[40:]
        return Data(train=(points[train], sides[train]), validation=(points[validation], sides[validation]))


def test_a_split_that_is_drawn_is_the_same_in_every_process() -> None:
    splits = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        _prepared.cache_clear()
        splits.append(Splitting.prepared()[0])
        assert torch.initial_seed() == seed
    assert all(torch.equal(a, b) for a, b in zip(splits[0].train, splits[1].train, strict=True))


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("precision", "bf16", "precision: 'bf16' is not one of"),
        ("steps", 0, "steps: 0 must be a whole number, at least 1"),
        ("evaluate_at_once", 2.5, "evaluate_at_once: 2.5 must be"),
        ("paired", {"val_loss": 0}, r"paired\['val_loss'\]: 0 must be"),
    ],
)
def test_an_attribute_that_cannot_be_is_told_where_the_class_is_made(
    name: str, value: Any, text: str
) -> None:
    with pytest.raises(TrainableError, match=text):
        type("Wrong", (learners.Perceptron,), {name: value})


class Taking(learners.Perceptron):
    """Takes what is its own out of the configuration."""

    def model(self, config: Any) -> nn.Module:
        return super().model(config.pop("net") | {"dropout": 0.0})


def test_a_model_may_change_the_configuration_that_it_is_made_from() -> None:
    config = {"net": {"hidden": 5}, "lr": 0.01, "batch_size": 16}
    one = Taking(config=config)
    one.train()
    one.reset({**config, "lr": 0.02})
    assert math.isfinite(one.train()["val_loss"])
    assert one.config["net"] == {"hidden": 5}
