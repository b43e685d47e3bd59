"""muP and CompleteP by the shapes of parameters, multipliers at the step, and the coordinate check."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import raysearch
from raysearch.core.used_values import Wanted
from raysearch.errors import SpecError
from raysearch.examples.transformer import CharTransformer
from raysearch.storage.paths import COORDINATE_CHECK
from raysearch.torch import scaling, step_watch
from raysearch.torch.group_values import Series
from raysearch.torch.scaling.multipliers import KEY

DRAWN = torch.Generator().manual_seed(0)
IMAGES, LABELS = torch.randn(32, 64, generator=DRAWN), torch.randint(0, 10, (32,), generator=DRAWN)
TEXT, FOLLOWING = (torch.randint(0, 90, (4, 16), generator=DRAWN) for _ in range(2))
WIDTHS = (32, 64, 128)
OPTIMIZERS: dict[str, Any] = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def perceptron(width: int, last: type[nn.Linear] = nn.Linear) -> nn.Sequential:
    hidden = (nn.Linear(width, width), nn.ReLU())
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), *hidden, last(width, 10))


def transformer(width: int) -> nn.Module:
    return CharTransformer(width, 1, 0.0)


class Residual(nn.Module):
    """Blocks beside residual connections, each a Branch."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Linear(64, width)
        self.blocks = nn.ModuleList(scaling.Branch(nn.Linear(width, width)) for _ in range(depth))
        self.last = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        states = self.first(images)
        for block in self.blocks:
            states = states + block(torch.relu(states))
        return self.last(states)


def maker(build: Callable[[int], nn.Module], optimizer: str, lr: float, is_scaled: bool) -> Any:
    inputs, labels = (TEXT, FOLLOWING) if build is transformer else (IMAGES, LABELS)

    def make(width: int) -> Any:
        model = build(width)
        params: Any = model.parameters()
        if is_scaled:
            rules = scaling.rules_for(model, base=build(32), delta=build(64), optimizer=optimizer)
            rules.initialise(model)
            params = rules.groups(model)
        made = OPTIMIZERS[optimizer](params, lr=lr)
        return model, made, lambda model: cross_entropy(model(inputs).flatten(0, -2), labels.flatten())

    return make


def rules(width: int = 128, optimizer: str = "adamw", **roles: str) -> scaling.ScalingRules:
    return scaling.rules_for(
        perceptron(width), base=perceptron(32), delta=perceptron(64), optimizer=optimizer, roles=roles
    )


# ---- rules


@pytest.mark.parametrize(
    ("optimizer", "rates"),
    [("adamw", {"0.weight": 1, "0.bias": 1, "2.weight": 1 / 4, "4.weight": 1 / 4, "4.bias": 1}),
     ("sgd", {"0.weight": 4, "0.bias": 4, "2.weight": 1, "4.weight": 1 / 4, "4.bias": 1})],
)  # fmt: skip
def test_rates_are_those_of_tensor_programs_v_table_3(optimizer: str, rates: dict[str, float]) -> None:
    found = {one.name: one for one in rules(optimizer=optimizer).parameters}
    assert {name: found[name].lr for name in rates} == rates
    assert all(one.lr * one.weight_decay == 1.0 for one in found.values())


def test_initial_weights_are_those_of_table_3_whatever_drew_them() -> None:
    torch.manual_seed(0)
    base, model = perceptron(32), perceptron(128)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
    for module in base:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
    scaling.rules_for(model, base=base, delta=perceptron(64)).initialise(model)
    stds = [float(model[layer].weight.detach().std()) for layer in (0, 2, 4)]
    assert stds == pytest.approx([0.02, 0.02 / math.sqrt(4), 0.02 / 4], rel=0.05)


def test_a_readout_trains_exactly_like_a_linear_layer_by_the_other_table() -> None:
    """Tables 3 and 8 of Tensor Programs V are two ways of writing one training."""
    for optimizer, lr, decay in (("adamw", 0.01, 0.1), ("sgd", 0.1, 0.0)):
        outputs = []
        for last in (nn.Linear, scaling.Readout):
            torch.manual_seed(1)
            base, delta, model = (perceptron(width, last) for width in (32, 64, 128))
            found = scaling.rules_for(model, base=base, delta=delta, optimizer=optimizer)
            found.initialise(model)
            made = OPTIMIZERS[optimizer](found.groups(model), lr=lr, weight_decay=decay)
            train(model, made, 5)
            outputs.append(model(IMAGES))
        torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)


def test_the_base_itself_trains_as_it_would_without_rules() -> None:
    found = scaling.rules_for(perceptron(32), base=perceptron(32), delta=perceptron(64))
    assert {(one.init, one.lr, one.weight_decay, one.eps) for one in found.parameters} == {(1, 1, 1, 1)}


