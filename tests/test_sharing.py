"""How searches share a cluster: by priority, and nobody's workers lie idle for another's sake."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.engine.fair_share import Claim, cap, divided, fit

CPU = {"CPU": 1.0}


def nodes(*cpus: float, gpus: float = 0.0) -> list[dict[str, float]]:
    return [{"CPU": count, "GPU": gpus} for count in cpus]


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ([{}], [16]),
        ([{}, {}], [8, 8]),
        ([{}, {"priority": 3}], [4, 12]),
        ([{"priority": 2}, {"priority": 1}], [11, 5]),
        ([{"most": 2}, {}], [2, 14]),
        ([{"max_share": 0.5}], [8]),
        ([{"max_share": 0.25, "priority": 9}, {}], [4, 12]),
        ([{"max_share": 0.01}], [1]),
        ([{"least": 6, "priority": 0.1}, {}], [6, 10]),
        ([{}, {}, {}], [6, 5, 5]),
        ([{"takes": {"CPU": 4.0}}, {}], [2, 8]),
        ([{"takes": {"CPU": 64.0}}, {}], [0, 16]),
        ([{"takes": {"GPU": 1.0}}, {}], [0, 16]),
        ([{"takes": {}}, {}], [0, 16]),
    ],
)
def test_sixteen_cpus_are_divided(claims: list[dict[str, Any]], expected: list[int]) -> None:
    made = [Claim(f"s{i}", **{"takes": CPU, "since": i, **fields}) for i, fields in enumerate(claims)]
    assert list(divided(made, nodes(8, 8)).values()) == expected


def test_searches_that_take_different_things_get_equal_parts_of_what_is_scarce_for_each() -> None:
    on_gpus, on_cpus = Claim("gpu", {"CPU": 1.0, "GPU": 1.0}), Claim("cpu", CPU)
    found = divided([on_gpus, on_cpus], nodes(32, 32, gpus=4.0))
    assert found == {"gpu": 7, "cpu": 57}  # 7 of 8 and 57 of 64, and no CPU is left


def test_a_newcomer_gets_its_part_and_gives_it_back_when_it_ends() -> None:
    old, new = Claim("old", CPU), Claim("new", CPU, since=1.0)
    cluster = nodes(4)
    assert [divided(claims, cluster)["old"] for claims in ([old], [old, new], [old])] == [4, 2, 4]


def test_where_there_is_less_than_one_worker_for_each_the_older_of_higher_priority_are_served() -> None:
    claims = [Claim("a", CPU, since=2.0), Claim("b", CPU, since=1.0), Claim("c", CPU, 2.0, since=3.0)]
    assert divided(claims, nodes(2)) == {"a": 0, "b": 1, "c": 1}


def test_a_search_with_less_work_than_workers_claims_no_more_than_it_has_work_for() -> None:
    claim = Claim("a", CPU, least=2, most=8)
    assert claim.for_work(None) == claim
    assert [claim.for_work(need).most for need in (1, 5, 9)] == [2, 5, 8]
    assert Claim("a", CPU).for_work(5).most == 5
    others = [Claim("b", CPU, since=1.0)]
    assert divided([Claim("a", CPU).for_work(1), *others], nodes(8)) == {"a": 1, "b": 7}


CLAIMS = st.builds(
    dict,
    takes=st.sampled_from(
        [{"CPU": 1.0}, {"CPU": 0.5}, {"CPU": 2.0}, {"CPU": 1.0, "GPU": 0.25}, {"GPU": 1.0}]
    ),
    priority=st.sampled_from([0.5, 1.0, 2.0, 7.0]),
    max_share=st.sampled_from([0.1, 0.5, 1.0]),
    least=st.integers(1, 3),
    most=st.none() | st.integers(1, 9),
    since=st.integers(0, 3),
)
NODES = st.lists(
    st.builds(lambda c, g: {"CPU": float(c), "GPU": float(g)}, st.integers(0, 9), st.integers(0, 2))
)


@given(st.lists(CLAIMS, max_size=5), NODES, st.randoms())
def test_a_division_has_room_is_the_same_for_everyone_and_leaves_nothing_that_somebody_could_use(
    fields: list[dict[str, Any]], cluster: list[dict[str, float]], random: Any
) -> None:
    claims = [Claim(f"s{i}", **each) for i, each in enumerate(fields)]
    found = divided(claims, cluster)
    shuffled = [*claims]
    random.shuffle(shuffled)
    assert divided(shuffled, cluster) == found
    for claim in claims:
        assert found[claim.name] <= cap(claim, cluster)
    for name in ("CPU", "GPU"):
        used = sum(found[c.name] * c.takes.get(name, 0.0) for c in claims)
        assert used <= sum(node[name] for node in cluster) + 1e-6
    if len(claims) == 1:
        assert found == {claims[0].name: cap(claims[0], cluster)}


@given(CLAIMS, st.integers(1, 40))
def test_of_two_alike_the_one_with_the_higher_priority_never_has_less(
    each: dict[str, Any], cpus: int
) -> None:
    low = Claim("low", **{**each, "priority": 1.0})
    high = Claim("high", **{**each, "priority": 2.0})
    found = divided([low, high], [{"CPU": float(cpus), "GPU": 8.0}])
    assert found["high"] >= found["low"]


def test_what_fits_is_counted_by_the_scarcest_resource() -> None:
    assert fit({"CPU": 8.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 0.25}) == 4
    assert fit({"CPU": 0.3}, {"CPU": 0.1}) == 3
    assert fit({"CPU": 8.0}, {"GPU": 1.0}) == 0
