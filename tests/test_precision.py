"""What is special about numbers: half precision, and an optimizer that changes on the way."""

from __future__ import annotations

from typing import Any

import learners
import pytest
import torch
from test_pack import CPU, Group, distance

from raysearch.fused import evaluation, traced_step
from raysearch.fused.compatibility import examine
from raysearch.fused.single import Alone


class Half(learners.Perceptron):
    """In bfloat16 where it pays."""

    precision = "bfloat16"


@pytest.mark.parametrize("patience", [0, 1 << 30], ids=["traced", "as written"])
def test_half_precision_in_a_pack_is_half_precision_alone(
    patience: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traced_step, "PATIENCE", patience)
    monkeypatch.setattr(evaluation, "PATIENCE", patience)
    config = {**learners.CONFIG, "lr": 3e-3}
    group = Group(Half, config)
    for seed in range(3):
        group.join(config, seed)
    for _ in range(3):
        group.pack.iterate()
    assert (group.pack.trouble, group.pack.refused) == ("", "")
    for seed, row in enumerate(group.pack.take(range(3))):
        expected, _ = group.alone(config, seed, 3)
        assert distance(row.parameters, expected.parameters) <= 0.02  # 8 bits of mantissa, 18 steps
        whole = Alone(learners.Perceptron.plain(), group.data, CPU, config, seed)
        for _ in range(3):
            whole.iterate()
        assert not torch.equal(whole.row().parameters, row.parameters)


@pytest.mark.parametrize("then", ["adam", "adamw", "lion"])
def test_a_model_that_changes_its_optimizer_goes_on_in_a_pack_as_it_does_alone(then: str) -> None:
    first = {**learners.CONFIG, "optimizer": "sgd", "momentum": 0.9}
    second = {**learners.CONFIG, "optimizer": then, "lr": 1e-3}
    before = Group(learners.Perceptron, first)
    before.join(first, 5)
    for _ in range(2):
        before.pack.iterate()
    row = before.pack.take([0])[0]
    after = Group(learners.Perceptron, second)
    for seed in (1, 2):
        after.join(second, seed)
    old = before.pack.members[0]
    old.config = second
    after.join_again(row, old)
    after.pack.iterate()
    one = Alone(after.learner, after.data, CPU, second, 5)
    one.put(row, 2)
    one.iterate()
    assert distance(after.pack.take([2])[0].parameters, one.row().parameters) <= 1e-4


def test_a_module_that_keeps_its_whole_configuration_is_told_to_keep_models_apart() -> None:
    class Keeps(torch.nn.Sequential):
        def __init__(self, config: Any) -> None:
            super().__init__(torch.nn.Linear(learners.FEATURES, learners.CLASSES))
            self.config = dict(config)

    class Keeping(learners.Perceptron):
        def model(self, config: Any) -> torch.nn.Module:
            return Keeps(config)

    configs = [{**learners.CONFIG, "lr": lr} for lr in (0.01, 0.02)]
    verdict = examine(Keeping.plain(), Keeping.prepared()[0], configs)
    assert verdict.fuses
    assert verdict.why == (
        "models train together only where they agree in Keeps.config, which cannot be a tensor"
    )