def test_depth_follows_completep() -> None:
    model = Residual(64, 8)
    found = scaling.rules_for(model, base=Residual(32, 2), delta=Residual(64, 2))
    found.initialise(model)
    assert [block.multiplier for block in model.blocks] == [1 / 4] * 8
    by_name = {one.name: one for one in found.parameters}
    inner = by_name["blocks.7.module.weight"]
    assert (inner.lr, inner.weight_decay, inner.eps) == (1 / 2, 2, 1 / (2 * 4))
    assert by_name["first.weight"].eps == 1 / 2
    with pytest.raises(SpecError, match="not sgd"):
        scaling.rules_for(model, base=Residual(32, 2), delta=Residual(64, 2), optimizer="sgd")


def test_a_depth_without_branches_is_remarked_on() -> None:
    def deep(width: int, blocks: int) -> nn.Module:
        return nn.ModuleDict({"blocks": nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))})

    found = scaling.rules_for(deep(64, 4), base=deep(32, 2), delta=deep(64, 2))
    assert "another depth than its base (blocks.*.weight)" in found.remarks[0]


def test_roles_are_found_in_convolutions_embeddings_and_attention() -> None:
    def build(width: int) -> nn.Module:
        return nn.ModuleList(
            [nn.Conv2d(3, width, 3), nn.Conv2d(width, width, 3), nn.MultiheadAttention(width, 2)]
        )

    found = scaling.rules_for(build(64), base=build(16), delta=build(32)).parameters
    roles = {one.name: one.role.value for one in found if "weight" in one.name}
    assert roles == {
        "0.weight": "input",
        "1.weight": "hidden",
        "2.in_proj_weight": "hidden",
        "2.out_proj.weight": "hidden",
    }
    characters = scaling.rules_for(transformer(64), base=transformer(32), delta=transformer(48)).parameters
    found_in = {one.name: (one.role.value, one.grows_out) for one in characters}
    assert found_in["embed.weight"] == found_in["place"] == ("input", 2.0)
    assert found_in["head.weight"] == ("output", 1.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: scaling.rules_for(perceptron(64), base=perceptron(32), delta=perceptron(32)), "same shapes"),
        (lambda: scaling.rules_for(perceptron(64), base=perceptron(32), delta=transformer(32)), "delta has no parameter '0.weight'"),  # noqa: E501
        (lambda: scaling.rules_for(transformer(64), base=perceptron(32), delta=perceptron(64)), "has no counterpart in base"),  # noqa: E501
        (lambda: rules(optimizer="adamww"), "did you mean 'adamw'"),
        (lambda: rules(**{"9.weight": "output"}), "no parameter '9.weight'"),
        (lambda: rules(**{"0.weight": "out"}), "unknown role 'out'"),
        (lambda: rules().initialise(perceptron(128).append(nn.Linear(10, 10))), "for another model"),
        (lambda: scaling.attention_scale(0, 16), "at least 1"),
        (lambda: scaling.coordinate_check(maker(perceptron, "sgd", 0.1, True), (32, 64)), "give 3 different"),
        (lambda: scaling.coordinate_check(maker(perceptron, "sgd", 0.0, True), WIDTHS), "is the rate zero"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_before_anything_trains(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        make()


def test_a_tied_output_layer_must_be_a_readout() -> None:
    class Tied(nn.Module):
        def __init__(self, width: int, last: type[nn.Linear]) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(20, width), last(width, 20)
            self.head.weight = self.embed.weight

    with pytest.raises(SpecError, match=r"head\.weight is an embedding's too"):
        scaling.rules_for(Tied(64, nn.Linear), base=Tied(16, nn.Linear), delta=Tied(32, nn.Linear))
    model = Tied(64, scaling.Readout)
    found = scaling.rules_for(model, base=Tied(16, scaling.Readout), delta=Tied(32, scaling.Readout))
    found.initialise(model)
    assert model.head.multiplier == 1 / 4
    assert {one.name: one.role.value for one in found.parameters} == {
        "embed.weight": "input",
        "head.bias": "fixed",
    }


# ---- multipliers at the step


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, scheduler: Any = None) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(model(IMAGES), LABELS).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


def scaled(**settings: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(2)
    model, found = perceptron(128), rules()
    found.initialise(model)
    return model, torch.optim.AdamW(found.groups(model), **settings)


def by_hand(**settings: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The same with the multipliers written into the groups."""
    model, optimizer = scaled(**settings)
    for group in optimizer.param_groups:
        for key, factor in group.pop(KEY).items():
            group[key] = group[key] * factor
    return model, optimizer


@pytest.mark.parametrize(
    "schedule",
    [
        lambda made: torch.optim.lr_scheduler.CosineAnnealingLR(made, 12),
        lambda made: torch.optim.lr_scheduler.LambdaLR(made, lambda step: 1 / (1 + step)),
        lambda made: torch.optim.lr_scheduler.StepLR(made, 3, 0.5),
    ],
)
@pytest.mark.parametrize("is_tensor", [False, True])
def test_rates_at_the_step_are_those_of_groups_made_by_hand(schedule: Any, is_tensor: bool) -> None:
    weights = []
    for make in (scaled, by_hand):
        lr: Any = torch.tensor(0.01) if is_tensor else 0.01
        model, optimizer = make(lr=lr, weight_decay=0.1)
        train(model, optimizer, 8, schedule(optimizer))
        weights.append(model[2].weight)
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-7)


def test_a_saved_and_restored_training_goes_on_as_if_it_had_not_stopped() -> None:
    whole, optimizer = scaled(lr=0.01, weight_decay=0.1)
    train(whole, optimizer, 3)
    state = copy.deepcopy((whole.state_dict(), optimizer.state_dict()))
    train(whole, optimizer, 3)
    again, restored = scaled(lr=0.01, weight_decay=0.1)
    again.load_state_dict(state[0])
    restored.load_state_dict(state[1])
    raysearch.torch.apply(restored, {"lr": 0.01, "weight_decay": 0.1})
    train(again, restored, 3)
    torch.testing.assert_close(again[2].weight, whole[2].weight, rtol=0, atol=0)
    assert {group["lr"] for group in restored.param_groups} == {0.01}


def test_a_search_multiplies_and_notes_the_base_rate_and_gives_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its multiplier and the rules' hold together, in whichever order both were installed."""
    weights, held = [], {}
    for installs_first in (True, False):
        watch = step_watch.StepWatch()
        watch.plan([Wanted("lr", "lr", given=0.01, asked=0.02, saved=0.01)])
        if installs_first:
            step_watch.activate(watch)
        model, optimizer = scaled(lr=0.01)
        step_watch.activate(watch)
        train(model, optimizer, 4)
        held = watch.take()
        step_watch.activate(None)
        assert {group["lr"] for group in optimizer.param_groups} == {0.01}
        weights.append(model[2].weight)
    assert set(held) == {Series("lr", 0, group) for group in range(len(optimizer.param_groups))}
    assert {value.last for value in held.values()} == {0.02}
    alone, optimizer = scaled(lr=0.02)
    train(alone, optimizer, 4)
    for seen in weights:
        torch.testing.assert_close(seen, alone[2].weight, rtol=0, atol=0)


def test_a_step_within_a_step_is_multiplied_once_and_one_that_raises_leaves_nothing() -> None:
    class Twice(torch.optim.AdamW):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    model, _ = scaled(lr=0.01)
    found = rules()
    optimizer = Twice(found.groups(model), lr=0.01)
    other, plain = scaled(lr=0.01)
    train(model, optimizer, 3)
    train(other, plain, 3)
    torch.testing.assert_close(model[2].weight, other[2].weight, rtol=0, atol=0)

    def fails() -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        plain.step(fails)
    train(model, optimizer, 1)
    train(other, plain, 1)
    torch.testing.assert_close(model[2].weight, other[2].weight, rtol=0, atol=0)
    assert {group["lr"] for group in plain.param_groups} == {0.01}


# ---- the coordinate check


@pytest.mark.parametrize("build", [perceptron, transformer])
@pytest.mark.parametrize(("optimizer", "lr"), [("adamw", 0.01), ("sgd", 0.1)])
def test_the_standard_parametrisation_fails_and_mup_passes(build: Any, optimizer: str, lr: float) -> None:
    standard, mup = (
        scaling.coordinate_check(maker(build, optimizer, lr, is_scaled), WIDTHS, seeds=(0, 1))
        for is_scaled in (False, True)
    )
    assert mup.passed, mup.verdict
    assert not standard.passed
    assert standard.verdict.startswith("failed: in ")
    assert "do not transfer across the width" in standard.verdict


def test_a_check_is_saved_shown_and_leaves_the_random_state_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    check = scaling.coordinate_check(maker(perceptron, "adamw", 0.01, True), WIDTHS, steps=4, seeds=[0])
    assert torch.equal(before, torch.get_rng_state())
    check.save(tmp_path)
    assert scaling.coordinates.load_check(tmp_path) == check
    assert scaling.coordinates.load_check(tmp_path / "none") is None
    frame = check.frame()
    assert [*frame["layer"].unique()] == ["0", "2", "4"]
    assert len(frame) == len(WIDTHS) * 4 * 3
    figure = check.figure()
    assert len(figure.data) == 2 * 3
    assert list(figure.data[0].x) == [*WIDTHS]
    (tmp_path / COORDINATE_CHECK).write_text("{}")
    with pytest.raises(SpecError, match="is not what CoordinateCheck"):
        scaling.coordinates.load_check(tmp_path)


def test_a_rate_that_blows_up_fails_the_check() -> None:
    check = scaling.coordinate_check(maker(perceptron, "sgd", 1e30, True), WIDTHS, seeds=[0])
    assert not check.passed
    assert "is not finite" in check.verdict
