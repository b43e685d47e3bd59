"""What can be trained together is found out by trying, and what cannot is told with the module and why."""

from __future__ import annotations

from typing import Any

import learners
import pytest
from torch import nn

from raysearch.fused.alone import fresh
from raysearch.fused.fusable import Verdict, examine
from raysearch.fused.stepping import member
from raysearch.fused.structure import Lifting, structure_of


def verdict_on(learner: type[Any], *configs: dict[str, Any]) -> Verdict:
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
        "models train together only where they agree in the configuration's numbers in loss, "
        "which cannot be a tensor"
    )
    assert "times" in found.lifting.refused


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
