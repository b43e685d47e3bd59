"""The default sampler proposes what is new: at bounds, over integers, choices, conditions, constraints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch.core.segment import Config, Outcome, Status
from raysearch.space import Space
from raysearch.space.lattice import all_points, keys, size_of, snap
from raysearch.strategies.caviar import Caviar
from raysearch.strategies.samplers import sobol
from raysearch.strategies.samplers.gp_sampler import AGAIN, NONE_NEW, ModelSampler

UNIT = {"uniform": [0.0, 1.0]}
SMALL: dict[str, tuple[dict[str, Any], Callable[[Config], float]]] = {
    "corner": ({"x": UNIT, "y": UNIT}, lambda c: c["x"] + c["y"]),
    "upper corner": ({"x": UNIT, "y": UNIT, "z": UNIT}, lambda c: -c["x"] - c["y"] - c["z"]),
    "one bound": ({"x": UNIT, "y": UNIT}, lambda c: (c["x"] - 0.6) ** 2 + c["y"]),
    "three integers": (
        {name: {"randint": [0, 20]} for name in "abc"},
        lambda c: abs(c["a"] - 20) + abs(c["b"]) + abs(c["c"] - 7),
    ),
    "log integers": ({n: {"lograndint": [1, 512]} for n in "ab"}, lambda c: -c["a"] - c["b"]),
    "steps": ({n: {"uniform": [0, 1], "q": 0.1} for n in "abc"}, lambda c: c["a"] + c["b"] - c["c"]),
    "choices": (
        {"k": {"choice": list("pqrstu")}, "n": {"ordinal": [8, 16, 32, 64]}, "i": {"randint": [1, 8]}},
        lambda c: "pqrstu".index(c["k"]) - c["n"] / 64 - c["i"],
    ),
    "choice and bound": ({"x": UNIT, "k": {"choice": ["a", "b"]}}, lambda c: c["x"] + (c["k"] == "b")),
    "condition": (
        {
            "o": {"choice": ["a", "b"]},
            "n": {"randint": [1, 60], "when": {"o": "a"}},
            "m": {"randint": [1, 9]},
        },
        lambda c: c.get("n", 30) + c["m"],
    ),
    "constraint": (
        {"a": {"randint": [1, 40]}, "b": {"randint": [1, 40]}, "constraints": ["a < b"]},
        lambda c: c["b"] - 2 * c["a"],
    ),
    "stepped bell": ({"a": {"normal": [0, 3], "q": 1}, "x": UNIT}, lambda c: abs(c["a"]) + c["x"]),
}


def proposals(form: dict[str, Any], loss: Callable[[Config], float], n: int, seed: int = 0) -> Any:
    sampler, found = ModelSampler(Space.from_dict(form), seed, 9), []
    for trial in range(n):
        found.append(sampler.propose(trial))
        sampler.observe(trial, found[-1], 9, loss(found[-1]))
    return sampler, found


@pytest.mark.parametrize("name", SMALL)
def test_at_most_a_tenth_of_later_proposals_is_sobols_and_none_is_proposed_twice(name: str) -> None:
    form, loss = SMALL[name]
    sampler, found = proposals(form, loss, 100)
    design = sobol(Space.from_dict(form), 0)
    assert sum(config == design.propose(i) for i, config in enumerate(found) if i >= 20) <= 8
    assert len({repr(config) for config in found}) == 100
    assert not sampler.fallbacks.counts


@pytest.mark.parametrize("name", ["corner", "three integers", "choices", "log integers"])
def test_the_best_corner_of_a_small_space_is_found(name: str) -> None:
    form, loss = SMALL[name]
    space = Space.from_dict(form)
    best = min(map(loss, map(space.decode, all_points(space, 10**6)))) if size_of(space) else 0.0
    _, found = proposals(form, loss, 100)
    assert min(map(loss, found)) == pytest.approx(best, abs=0.02)


def test_a_space_that_was_all_proposed_is_proposed_again_evenly_and_that_is_said() -> None:
    form = {"a": {"randint": [1, 3]}, "k": {"choice": ["x", "y"]}}
    sampler, found = proposals(form, lambda c: c["a"], 15)
    for block in (found[:6], found[6:12]):
        assert len({repr(config) for config in block}) == 6
    assert sampler.fallbacks.counts == {AGAIN: 9}
    assert [sampler.fallbacks.of(trial) for trial in (3, 6)] == ["", AGAIN]
    assert [note.partition(":")[0] for note in sampler.fallbacks.notes] == ["sampler model, once by trial 6"]


def test_a_fall_back_stands_in_the_segments_reason_and_in_the_searchs_notes() -> None:
    strategy = Caviar(samples=4, max_iterations=1, finish=None).start(
        Space.from_dict({"k": {"choice": ["x", "y"]}}), metric="loss", mode="min"
    )
    reasons = []
    while not strategy.finished:
        for segment in strategy.ask(1):
            reasons.append(segment.reason)
            strategy.tell(Outcome(segment, Status.COMPLETED, {"loss": [1.0]}))
    assert reasons[:2] == ["new trial from sampler model"] * 2
    assert reasons[2:] == [f"new trial from sampler model, {AGAIN}"] * 2
    assert strategy.notes == [f"sampler model, once by trial 2: {AGAIN}"]


def test_where_no_candidate_keeps_the_constraints_sobols_point_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sampler, _ = proposals({"x": UNIT}, lambda c: c["x"], 30)
    monkeypatch.setattr(sampler, "_fresh_pool", lambda rng: np.empty((0, 1)))
    found = [sampler.propose(trial) for trial in range(30, 50)]
    design = sobol(sampler._space, 0)
    assert found == [design.propose(trial) for trial in range(30, 50)]
    assert sampler.fallbacks.counts == {NONE_NEW: 18}
    assert sum(sampler.fallbacks.of(trial) == NONE_NEW for trial in range(30, 50)) == 18


def test_proposals_that_were_not_scored_yet_are_not_proposed_again() -> None:
    space = Space.from_dict({"a": {"randint": [0, 9]}, "b": {"randint": [0, 9]}})
    sampler = ModelSampler(space, 1, 9)
    for trial in range(30):
        sampler.observe(trial, sampler.propose(trial), 9, float(trial))
    waiting = [sampler.propose(trial) for trial in range(30, 100)]
    assert len({(c["a"], c["b"]) for c in waiting}) == 70


DOMAINS = st.one_of(
    st.tuples(st.integers(-5, 5), st.integers(0, 30)).map(lambda t: {"randint": [t[0], t[0] + t[1]]}),
    st.tuples(st.integers(1, 5), st.integers(1, 300)).map(lambda t: {"lograndint": [t[0], t[0] + t[1]]}),
    st.tuples(st.floats(-2, 2), st.floats(0.1, 4)).map(lambda t: {"uniform": [t[0], t[0] + t[1]]}),
    st.sampled_from([0.1, 0.25, 0.3, 1.0]).map(lambda q: {"uniform": [0.0, 3.0], "q": q}),
    st.sampled_from([0.1, 0.5, 1.0]).map(lambda q: {"loguniform": [0.5, 20.0], "q": q}),
    st.integers(1, 5).map(lambda n: {"choice": list(range(n)), "weights": [k + 1.0 for k in range(n)]}),
    st.integers(2, 5).map(lambda n: {"ordinal": [f"v{k}" for k in range(n)]}),
    st.sampled_from([{"normal": [0, 2], "low": -3, "high": 3, "q": 0.5}, {"lognormal": [0, 1]}]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(DOMAINS, min_size=1, max_size=4), st.integers(0, 1000))
def test_snapping_is_encode_of_decode_and_changes_no_configuration(forms: list[Any], seed: int) -> None:
    form: dict[str, Any] = {f"n{k}": domain for k, domain in enumerate(forms)}
    first = next(iter(Space.from_dict({"n0": forms[0]}).sample(seed, 1).values()))
    if "choice" in forms[0]:
        form["late"] = {"randint": [1, 9], "when": {"n0": first}}
    space = Space.from_dict(form)
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.random((20, space.dimension)), rng.integers(2, size=(4, space.dimension))])
    snapped = snap(space, points)
    assert snapped == pytest.approx(space.encode_many(space.decode_many(points)), abs=1e-9)
    if all(domain.is_continuous is False for domain in space.domains.values()):
        assert space.decode_many(snapped) == space.decode_many(points)
        assert keys(snap(space, snapped)) == keys(snapped)


@settings(max_examples=60, deadline=None)
@given(st.lists(DOMAINS, min_size=1, max_size=3))
def test_all_points_are_the_configurations_of_a_countable_space(forms: list[Any]) -> None:
    space = Space.from_dict({f"n{k}": domain for k, domain in enumerate(forms)})
    size, points = size_of(space), all_points(space, 2000)
    if size is None or size > 2000:
        assert points is None
        return
    assert points is not None
    configs = {repr(config) for config in space.decode_many(points)}
    assert len(configs) == len(points) == size
    assert {repr(space.sample(0, i)) for i in range(50)} <= configs


def test_all_points_keep_conditions_and_constraints() -> None:
    space = Space.from_dict(
        {
            "o": {"choice": ["a", "b"]},
            "n": {"randint": [1, 4], "when": {"o": "a"}},
            "m": {"randint": [1, 4]},
            "constraints": ["n <= m"],
        }
    )
    points = all_points(space, 100)
    assert points is not None
    expected = [("a", n, m) for n in range(1, 5) for m in range(1, 5) if n <= m]
    expected += [("b", None, m) for m in range(1, 5)]
    assert sorted((c["o"], c.get("n"), c["m"]) for c in space.decode_many(points)) == sorted(
        expected, key=lambda row: (row[0], row[1] or 0, row[2])
    )
