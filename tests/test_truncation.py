"""Population-based training as published: quantile, resampling, factors and burn-in are as asked for."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from raysearch import Panda, Space
from raysearch.core.segment import Config, Outcome, Segment, Status
from raysearch.errors import SpecError
from raysearch.spec import load_spec, make_spec
from raysearch.strategies.panda.truncation import Truncation

SPACE = Space.from_dict(
    {
        "lr": {"loguniform": [1e-6, 1.0]},
        "momentum": {"uniform": [0.0, 1.0]},
        "size": {"ordinal": [8, 16, 32, 64, 128]},
        "width": {"randint": [1, 1000]},
    }
)
NUDGED = ("lr", "momentum", "size")
START = {"lr": 1e-3, "momentum": 0.5, "size": 32, "width": 500}


def raised(
    exploit: Any, population: int = 6, baseline: Config | None = None, length: int = 40
) -> list[Segment]:
    """The segments of a search in which a model is as good as its number is high."""
    recipe = Panda(length, population=population, interval=4, nudge=NUDGED, exploit=exploit)
    search = recipe.start(SPACE, metric="loss", mode="min", seed=1, baseline=baseline)
    told: list[Segment] = []
    worth: dict[int, float] = {}
    while not search.finished:
        for one in search.ask(free=population):
            if one.parent is None:
                worth[one.id] = -float(one.trial)
            else:
                worth[one.id] = worth[one.parent]
            curve = {"loss": [worth[one.id]] * (one.stop - one.start)}
            search.tell(Outcome(one, Status.COMPLETED, curve))
            told.append(one)
    return told


def clones(told: list[Segment]) -> list[Segment]:
    return [one for one in told if str(one.event) == "clone"]


def parents(told: list[Segment]) -> list[tuple[Config, Config]]:
    """(the donor's values, the copy's) of each copy."""
    by_id = {one.id: one for one in told}
    return [(by_id[one.parent].config, one.config) for one in clones(told) if one.parent is not None]


@pytest.mark.parametrize(("quantile", "copies"), [(0.0, 0), (0.1, 1), (1 / 6, 1), (0.25, 2), (0.5, 3)])
def test_the_quantile_says_how_many_copy(quantile: float, copies: int) -> None:
    told = raised(Truncation(quantile))
    assert [sum(one.start == at for one in clones(told)) for at in (4, 8, 36)] == [copies] * 3


def test_values_are_multiplied_by_one_of_the_factors_and_none_is_drawn_anew() -> None:
    found = parents(raised({"name": "truncation", "quantile": 0.5, "resample": 0.0, "factors": [1.5, 0.5]}))
    assert len(found) == 27
    rates = {round(new["lr"] / old["lr"], 6) for old, new in found if 1.1e-6 < new["lr"] < 0.9}
    assert rates == {1.5, 0.5}
    assert {round(new["momentum"] / old["momentum"], 6) for old, new in found if new["momentum"] < 1} == {
        1.5,
        0.5,
    }
    sizes = [8, 16, 32, 64, 128]
    steps = {sizes.index(new["size"]) - sizes.index(old["size"]) for old, new in found}
    assert steps <= {-1, 0, 1}
    assert {-1, 1} <= steps
    assert all(old["width"] == new["width"] for old, new in found)


def test_every_value_is_drawn_anew_where_that_is_certain() -> None:
    found = parents(raised(Truncation(0.5, resample=1.0, factors=(1.2, 0.8))))
    ratios = [new["lr"] / old["lr"] for old, new in found]
    assert len({round(one, 6) for one in ratios}) == len(found)
    assert all(min(abs(one - 1.2), abs(one - 0.8)) > 1e-9 for one in ratios)


def test_how_often_values_are_drawn_anew_is_the_probability() -> None:
    found = parents(raised(Truncation(0.5, resample=0.1, factors=(1.2, 0.8)), population=12, length=400))
    free = [new["lr"] / old["lr"] for old, new in found if 1.1e-6 < new["lr"] < 0.9]
    drawn = sum(min(abs(one - 1.2), abs(one - 0.8)) > 1e-9 for one in free) / len(free)
    assert len(free) > 300
    assert drawn == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize(("burn_in", "first"), [(0, 4), (3, 4), (10, 10), (12, 12)])
def test_nobody_copies_before_the_burn_in_is_over(burn_in: int, first: int) -> None:
    starts = sorted({one.start for one in clones(raised(Truncation(burn_in=burn_in)))})
    assert starts[:2] == [first, first + 4]


def test_members_begin_with_values_of_their_own_where_they_are_drawn() -> None:
    def begun(**more: Any) -> list[Config]:
        told = raised(Truncation(**more), baseline=None if more else START)
        return [one.config for one in told if one.parent is None]

    assert {one["width"] for one in begun()} == {500}
    drawn = begun(drawn=True)
    assert len({one["width"] for one in drawn}) == len({one["lr"] for one in drawn}) == 6
    first = raised(Truncation(drawn=True), baseline=START)[0]
    assert (first.config, first.reason) == (START, "start: the baseline")


def test_the_settings_stand_in_the_spec_and_are_read_again(tmp_path: Any) -> None:
    truncation = Truncation(0.2, 0.1, (1.2, 0.8), 5)
    strategy = Panda(40, population=5, exploit=truncation)
    spec = make_spec(
        name="x", trainable="raysearch.examples.digits:Digits", space={"lr": {"loguniform": [1e-4, 1.0]}},
        metric="loss", mode="min", strategy=strategy,
    )  # fmt: skip
    written = yaml.safe_load(spec.to_yaml())["strategy"]["exploit"]
    assert written == {"quantile": 0.2, "resample": 0.1, "factors": [1.2, 0.8], "burn_in": 5, "drawn": False}
    (tmp_path / "spec.yaml").write_text(spec.to_yaml())
    again: Any = load_spec(tmp_path / "spec.yaml").strategy
    assert (again, again.truncation) == (strategy, truncation)


@pytest.mark.parametrize(
    ("exploit", "words"),
    [
        ({"name": "truncation", "quantil": 0.2}, "did you mean 'quantile'"),
        ({"name": "commit", "quantile": 0.2}, "'commit' has no settings"),
        ({"quantile": 0.6}, "quantile = 0.6 must be .* at most 0.5"),
        ({"resample": 1.5}, "resample = 1.5 must be .* at most 1"),
        ({"factors": []}, r"factors = \[\] must be a list of numbers"),
        ({"factors": [1.2, 0]}, "factors = 0 must be"),
        ({"burn_in": 2.5}, "burn_in = 2.5 must be a whole number"),
        ({"burn_in": 40}, "burn_in = 40 leaves no decision in max_iterations = 40"),
        ({"drawn": 1}, "drawn = 1 must be true or false"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(exploit: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Panda(40, population=4, exploit=exploit)
