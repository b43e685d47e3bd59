"""What can be trained together is found out by trying, and what cannot is told with the module and why."""

from __future__ import annotations

from typing import Any

import learners
import pytest
import torch
from torch import nn

from raysearch.errors import TrainableError
from raysearch.fused.compatibility import FusionVerdict, examine
from raysearch.fused.member import member
from raysearch.fused.single import fresh
from raysearch.fused.structure import Lifting, structure_of


def verdict_on(learner: type[Any], *configs: dict[str, Any]) -> FusionVerdict:
    full = [{**learners.CONFIG, **config} for config in configs] or [learners.CONFIG]
    return examine(learner.plain(), learner.prepared()[0], full)


@pytest.mark.parametrize(
    "learner",
    [
        learners.Perceptron,
        learners.Convolutional,
        learners.Signal,
        learners.Attending,
        learners.Normed,
        learners.Tied,
    ],
    ids=lambda c: c.__name__,
)
def test_models_whose_numbers_come_out_alike_train_together(learner: type[Any]) -> None:
    found = verdict_on(learner, {"dropout": 0.1}, {"dropout": 0.4}, {"lr": 0.1})
    assert (found.fuses, found.why) == (True, "")


@pytest.mark.parametrize(
    ("learner", "text"),
    [
        (
            learners.Recurrent,
            "models are trained one at a time: module recur (GRU) cannot be trained in a pack (RuntimeError: "
            "Batching rule not implemented for aten::gru.input",
        ),
        (
            learners.Branching,
            "module the model (_Branching) cannot be trained in a pack (RuntimeError: vmap: ",
        ),
        (learners.Counting, "this model cannot be trained in a pack ("),
        (
            learners.Drawing,
            "the loss or a metric cannot be trained in a pack (RuntimeError: vmap: called random",
        ),
    ],
    ids=["recurrent", "branching", "counting", "drawing"],
)
def test_a_model_that_cannot_be_vectorised_is_told_with_where_and_why(learner: type[Any], text: str) -> None:
    found = verdict_on(learner)
    assert not found.fuses
    assert text in found.why


def test_a_number_of_a_module_may_differ_where_a_tensor_can_take_its_place() -> None:
    found = verdict_on(learners.Sloped, {"temperature": 0.5}, {"temperature": 2.0})
    assert found.fuses
    assert (learners._Sloped, "temperature") in found.lifting.attributes


def test_a_loss_that_needs_a_number_as_such_keeps_models_apart_that_differ_in_it() -> None:
    found = verdict_on(learners.Whole, {"times": 1}, {"times": 1, "lr": 0.1})
    assert found.fuses
    assert found.why == (
        "models train together only where they agree in times of the configuration, which cannot be a tensor"
    )
    assert found.lifting.refused == {"times"}


class Kept(learners.Perceptron):
    """A model that keeps its whole configuration."""

    def model(self, config: Any) -> nn.Module:
        made = super().model(config)
        made.config = dict(config)
        return made


def structure(learner: type[Any], config: dict[str, Any]) -> Any:
    plain = learner.plain()
    return structure_of(fresh(plain, config, 0), member(plain, config, 0), Lifting())


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({"lr": 0.5}, True),
        ({"dropout": 0.9}, True),
        ({"dropout": 0.0}, False),
        ({"seed": 3}, True),
        ({"hidden": 13}, False),
        ({"batch_size": 8}, False),
        ({"optimizer": "sgd"}, False),
        ({"ema_decay": 0.9}, False),
        ({"temperature": 0.9}, False),  # which a loss may ask for
        ({"kind": "other"}, False),
    ],
    ids=str,
)
def test_models_fit_where_they_differ_in_nothing_but_numbers(change: dict[str, Any], fits: bool) -> None:
    config = {**learners.CONFIG, "kind": "one", "seed": 0}
    one = structure(learners.Perceptron, config)
    other = structure(learners.Perceptron, {**config, **change})
    assert (one == other) == fits


