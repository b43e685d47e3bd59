from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune
from ray.train._internal.storage import StorageContext
from ray.tune.trainable import wrap_function

from raysearch.examples import digits, mnist
from raysearch.examples.chars import Chars
from raysearch.examples.digits import Digits
from raysearch.examples.digits_function import train as digits_function_train
from raysearch.examples.mnist import Mnist
from raysearch.examples.mnist1d import Mnist1d
from raysearch.examples.trainable import Example
from raysearch.examples.training import Problem, Training
from raysearch.examples.transformer import Transformer
from raysearch.fused.compatibility import examine

COMMON = {"dropout": 0.2, "weight_decay": 1e-4, "seed": 3}
ADAMW = COMMON | {"optimizer": "adamw", "lr": 3e-3}
SGD = COMMON | {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9}
SMALL: dict[type[Any], dict[str, Any]] = {
    Digits: {"hidden": 32, "layers": 1, "batch_size": 32},
    Mnist: {"channels": 4, "batch_size": 128},
    Chars: {"embedding": 16, "hidden": 32, "layers": 1, "batch_size": 64},
    Transformer: {"width": 16, "layers": 1, "batch_size": 8},
}
LEARNERS = [Digits, Mnist, Transformer]
PROBLEMS = {
    "digits": digits.problem,
    "mnist": mnist.problem,
    "chars": Chars.problem,
    "mnist1d": Mnist1d.problem,
}
each_example = pytest.mark.parametrize("cls", SMALL, ids=lambda cls: cls.__name__)
each_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
each_optimizer = pytest.mark.parametrize("settings", [ADAMW, SGD], ids=["adamw", "sgd"])


def metrics(result: dict[str, Any]) -> dict[str, float]:
    return {name: result[name] for name in ("train_loss", "val_loss", "val_accuracy")}


def train(trainable: tune.Trainable, iterations: int) -> list[dict[str, float]]:
    return [metrics(trainable.train()) for _ in range(iterations)]


@each_example
def test_training_lowers_the_validation_loss_and_raises_the_accuracy(cls: type[Any]) -> None:
    first, *_, last = train(cls(config=ADAMW | SMALL[cls]), 4)
    assert last["val_loss"] < 0.9 * first["val_loss"]
    assert last["train_loss"] < first["train_loss"]
    assert last["val_accuracy"] > first["val_accuracy"]


@each_example
@each_optimizer
def test_a_pause_changes_no_bit_of_what_comes_after(
    cls: type[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    config = settings | SMALL[cls]
    unbroken = train(cls(config=config), 3)
    paused = cls(config=config)
    before = train(paused, 1)
    saved = paused.save(str(tmp_path))
    torch.manual_seed(99)  # what else draws from torch's generator does not matter
    resumed = cls(config=config)
    resumed.restore(saved)
    assert before + train(resumed, 2) == unbroken
    assert resumed.iteration == 3


@each_example
def test_a_checkpoint_goes_on_under_another_seed_with_its_weights_and_other_examples(
    cls: type[Any], tmp_path: Path
) -> None:
    config = ADAMW | SMALL[cls]
    donor = cls(config=config)
    train(donor, 1)
    saved = donor.save(str(tmp_path))
    fork, other = (cls(config=config | {"seed": seed}) for seed in (4, 5))
    fork.restore(saved)
    other.restore(saved)
    if issubclass(cls, Example):
        assert fork.training.validate() == donor.training.validate() == other.training.validate()
    ends = [metrics(trainable.train()) for trainable in (donor, fork, other)]
    assert ends[0] != ends[1] != ends[2] != ends[0]


@each_example
def test_the_seed_decides_everything_and_torchs_own_generator_nothing(cls: type[Any]) -> None:
    config = ADAMW | SMALL[cls]
    torch.manual_seed(1)
    state = torch.get_rng_state()
    once = train(cls(config=config), 1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert train(cls(config=config), 1) == once
    assert train(cls(config=config | {"seed": 4}), 1) != once


@each_example
def test_a_process_used_again_trains_as_a_fresh_one_does(cls: type[Any]) -> None:
    fresh = train(cls(config=SGD | SMALL[cls]), 1)
    used = cls(config=ADAMW | SMALL[cls])
    train(used, 1)
    assert used.reset(SGD | SMALL[cls])
    assert used.iteration == 0
    assert train(used, 1) == fresh


PLAIN = SMALL[Chars]


def test_a_checkpoint_restored_under_another_learning_rate_is_trained_with_that_one(tmp_path: Path) -> None:
    config = SGD | PLAIN
    donor = Chars(config=config)
    train(donor, 1)
    saved = donor.save(str(tmp_path))
    fork = Chars(config=config | {"lr": 0.001, "momentum": 0.5})
    fork.restore(saved)
    group = fork.training.optimizer.param_groups[0]
    assert (group["lr"], group["momentum"]) == (0.001, 0.5)
    assert metrics(fork.train())["train_loss"] != metrics(donor.train())["train_loss"]


def test_a_checkpoint_restored_under_another_optimizer_keeps_the_weights(tmp_path: Path) -> None:
    donor = Chars(config=SGD | PLAIN)
    train(donor, 1)
    saved = donor.save(str(tmp_path))
    fork = Chars(config=ADAMW | PLAIN)
    fork.restore(saved)
    assert fork.training.validate() == donor.training.validate()
    assert isinstance(fork.training.optimizer, torch.optim.AdamW)


@pytest.mark.parametrize("cls", LEARNERS, ids=lambda cls: cls.__name__)
def test_models_of_the_learners_train_together(cls: type[Any]) -> None:
    configs = [settings | SMALL[cls] | {"lr": lr} for settings in (ADAMW, SGD) for lr in (0.01, 0.02)]
    verdict = examine(cls.plain(), cls.prepared()[0], configs)
    assert (verdict.fuses, verdict.why) == (True, "")


@each_problem
def test_no_validation_example_is_trained_on(problem: Callable[[], Problem]) -> None:
    found = problem()
    train, validation = (part[0].flatten(1) for part in (found.train, found.validation))
    assert len(validation) >= 0.05 * len(train)
    if problem is not Chars.problem:  # single windows of text may repeat: headings, rules
        assert not {tuple(row) for row in validation.tolist()} & {tuple(row) for row in train.tolist()}


@each_problem
def test_the_examples_are_read_once_in_a_process(problem: Callable[[], Problem]) -> None:
    assert problem() is problem()


def test_a_window_of_text_is_followed_by_its_next_character() -> None:
    inputs, targets = Chars.problem().train
    assert inputs.shape == targets.shape
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert torch.equal(inputs[1:, 0], targets[:-1, -1])


def test_the_function_trains_pauses_and_goes_on_as_one_without_a_pause(
    ray_cluster: None, tmp_path: Path
) -> None:
    config = ADAMW | SMALL[Digits]
    training = Training(digits.problem(), config)
    expected = [metrics(training.iterate()) for _ in range(4)]
    first = digits_function(config, tmp_path / "first")
    before = train(first, 2)
    saved = first.save()
    first.stop()
    then = digits_function(config, tmp_path / "second")
    then.restore(saved)
    after = [then.train() for _ in range(2)]
    then.stop()
    assert before + [metrics(result) for result in after] == expected
    assert [result["epoch"] for result in after] == [3, 4]


def digits_function(config: dict[str, Any], folder: Path) -> tune.Trainable:
    """The function as Tune runs it, in this process."""
    storage = StorageContext(storage_path=str(folder), experiment_dir_name="run", trial_dir_name="trial")
    return wrap_function(digits_function_train)(config=dict(config), storage=storage)
