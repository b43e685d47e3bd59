"""`raysearch bench panda --tasks`: rivals do what their papers say, and a bench that was cut goes on."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from raysearch.bench.panda import main
from raysearch.bench.support.population_rivals import RULES
from raysearch.bench.support.raised_contest import measured
from raysearch.bench.support.raised_tables import read
from raysearch.bench.support.raised_tasks import TASKS, CartPole, HeavyTails, Quadratic
from raysearch.bench.support.schedule_rivals import RIVALS, ada_lrs, one_cycle, warmup_stable_decay
from raysearch.errors import SpecError

SMALL = ["--tasks", "quadratic", "--quick", "--seeds", "2", "--starts", "0.3,3", "--processes", "1"]


def test_the_bench_compares_in_pairs_and_runs_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    options = [*SMALL, "--rivals", "cosine,adalrs,panda-1", "--out", str(out), "--json"]
    assert main(options) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(row["task"], row["contender"]) for row in said["rows"]] == [
        ("quadratic", name) for name in ("cosine", "adalrs", "panda-1")
    ]
    assert all(row["cost"] <= 1.25 for row in said["rows"])
    assert said["notes"][1].startswith("  panda-1 against cosine: wins ")
    first = out.read_text()
    assert len(read(out)) == 12
    assert main(options) == 0
    assert out.read_text() == first


@pytest.mark.parametrize("name", [*RIVALS, "panda-1", *(f"{rule}-2" for rule in RULES), "panda-2"])
def test_the_same_seed_hands_over_the_same_model_at_the_cost_allowed(name: str) -> None:
    one, again = (measured("heavy-tails", name, 0.3, 5, quick=True) for _ in range(2))
    assert (one.test, one.val, one.iterations) == (again.test, again.val, again.iterations)
    assert math.isfinite(one.test)
    assert one.iterations <= (2 if name.endswith("-2") else 1.25) * one.horizon


@pytest.mark.parametrize("model", [HeavyTails, Quadratic])
def test_gradients_are_those_of_the_loss(model: type[HeavyTails | Quadratic]) -> None:
    one = model(3)
    state = one.rng.bit_generator.state

    def half_square(w: np.ndarray) -> float:
        one.rng.bit_generator.state = state
        if isinstance(one, Quadratic):
            return one.gradient(w)[0]
        x, y = one._examples(one.rng, one.batch)
        hidden = np.tanh(x @ w[: -one.units].reshape(one.inputs, one.units))
        return float(0.5 * np.mean((hidden @ w[-one.units :] - y) ** 2))

    one.rng.bit_generator.state = state
    found = one.gradient(one.w)[1]
    for k in (0, 7, len(found) - 1):
        step = np.zeros(len(found))
        step[k] = 1e-5
        slope = (half_square(one.w + step) - half_square(one.w - step)) / 2e-5
        assert found[k] == pytest.approx(slope, rel=1e-3, abs=1e-7)


def test_a_policy_learns_to_hold_the_pole() -> None:
    cart = CartPole(0)
    before = cart.test()
    for _ in range(20):
        cart.learn(0.02)
    assert cart.test() > 1.5 * before


def test_schedules_warm_up_hold_and_fall() -> None:
    assert warmup_stable_decay(0.5) == 1.0
    assert warmup_stable_decay(0.0) < 0.2
    assert warmup_stable_decay(0.999) < 0.05
    assert one_cycle(0.0) == pytest.approx(1 / 25)
    assert one_cycle(0.3) == pytest.approx(1.0)
    assert one_cycle(1.0) == pytest.approx(1e-4)


class Falling(Quadratic):
    """Its loss falls the faster the nearer the rate is to 0.02; above 0.1 it rises."""

    def __init__(self) -> None:
        super().__init__(0)
        self.level, self.rates = 100.0, list[float]()

    def learn(self, lr: float) -> float:
        self.rates.append(lr)
        self.level += 1.0 if lr > 0.1 else -min(lr / 0.02, 0.02 / lr)
        return self.level


@pytest.mark.parametrize("start", [2e-4, 0.08, 0.3])
def test_adalrs_finds_the_rate_at_which_the_loss_falls_fastest_and_takes_back_what_was_worse(
    start: float,
) -> None:
    model = Falling()
    ada_lrs(model, start, 400)
    assert len(model.rates) == 400
    assert abs(math.log(model.rates[160] / 0.02)) < abs(math.log(start / 0.02)) - 0.6
    assert model.rates[-1] < 0.01 * model.rates[170], "it decays"


def test_a_task_or_a_rival_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match="unknown task 'mnist'"):
        main(["--tasks", "mnist"])
    with pytest.raises(SpecError, match="unknown rival 'pbt'"):
        main(["--tasks", "quadratic", "--rivals", "pbt"])
    assert all(task.quick < task.horizon for task in TASKS.values())


def test_models_on_torch_report_the_loss_over_parts_of_the_validation_set() -> None:
    model = TASKS["digits"].make(0)
    model.learn(0.01)
    loss, parts = model.validate()
    assert len(parts) == 16
    assert sum(parts) / 16 == pytest.approx(loss, rel=1e-3)
