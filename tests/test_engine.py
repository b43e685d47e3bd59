"""Search: what counts, what is durable, what is leased again, and what may go."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Scripted, completed, segment

from raysearch.core.budget import Budget
from raysearch.core.segment import Cause, Outcome, Segment, Status, segment_id
from raysearch.engine.faults import GIVE_UP_AFTER, LOSS_LIMIT, Loss
from raysearch.engine.leaderboard import TOP
from raysearch.engine.limits import Limits
from raysearch.engine.messages import Lease
from raysearch.engine.search import Search
from raysearch.engine.segment_set import IdSet
from raysearch.engine.workers import SPARE_S, Overdue
from raysearch.errors import JournalError


class Log:
    """A journal in memory that can be made to refuse."""

    def __init__(self) -> None:
        self.rows: list[Outcome] = []
        self.refusing = False

    def append(self, outcomes: Sequence[Outcome]) -> None:
        if self.refusing:
            raise JournalError("no space left")
        self.rows.extend(outcomes)

    def outcomes(self) -> list[Outcome]:
        return self.rows


class Store:
    """Remembers which checkpoints were deleted."""

    def __init__(self, size: int = 0) -> None:
        self.deleted: set[str] = set()
        self.bytes = size

    def delete(self, names: Iterable[str]) -> None:
        self.deleted.update(names)

    def exists(self, name: str) -> bool:
        return True

    def size(self) -> int:
        return self.bytes


def make(*segments: Segment, keep: Iterable[int] = (), **limits: Any) -> tuple[Search, Scripted, Log, Store]:
    strategy, log, store = Scripted(segments, keep), Log(), Store()
    search = Search(
        strategy,
        metric="loss",
        mode="min",
        journal=log,
        checkpoints=store,
        limits=Limits(**limits),
    )
    return search, strategy, log, store


def failed(of: Segment, error: str = "ValueError: bad", cause: Cause = Cause.OTHER) -> Outcome:
    return Outcome(of, Status.FAILED, error=error, cause=cause)


def ids(
    search: Search, worker: str = "w", want: int = 9, now: float = 0.0, holding: Iterable[int] = ()
) -> list[int]:
    return [lease.segment.id for lease in search.lease(worker, want, now, holding).leases]


def test_an_outcome_is_in_the_journal_before_the_strategy_hears_of_it() -> None:
    search, strategy, log, _ = make(segment(0))
    search.lease("w", 1, 0.0)
    log.refusing = True
    with pytest.raises(JournalError):
        search.exchange("w", [completed(segment(0))], 1, 1.0)
    assert strategy.told == []
    log.refusing = False
    search.exchange("w", [completed(segment(0))], 1, 2.0)
    assert [o.segment.id for o in log.rows] == [segment(0).id]
    assert [o.segment.id for o in strategy.told] == [segment(0).id]
    assert search.lifetime.ending == "complete"


def test_an_outcome_counts_once_however_often_and_by_whomever_it_is_handed_in() -> None:
    search, strategy, log, _ = make(segment(0), segment(1))
    search.lease("a", 2, 0.0)
    twice = [completed(segment(0)), completed(segment(0), 0.1)]
    search.exchange("a", twice, 0, 1.0, [segment(1).id])
    search.exchange("b", [completed(segment(0), 0.2)], 0, 2.0)
    assert len(log.rows) == len(strategy.told) == 1
    assert search.best is not None
    assert search.best.value == 0.5


def test_two_exchanges_that_wait_for_one_flush_cannot_bring_the_same_outcome_twice() -> None:
    search, *_ = make(segment(0))
    search.lease("a", 1, 0.0)
    assert len(search.accept("a", [completed(segment(0))], 1.0)) == 1
    assert search.accept("b", [completed(segment(0))], 1.0) == []


def test_other_work_under_an_asked_id_is_refused_and_said() -> None:
    search, strategy, log, _ = make(segment(0, stop=3))
    search.lease("w", 1, 0.0)
    search.exchange("w", [completed(segment(0, stop=9))], 0, 1.0, [segment(0).id])
    assert log.rows == strategy.told == []
    assert list(search.warnings) == ["worker w handed in another segment under the id 0.0"]


def test_an_outcome_that_was_never_asked_for_is_accepted() -> None:
    search, strategy, log, _ = make(segment(0))
    search.exchange("w", [completed(segment(7), 0.1)], 0, 1.0)
    assert [o.segment.trial for o in strategy.told] == [7]
    assert len(log.rows) == 1


def test_a_failed_segment_is_asked_for_again_and_then_fails_for_good() -> None:
    search, strategy, log, _ = make(segment(0), retries=1)
    search.lease("w", 1, 0.0)
    reply = search.exchange("w", [failed(segment(0))], 1, 1.0)
    assert [lease.segment for lease in reply.leases] == [segment(0)]
    search.exchange("w", [failed(segment(0))], 1, 2.0)
    assert [o.status for o in log.rows] == [Status.LOST, Status.FAILED]
    assert log.rows[0].error == "attempt 1 of 2 failed: ValueError: bad"
    assert strategy.finished


def test_what_a_dead_worker_held_is_leased_again_the_one_it_was_training_singly() -> None:
    search, _strategy, log, _ = make(*(segment(t) for t in range(4)))
    assert ids(search, "a", 3) == [segment(t).id for t in range(3)]
    search.beat("a", segment(1).id, 0, 1.0)
    search.commit(search.attendance.hello("a", 2.0))
    assert [(o.segment.trial, o.status) for o in log.rows] == [(1, Status.LOST)]
    taken = [search.lease(worker, 3, 3.0).leases for worker in "bcd"]
    assert [[(lease.segment.trial, lease.alone) for lease in t] for t in taken] == [
        [(0, False), (2, False)],
        [(1, True)],
        [(3, False)],
    ]


def test_what_was_held_at_two_deaths_is_leased_singly_whoever_was_training() -> None:
    search, *_ = make(*(segment(t) for t in range(3)))
    for now in (1.0, 2.0):
        assert len(ids(search, "a", 3)) == (3 if now == 1.0 else 2)
        search.beat("a", segment(int(now) - 1).id, 0, now)
        search.commit(search.attendance.hello("a", now))
    taken = [search.lease(worker, 3, 3.0).leases for worker in "bcd"]
    assert sorted((lease.segment.trial, lease.alone) for t in taken for lease in t) == [
        (0, True),
        (1, True),
        (2, True),
    ]
    assert [len(t) for t in taken] == [1, 1, 1]


def test_a_promotion_waits_a_little_for_the_worker_in_whose_memory_its_model_rests() -> None:
    first, other = segment(0), segment(1)
    then, fresh = segment(0, 1, first.id, 1, 2), segment(2)
    search, *_ = make(first, other, then, fresh)
    search.handout.prefers_home = True
    assert ids(search, "a", 1) == [first.id]
    assert ids(search, "b", 1) == [other.id]
    search.exchange("a", [completed(first)], 0, 1.0)
    search.exchange("b", [completed(other)], 0, 1.0)
    assert ids(search, "b", 1) == [fresh.id]
    assert ids(search, "a", 1) == [then.id]


def test_a_busy_worker_passes_over_what_is_at_home_elsewhere_three_times_and_an_idle_one_takes_it() -> None:
    first, long, more = segment(0), segment(1), [segment(t) for t in range(2, 7)]
    then = segment(0, 1, first.id, 1, 2)
    search, *_ = make(first, long, then, *more)
    search.handout.prefers_home = True
    assert ids(search, "a", 1) == [first.id]
    assert ids(search, "b", 1) == [long.id]
    search.exchange("a", [completed(first)], 0, 1.0)
    held = [long.id]
    for _ in range(4):
        held += ids(search, "b", 1, holding=held)
    assert held[1:] == [*(s.id for s in more[:3]), then.id]
    search, *_ = make(first, then)
    search.handout.prefers_home = True
    assert ids(search, "a", 1) == [first.id]
    search.exchange("a", [completed(first)], 0, 1.0)
    assert ids(search, "b", 1) == [then.id]


def test_where_there_is_little_work_every_worker_gets_a_share() -> None:
    search, *_ = make(*(segment(t) for t in range(6)))
    search.handout.prefers_home = True
    for worker in "ab":
        search.workers.see(worker, 0.0)
    assert [len(ids(search, worker, 16)) for worker in "ab"] == [3, 3]


def test_a_segment_that_keeps_killing_its_workers_is_given_up_and_the_others_are_not() -> None:
    poison, good = segment(0), segment(1)
    search, _strategy, log, _ = make(poison, good)
    now = 0.0
    while not search.lifetime.over:
        now += 1.0
        held = [lease.segment for lease in search.lease("w", 2, now).leases]
        if poison in held:
            search.beat("w", poison.id, 0, now)
            search.commit(search.attendance.hello("w", now))
        else:
            search.exchange("w", [completed(s) for s in held], 0, now)
    last = {o.segment.trial: o for o in log.rows}
    assert last[1].status is Status.COMPLETED
    assert last[0].status is Status.FAILED
    assert last[0].error == f"its worker died, {LOSS_LIMIT} times: this segment kills its worker"


@pytest.mark.parametrize("cause", [Cause.PROCESS_DIED, Cause.UNREACHABLE])
def test_a_segment_that_keeps_ending_a_process_of_its_workers_is_given_up(cause: Cause) -> None:
    search, _strategy, log, _ = make(segment(0), segment(1))
    for attempt in range(LOSS_LIMIT):
        [lease] = search.lease("w", 1, float(attempt)).leases
        lost = Outcome(lease.segment, Status.LOST, error="rank 1 died", cause=cause)
        search.exchange("w", [lost], 0, float(attempt))
    assert [o.status for o in log.rows] == [Status.LOST] * (LOSS_LIMIT - 1) + [Status.FAILED]
    assert log.rows[-1].error == f"rank 1 died, {LOSS_LIMIT} times: this segment ends its processes"


def test_a_segment_without_progress_is_overdue_and_fails_with_its_story() -> None:
    search, _, log, _ = make(segment(0, stop=9), segment(1), stall_timeout_s=60.0)
    search.lease("w", 2, 0.0)
    search.beat("w", segment(0).id, 4, 10.0)
    search.beat("w", segment(0).id, 4, 69.0)
    assert search.attendance.overdue(69.0) == []
    search.beat("w", segment(0).id, 4, 71.0)
    [late] = search.attendance.overdue(71.0)
    assert late.words == (
        "stalled: segment 0.0 reported nothing for 61 s after iteration 4 (stall_timeout: 60 s)"
    )
    search.commit(search.attendance.lose(late.worker, 71.0, Loss(late.words, late.cause)))
    assert [(o.status, o.error) for o in log.rows] == [(Status.FAILED, late.words)]
    assert ids(search, "v", 5, 72.0) == [segment(1).id]


def test_a_silent_worker_is_overdue_but_an_idle_one_is_not() -> None:
    search, *_ = make(segment(0), silence_s=60.0)
    search.lease("busy", 1, 0.0)
    search.lease("idle", 1, 0.0)
    assert search.attendance.overdue(61.0) == [
        Overdue("busy", "its worker was silent for 61 s", Cause.UNREACHABLE)
    ]


def test_leases_that_never_arrived_are_given_out_again() -> None:
    search, *_ = make(segment(0), segment(1))
    assert ids(search, "w", 2) == [segment(0).id, segment(1).id]
    assert ids(search, "w", 2, 1.0, holding=[segment(1).id]) == [segment(0).id]


def test_after_a_restart_a_worker_keeps_what_it_says_it_holds() -> None:
    first, *_ = make(segment(0), segment(1))
    held = first.lease("w", 1, 0.0).leases
    second, *_ = make(segment(0), segment(1))
    second.attendance.adopt("w", held, 10.0)
    assert ids(second, "v", 2, 11.0) == [segment(1).id]
    second.exchange("w", [completed(segment(0))], 0, 12.0)
    assert len(second.leases) == 1


def test_a_lease_without_a_parent_checkpoint_brings_the_ancestors_to_grow_again() -> None:
    root = segment(0, 0, None, 0, 1)
    middle = segment(0, 1, root.id, 1, 3)
    leaf = segment(0, 2, middle.id, 3, 9)
    search, *_ = make(root, middle, leaf, keep=[middle.id])
    search.lease("w", 1, 0.0)
    search.exchange("w", [completed(root, checkpoint="c0")], 1, 1.0)
    [lease] = search.exchange("w", [completed(middle, checkpoint=None)], 1, 2.0).leases
    assert (lease.checkpoint, lease.origin, lease.chain) == ("c0", root.id, (middle,))
    search.checkpoint_lost("c0", root.id, "EOFError")
    search.commit(search.attendance.lose("w", 3.0, Loss("its worker died")))
    [again] = search.lease("w", 1, 4.0).leases
    assert (again.checkpoint, again.origin, again.chain) == (None, None, (root, middle))


def test_only_checkpoints_that_nothing_can_need_are_deleted() -> None:
    trials = [segment(t) for t in range(5)]
    search, _strategy, _, store = make(*trials, segment(9, 0, None, 0, 3), keep=[trials[1].id])
    search.lease("w", 5, 0.0)
    search.exchange("w", [completed(s, 1.0 - s.trial / 10, f"c{s.trial}") for s in trials], 0, 1.0)
    search.collect()
    assert store.deleted == {"c0", "c2", "c3"}
    assert search.register.checkpoints() == {"c1", "c4"}


def test_the_checkpoint_above_a_kept_segment_without_one_stays() -> None:
    root, child = segment(0, 0, None, 0, 1), segment(0, 1, segment(0).id, 1, 3)
    search, _, _, store = make(root, child, segment(5), segment(6), keep=[child.id])
    search.lease("w", 4, 0.0)
    outcomes = [
        completed(root, 0.9, "c0"),
        completed(segment(5), 0.8, "c5"),
        completed(segment(6), 0.1, "c6"),
    ]
    search.exchange("w", outcomes, 4, 1.0)
    search.exchange("w", [completed(child, 0.9)], 0, 2.0)
    search.collect()
    assert store.deleted == {"c5"}


def test_the_bar_of_a_rung_is_its_sixteenth_best_score_and_nothing_before() -> None:
    search, *_ = make(*(segment(t) for t in range(40)))
    search.lease("w", 40, 0.0)
    values = [(7 * t) % 40 / 40 for t in range(40)]
    for t, value in enumerate(values):
        search.exchange("w", [completed(segment(t), value)], 0, 1.0, [segment(u).id for u in range(40)])
        expected = sorted(values[: t + 1])[TOP - 1] if t + 1 >= TOP else None
        assert search.standings.bars.get(1) == expected


def test_over_the_quota_workers_are_told_to_write_no_more_and_the_user_is_told_why() -> None:
    search, _, _, store = make(segment(0), segment(1), quota_bytes=1000)
    assert search.lease("w", 1, 0.0).keep
    store.bytes = 2000
    search.collect()
    assert not search.lease("v", 1, 0.0).keep
    assert "reached the quota of 0.00 GB" in next(iter(search.warnings))


@pytest.mark.parametrize(
    ("limits", "ending"),
    [
        ({"budget": Budget(hours=1.0)}, "the budget of 1 hours is used up"),
        (
            {"budget": Budget(gpu_hours=0.5), "held": ((1.0, 0.5),)},
            "the budget of 0.5 GPU-hours is used up",
        ),
        ({"budget": Budget(cpu_hours=2.0), "held": ((2.0, 0.0),)}, "the budget of 2 CPU-hours is used up"),
        (
            {"budget": Budget(money=3.0, prices={"hour": 1.0, "worker_hour": 2.0})},
            "the budget of 3 in money is used up",
        ),
        ({"budget": Budget(trials=1)}, "the budget of 1 trials is used up"),
    ],
)
def test_a_budget_ends_the_search_with_its_reason(limits: dict[str, Any], ending: str) -> None:
    search, *_ = make(segment(0), segment(1), **limits)
    search.lease("w", 1, 0.0)
    done = dataclasses.replace(completed(segment(0)), seconds=3600.0)
    reply = search.exchange("w", [done], 1, 3600.0)
    assert reply.stop
    assert search.lifetime.ending == ending


def test_a_search_whose_first_segments_all_fail_is_ended_with_the_first_error() -> None:
    trials = [segment(t) for t in range(GIVE_UP_AFTER + 5)]
    search, *_ = make(*trials, retries=0)
    search.lease("w", 99, 0.0)
    search.exchange("w", [failed(s, f"ValueError: {s.trial}") for s in trials], 1, 1.0)
    assert search.lifetime.failed == (
        "the first 10 segments all failed, so the search was ended. The first error was: ValueError: 0"
    )


def test_a_strategy_that_asks_for_nothing_and_waits_for_nothing_is_said_to_be_defective() -> None:
    class Stuck(Scripted):
        finished = False  # type: ignore[assignment]

    search = Search(Stuck([]), metric="loss", mode="min")
    search.lease("w", 1, 0.0)
    assert search.lifetime.failed.startswith(
        "the strategy Stuck is not finished, waits for nothing and asks for nothing"
    )


def test_whoever_resumes_after_ten_failures_gets_ten_more_tries() -> None:
    trials = [segment(t) for t in range(GIVE_UP_AFTER + 15)]
    search, *_ = make(*trials, retries=0)
    search.replay([failed(s, "ImportError: no cv2") for s in trials[:GIVE_UP_AFTER]])
    assert search.lifetime.ending == ""
    search.lease("w", 99, 0.0)
    search.exchange("w", [failed(s, "still broken") for s in trials[10:19]], 0, 1.0, [s.id for s in trials])
    assert search.lifetime.ending == ""
    search.exchange("w", [failed(trials[19], "still broken")], 0, 1.0, [s.id for s in trials])
    assert search.lifetime.failed.endswith("The first error was: still broken")


def test_a_resume_whose_segments_all_fail_ends_whatever_went_well_before() -> None:
    trials = [segment(t) for t in range(2 * GIVE_UP_AFTER)]
    for well in ([completed(trials[0])], [completed(trials[0]), failed(trials[1], "an old one")]):
        search, *_ = make(*trials, retries=0)
        search.replay(well)
        search.lease("w", 99, 0.0)
        left, ids = trials[len(well) :], [s.id for s in trials]
        bad = [failed(s, f"OSError: {s.trial}") for s in left[:GIVE_UP_AFTER]]
        search.exchange("w", bad[:-1], 0, 1.0, ids)
        assert search.lifetime.ending == ""
        search.exchange("w", bad[-1:], 0, 1.0, ids)
        assert search.lifetime.failed == (
            "the first 10 segments since the resume all failed, so the search was ended. "
            f"The first error was: OSError: {left[0].trial}"
        )


def test_one_segment_that_ends_well_after_a_resume_keeps_it_going() -> None:
    trials = [segment(t) for t in range(3 * GIVE_UP_AFTER)]
    search, *_ = make(*trials, retries=0)
    search.replay([completed(trials[0])])
    search.lease("w", 99, 0.0)
    told = [completed(trials[1]), *(failed(s, "OSError") for s in trials[2 : 2 + 2 * GIVE_UP_AFTER])]
    search.exchange("w", told, 0, 1.0, [s.id for s in trials])
    assert search.lifetime.ending == ""


def test_a_segment_that_was_only_in_hand_when_workers_died_is_not_blamed() -> None:
    trains, waits = [segment(t) for t in range(5)], segment(9)
    search, _, log, _ = make(*trains, waits)
    for n in range(LOSS_LIMIT + 1):
        search.attendance.adopt(f"w{n}", [Lease(trains[n]), Lease(waits)], 0.0)
        search.beat(f"w{n}", trains[n].id, 0, 0.0)
        search.commit(search.attendance.lose(f"w{n}", 1.0, Loss("its worker died")))
    assert {o.status for o in log.rows} == {Status.LOST}
    assert waits.id not in {o.segment.id for o in log.rows}


def test_where_machines_go_away_all_the_time_no_segment_is_blamed_for_it() -> None:
    long, short = segment(0, stop=9), [segment(t) for t in range(1, LOSS_LIMIT + 1)]
    search, _, log, _ = make(long, *short)
    for n in range(LOSS_LIMIT):  # the long one is in training at every death, beside one that does no harm
        for worker, held in (("v", long), ("w", short[n])):
            search.attendance.adopt(worker, [Lease(held)], 0.0)
            search.beat(worker, held.id, 0, 0.0)
            search.commit(search.attendance.lose(worker, 1.0, Loss("its worker died")))
        search.exchange("w", [completed(short[n])], 0, 2.0, ())
    assert {o.status for o in log.rows if o.segment.id == long.id} == {Status.LOST}
    for _ in range(LOSS_LIMIT):  # and now it alone
        search.attendance.adopt("v", [Lease(long)], 3.0)
        search.beat("v", long.id, 0, 3.0)
        search.commit(search.attendance.lose("v", 4.0, Loss("its worker died")))
    assert log.rows[-1].status is Status.FAILED
    assert log.rows[-1].error == f"its worker died, {2 * LOSS_LIMIT} times: this segment kills its worker"


def test_a_parent_that_a_restarted_search_forgot_is_found_in_the_journal() -> None:
    root, child = segment(0, 0, None, 0, 1), segment(0, 1, segment(0).id, 1, 3)
    search, _, _log, _ = make(root, child)
    search.lease("w", 1, 0.0)
    search.exchange("w", [completed(root, checkpoint="c0")], 0, 1.0)
    search.register.collect(set())
    assert search.register.checkpoints() == set()
    [lease] = search.lease("w", 1, 2.0).leases
    assert (lease.segment, lease.checkpoint) == (child, "c0")


def test_checkpoints_that_are_not_there_any_more_are_not_handed_out() -> None:
    root, child = segment(0, 0, None, 0, 1), segment(0, 1, segment(0).id, 1, 3)
    search, *_ = make(root, child, keep=[root.id])
    search.replay([completed(root, checkpoint="c0")])
    search.register.keep_existing({"c7"})
    [lease] = search.lease("w", 1, 2.0).leases
    assert (lease.checkpoint, lease.chain) == (None, (root,))


def test_a_replayed_journal_gives_the_same_standings_as_the_live_search() -> None:
    trials = [segment(t) for t in range(6)]
    live, _, log, _ = make(*trials)
    live.lease("w", 6, 0.0)
    outcomes = [completed(s, 1.0 / (1 + s.trial)) for s in trials[:4]]
    diverged = Outcome(trials[4], Status.DIVERGED, {"loss": [math.nan]})
    live.exchange("w", [*outcomes, diverged], 0, 1.0)
    again, strategy, *_ = make(*trials)
    again.replay([*log.rows, *log.rows])
    assert again.best == live.best
    assert again.standings.counts == live.standings.counts
    assert again.standings.reached == live.standings.reached
    assert ids(again, "w", 9) == [trials[5].id]
    assert len(strategy.told) == 5


def test_nan_is_never_best_and_the_direction_of_the_metric_counts() -> None:
    search = Search(Scripted([segment(t) for t in range(3)]), metric="loss", mode="max")
    search.lease("w", 3, 0.0)
    values = [math.nan, 0.2, 0.7]
    search.exchange("w", [completed(segment(t), v) for t, v in enumerate(values)], 0, 1.0)
    assert search.best is not None
    assert (search.best.trial, search.best.value) == (2, 0.7)


@given(st.lists(st.tuples(st.integers(0, 1 << 41), st.integers(0, 20)), max_size=50))
def test_a_set_of_ids_holds_what_was_put_in_and_nothing_else(pairs: list[tuple[int, int]]) -> None:
    small = [(trial % 5000, ordinal) for trial, ordinal in pairs[::2]]
    mine, oracle = IdSet(), set()
    for trial, ordinal in small + pairs[1::2]:
        item = segment_id(trial, ordinal)
        assert (item in mine) == (item in oracle)
        mine.add(item)
        oracle.add(item)
    assert all(item in mine for item in oracle)
    assert segment_id(1 << 42, 0) not in mine


# ---- how many workers there is work for


def need(search: Search, now: float) -> int | None:
    """As the coordinator's watch has it: notes whether work is scant, and says how many there is work for."""
    search.attendance.note_need(now)
    return search.attendance.need(now)


