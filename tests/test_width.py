"""The width of a pack: it doubles while that pays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raysearch.fused.width import Width


def settle(seconds: Callable[[int], float], width: Width | None = None) -> int:
    width = width or Width()
    for _ in range(100):
        width.note(width.limit, seconds(width.limit))
    assert width.settled
    return width.limit


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        (lambda n: 1.0 + 0.001 * n, 4096),
        (lambda n: 1.0 + 0.05 * max(0, n - 128), 128),
        (lambda n: float(n), 16),
        (lambda n: 0.01 * n**2, 16),
    ],
    ids=["free", "up to 128", "no gain", "loss"],
)
def test_it_grows_while_twice_as_many_are_faster_in_all(seconds: Callable[[int], float], best: int) -> None:
    assert settle(seconds) == best


def test_a_slow_moment_does_not_stop_it_and_the_first_iteration_of_a_width_does_not_count() -> None:
    width, times = Width(), {16: [9, 1], 32: [9, 9, 1.1], 64: [0, 9, 9, 9]}
    for limit, seconds in times.items():
        assert width.limit == limit
        for each in seconds:
            width.note(width.limit, each)
    assert not width.settled
    width.note(64, 9)
    assert (width.limit, width.settled) == (32, True)


def test_a_pack_that_is_not_full_says_nothing_of_its_width() -> None:
    width = Width()
    for _ in range(10):
        width.note(15, 0.001)
    assert (width.limit, width.settled) == (16, False)


def test_it_does_not_grow_beyond_what_there_is_memory_for() -> None:
    assert settle(lambda n: 1.0, Width(fits=lambda models: models <= 100)) == 64


def test_where_memory_ran_out_it_stays_at_what_fits() -> None:
    width = Width(limit=256)
    width.ran_out(96)
    width.note(256, 0.0)
    assert (width.limit, width.settled) == (96, True)
