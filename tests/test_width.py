"""The width of a pack: single steps or all at once, and more while that pays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raysearch.fused.width import ALL, STRETCH, Width


def settle(seconds: Callable[[int, int], float], width: Width | None = None) -> tuple[int, int]:
    """(limit, step) in the end, where an iteration of n models in steps of s takes seconds(n, s)."""
    width = width or Width()
    for _ in range(100):
        models, step = width.limit, min(width.limit, width.step)
        if left := width.stretch(models):
            width.took(models, min(25, left), seconds(models, step))
        else:
            width.note(models, seconds(models, step))
    assert width.settled
    return width.limit, width.step


def overhead(fixed: float, each: float, strain: float = 0.0) -> Callable[[int, int], float]:
    """Each step costs something, each model costs something, wide steps cost more a model."""
    return lambda n, s: n / s * fixed + n * each * (1 + strain * s)


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        (overhead(1.0, 0.0001), (4096, ALL)),
        (overhead(1.0, 0.01), (256, ALL)),
        (overhead(1.0, 0.05), (64, ALL)),
        (overhead(0.0, 1.0, strain=0.1), (1, 1)),
        (overhead(1.0, 1.0, strain=0.1), (4, 4)),
        (overhead(1.0, 1.0, strain=0.2), (1, 1)),
        (overhead(1.0, 1.0, strain=0.05), (4, 4)),
        (overhead(1.0, 1.0, strain=0.005), (16, ALL)),
    ],
    ids=[
        "free",
        "up to 256",
        "up to 64 where 256 would gain little",
        "singly",
        "a few",
        "singly where a few gain little",
        "a few though all beat one",
        "all where a few gain little",
    ],
)
def test_it_finds_how_many_to_take_at_once(
    seconds: Callable[[int, int], float], found: tuple[int, int]
) -> None:
    assert settle(seconds) == found


def told(width: Width, models: int, seconds: float) -> None:
    """All steps of the way under comparison take so long."""
    step = width.step
    while width.step == step and (left := width.stretch(models)):
        width.took(models, left, seconds)


def test_slow_moments_do_not_stop_it_and_the_first_iteration_of_a_width_does_not_count() -> None:
    width = Width()
    assert width.stretch(16) == STRETCH
    width.took(16, 10, 9)  # the quickest step counts
    for seconds, step in ((1, ALL), (1.5, 1), (1.2, 4)):
        assert width.step == step
        told(width, 16, seconds)
    assert (width.step, width.limit, width.pays, width.stretch(16)) == (ALL, 16, False, 0)
    times = {16: [9, 1], 64: [9, 9, 1.1], 256: [0, 9, 9, 9]}
    for limit, several in times.items():
        assert width.limit == limit
        for each in several:
            width.note(width.limit, each)
    assert not width.settled
    width.note(256, 9)
    assert (width.limit, width.settled) == (64, True)


@pytest.mark.parametrize(("singly", "is_clear"), [(4.5, True), (2.5, False)])
def test_a_few_at_a_time_are_not_tried_where_they_cannot_be_as_fast(singly: float, is_clear: bool) -> None:
    width = Width()
    told(width, 16, 1)
    told(width, 16, singly)
    assert (width.step, width.compared, width.pays) == (ALL if is_clear else 4, is_clear, is_clear)


def test_few_models_say_nothing_and_a_pack_that_is_not_full_nothing_of_its_width() -> None:
    width = Width()
    assert width.stretch(3) == 0
    for seconds in (1, 15):
        told(width, 15, seconds)
    for _ in range(20):
        width.note(15, 1)
    assert (width.limit, width.step, width.settled) == (16, ALL, False)


def test_it_does_not_grow_beyond_what_there_is_memory_for() -> None:
    assert settle(overhead(1.0, 0.0), Width(fits=lambda models: models <= 100)) == (64, ALL)


def test_where_memory_ran_out_it_stays_at_what_fits() -> None:
    width = Width(limit=256)
    width.ran_out(96)
    width.note(256, 0.0)
    assert (width.limit, width.step, width.settled) == (96, 96, True)