def test_workers_that_find_nothing_to_do_for_a_while_are_too_many() -> None:
    search, _, _, _ = make(segment(0), segment(1))
    assert [ids(search, worker, 1) for worker in "abcd"] == [[0], [segment(1).id], [], []]
    assert need(search, SPARE_S - 0.1) is None
    assert need(search, SPARE_S) == 2
    search.attendance.retire(["c", "d"])
    assert need(search, SPARE_S) == 2
    search.attendance.excuse(100.0)
    assert need(search, 200.0) == 2


def test_a_search_never_needs_less_than_one_worker() -> None:
    search, _, _, _ = make(segment(0, stop=3), segment(1))
    ids(search, "a", 2)
    assert ids(search, "b", 1) == []
    search.attendance.retire(["a"])
    assert need(search, SPARE_S) == 1


def test_a_search_with_work_for_more_again_says_so_as_soon_as_somebody_asks() -> None:
    first, *later = segment(0), *(segment(0, i, 0, 1, 2) for i in range(1, 6))
    search, _, _, _ = make(first, *later)
    assert [ids(search, worker, 1) for worker in "ab"] == [[0], []]
    assert need(search, SPARE_S) == 1
    search.commit(search.accept("a", [completed(first)], 6.0))
    assert ids(search, "a", 1, 6.0) == [later[0].id]
    assert need(search, 6.0) == 3  # two that wait were asked for to see that
    assert ids(search, "b", 1, 6.0) == [later[1].id]
    assert need(search, 6.0) is None
    assert ids(search, "c", 1, 6.0) == [later[2].id]
    assert len(search.queue) == 1  # nobody asks ahead any more
