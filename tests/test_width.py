"""The width of a pack: a few at first, and more while that pays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from raysearch.fused import step_timer
from raysearch.fused.pack_width import ALL, FEW, MEASURED, STRETCH, Width


def settle(seconds: Callable[[int, int], float], width: Width | None = None) -> tuple[int, int]:
    """(limit, step) in the end, where a step of n models, s at a time, takes seconds(n, s)."""
    width = width or Width()
    while left := width.stretch(width.limit):
        width.took(width.limit, min(25, left), seconds(width.limit, min(width.limit, width.step)))
    assert width.settled
    return width.limit, width.step


def overhead(fixed: float, each: float, strain: float = 0.0) -> Callable[[int, int], float]:
    """Each call costs something, each model costs something, calls for many cost more a model."""
    return lambda n, s: n / s * fixed + n * each * (1 + strain * s)


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        (overhead(1.0, 0.0001), (4096, ALL)),
        (overhead(1.0, 0.01), (256, ALL)),
        (overhead(1.0, 0.05), (64, ALL)),
        (overhead(0.0, 1.0, strain=0.1), (1, 1)),
        (overhead(1.0, 1.0, strain=0.2), (1, 1)),
        (overhead(1.0, 1.0, strain=0.1), (4, ALL)),
        (overhead(1.0, 1.0), (4, ALL)),
        (overhead(1e-4, 1e-4), (16, 16)),
        (overhead(1e-4, 1e-4, strain=0.1), (4, 4)),
        (overhead(1e-4, 2e-5, strain=0.002), (64, ALL)),
    ],
    ids=[
        "free",
        "up to 256",
        "up to 64 where 256 would gain little",
        "singly",
        "singly where a few gain little",
        "a few",
        "a few where steps are long and more would gain little",
        "more where steps are short, though they gain little",
        "a few, after more were tried",
        "more than promised",
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


def test_of_each_way_the_quickest_step_counts() -> None:
    width = Width()
    assert width.stretch(FEW) == STRETCH
    width.took(FEW, 10, 9e-3)
    told(width, FEW, 1e-3)
    assert (width.step, width.stretch(FEW)) == (1, STRETCH // FEW)
    width.took(FEW, 10, 2e-3)
    assert width.stretch(FEW) == MEASURED
    width.took(FEW, MEASURED, 9e-3)
    assert (width.limit, width.step, width.settled) == (16, ALL, False)


@pytest.mark.parametrize(("few", "singly", "pays"), [(1, 2.5, True), (1, 1.5, False), (5, 12.5, False)])
def test_where_short_steps_are_much_faster_together_others_begin_with_more(
    few: float, singly: float, pays: bool
) -> None:
    width = Width()
    told(width, FEW, few * 1e-3)
    told(width, FEW, singly * 1e-3)
    assert width.pays == pays


def test_what_is_trusted_begins_with_more_and_compares_only_what_is_more_than_that() -> None:
    width = Width(trusted=True)
    assert (width.limit, width.stretch(15), width.limit, width.stretch(16)) == (16, 0, 16, 0)
    assert (width.limit, width.step, width.stretch(64)) == (64, ALL, STRETCH)
    told(width, 64, 1e-3)
    told(width, 64, 0.9e-3)
    assert (width.limit, width.step, width.settled) == (16, 16, True)
    assert Width(trusted=True, fits=lambda models: False).stretch(16) == 0


def test_a_pack_that_is_not_full_says_nothing_of_its_width() -> None:
    width = Width(limit=16)
    assert [width.stretch(models) for models in (3, 15)] == [0, 0]
    assert (width.limit, width.step, width.settled) == (16, ALL, False)


def test_it_does_not_grow_beyond_what_there_is_memory_for() -> None:
    assert settle(overhead(1.0, 0.0), Width(fits=lambda models: models <= 100)) == (64, ALL)


def test_where_memory_ran_out_it_stays_at_what_fits() -> None:
    width = Width(limit=256)
    width.ran_out(96)
    assert (width.limit, width.step, width.settled, width.stretch(96)) == (96, 96, True, 0)


def test_where_steps_are_only_queued_what_all_of_them_took_is_shared_among_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter((0.0, 0.001, 0.002, 0.003, 9.0)).__next__
    waited: list[torch.device] = []
    monkeypatch.setattr(step_timer.time, "perf_counter", now)
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    watch = step_timer.Stopwatch(torch.device("cuda", 0))
    for whole in (True, True, False):
        watch.step(whole)
    assert watch.seconds() == 3.0
    assert waited == [torch.device("cuda", 0)] * 2


def test_where_steps_are_done_when_they_return_the_quickest_whole_one_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter((0.0, 5.0, 7.0, 8.0)).__next__
    monkeypatch.setattr(step_timer.time, "perf_counter", now)
    watch = step_timer.Stopwatch(torch.device("cpu"))
    for whole in (True, True, False):
        watch.step(whole)
    assert watch.seconds() == 2.0