def test_what_a_module_keeps_of_its_configuration_keeps_models_apart() -> None:
    one, other = (structure(Kept, {**learners.CONFIG, "lr": lr}) for lr in (0.1, 0.2))
    assert one != other


class Lambda(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function, self.head = function, nn.Linear(learners.FEATURES, learners.CLASSES)

    def forward(self, points: Any) -> Any:
        return self.function(self.head(points))


class Closing(learners.Perceptron):
    """A function that closes over the configuration."""

    def model(self, config: Any) -> nn.Module:
        return Lambda(lambda x: x * config["scale"])


class Inside(learners.Perceptron):
    """A class that is made anew for each model."""

    def model(self, config: Any) -> nn.Module:
        class Head(nn.Linear):
            pass

        return nn.Sequential(Head(learners.FEATURES, learners.CLASSES))


class Tallying(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(learners.FEATURES, learners.CLASSES)
        self.register_buffer("n", torch.tensor(0))

    def forward(self, points: Any) -> Any:
        if self.training:
            self.n = self.n + 1
        return self.head(points)


class Tally(learners.Perceptron):
    """A whole number in a buffer, which is put anew instead of changed."""

    def model(self, config: Any) -> nn.Module:
        return Tallying()


@pytest.mark.parametrize(
    ("learner", "text"),
    [
        (
            Closing,
            "module the model (Lambda) keeps another function in every model, which cannot be compared",
        ),
        (Inside, "module 0 (Head) has a class of its own in every model"),
        (Tally, "the buffer n cannot be trained in a pack (its values come out different there"),
    ],
    ids=["closure", "class", "buffer"],
)
def test_what_models_keep_apart_from_their_weights_is_found(learner: type[Any], text: str) -> None:
    found = verdict_on(learner, {"scale": 1.0}, {"scale": 2.0})
    assert not found.fuses
    assert text in found.why


def test_two_objects_are_never_taken_for_one_because_the_first_is_gone() -> None:
    keys = [structure(Closing, {**learners.CONFIG, "scale": 1.0 + i}) for i in range(20)]
    assert len(set(keys)) == 20


class Biased(learners.Perceptron):
    """A bias before a batch norm, of which the gradient is 0 but for rounding."""

    def model(self, config: Any) -> nn.Module:
        return nn.Sequential(
            nn.Linear(learners.FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, learners.CLASSES)
        )


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "lion"])
def test_steps_of_full_length_along_rounding_do_not_keep_models_apart(optimizer: str) -> None:
    found = verdict_on(Biased, {"optimizer": optimizer, "lr": 0.05}, {"optimizer": optimizer, "lr": 0.02})
    assert (found.fuses, found.why) == (True, "")


def test_a_configuration_that_cannot_be_trained_keeps_no_others_apart() -> None:
    found = verdict_on(learners.Perceptron, {"hidden": -1}, {"lr": 0.1}, {"lr": 0.2})
    assert found.fuses
    with pytest.raises(RuntimeError, match="negative dimension"):
        verdict_on(learners.Perceptron, {"hidden": -1})


BACKBONE = nn.Linear(learners.FEATURES, 8)


class Sharing(learners.Perceptron):
    """A backbone that is loaded once; frozen or not."""

    def model(self, config: Any) -> nn.Module:
        BACKBONE.requires_grad_(bool(config.get("trains", False)))
        return nn.Sequential(BACKBONE, nn.Tanh(), nn.Linear(8, learners.CLASSES))


def test_a_frozen_part_may_be_shared_by_all_models_and_stays_as_it_was() -> None:
    before = BACKBONE.weight.detach().clone()
    found = verdict_on(Sharing, {"lr": 0.1}, {"lr": 0.2})
    assert (found.fuses, found.why) == (True, "")
    assert isinstance(BACKBONE.weight, nn.Parameter)
    assert torch.equal(BACKBONE.weight, before)


def test_a_trained_part_that_models_share_is_refused() -> None:
    with pytest.raises(TrainableError, match="weights that another model has too"):
        verdict_on(Sharing, {"trains": True})
