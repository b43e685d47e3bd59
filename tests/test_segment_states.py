"""The machine of segment states against a slow model that keeps one plain record for each segment."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from scripted import segment

from raysearch.core.segment import Segment, Status
from raysearch.engine import segment_states
from raysearch.engine.leases import Leases
from raysearch.engine.segment_states import TABLE, Instruction, SegmentEvent, SegmentState, SegmentStates

SEGMENTS = [segment(trial) for trial in range(6)]
WORKERS = ["v", "w"]
WRITTEN = [Status.COMPLETED, Status.DIVERGED, Status.FAILED, Status.LOST]

some_segment = st.sampled_from(SEGMENTS)
some_worker = st.sampled_from(WORKERS)


@dataclass
class Record:
    """Everything that is known of one segment, said at length."""

    planned: bool = False
    worker: str = ""
    written: Status | None = None  # the outcome that is on its way into the journal
    end: Status | None = None
    suspected: bool = False

    @property
    def state(self) -> SegmentState:
        if self.end is not None:
            return SegmentState.FAILED if self.end is Status.FAILED else SegmentState.DONE
        if self.written is not None:
            return SegmentState.COMMITTING
        if self.worker:
            return SegmentState.LEASED
        if not self.planned:
            return SegmentState.UNKNOWN
        return SegmentState.SUSPECT if self.suspected else SegmentState.WAITING

    @property
    def is_free(self) -> bool:
        return not self.worker and self.written is None and self.end is None


@dataclass
class Model:
    """The slow model: looks through all records each time."""

    records: dict[int, Record] = field(default_factory=lambda: {s.id: Record() for s in SEGMENTS})

    def of(self, one: Segment) -> Record:
        return self.records[one.id]

    def held_by(self, worker: str) -> set[int]:
        return {number for number, record in self.records.items() if record.worker == worker}


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.leases = Leases()
        self.states = SegmentStates(self.leases)
        self.model = Model()

    @rule(asked=st.lists(some_segment, unique_by=lambda s: s.id))
    def the_strategy_asks(self, asked: list[Segment]) -> None:
        expected = [one for one in asked if self.model.of(one).is_free]
        assert self.states.plan(asked) == expected
        for one in expected:
            self.model.of(one).planned = True

    @rule(worker=some_worker, one=some_segment)
    def a_segment_is_leased(self, worker: str, one: Segment) -> None:
        record = self.model.of(one)
        if not record.is_free:
            return
        alone = record.planned and record.suspected
        instruction = self.states.lease(worker, one)
        assert instruction is (Instruction.ANSWER_ALONE if alone else Instruction.ANSWER)
        record.planned, record.worker = True, worker

    @rule(worker=some_worker, one=some_segment)
    def a_worker_claims_what_it_holds(self, worker: str, one: Segment) -> None:
        record = self.model.of(one)
        instruction = self.states.claim(worker, one)
        assert instruction is (Instruction.NOTHING if record.is_free else Instruction.IGNORE)
        if record.is_free:
            record.planned, record.worker = True, worker

    @rule(worker=some_worker, one=some_segment, status=st.sampled_from(WRITTEN))
    def an_outcome_comes_in(self, worker: str, one: Segment, status: Status) -> None:
        record = self.model.of(one)
        is_of_another = status is Status.LOST and record.worker not in ("", worker)
        counts = record.written is None and record.end is None and not is_of_another
        instruction = self.states.receive(worker, one, status)
        assert instruction is (Instruction.JOURNAL if counts else Instruction.IGNORE)
        if counts:
            record.written = status

    @rule(worker=some_worker, one=some_segment)
    def other_work_comes_in_under_an_id_that_is_leased(self, worker: str, one: Segment) -> None:
        if self.model.of(one).state is SegmentState.LEASED:
            other = segment(one.trial, stop=9)
            assert self.states.receive(worker, other, Status.COMPLETED) is Instruction.REFUSE

    @precondition(lambda self: any(r.written is not None for r in self.model.records.values()))
    @rule(data=st.data())
    def the_journal_has_it(self, data: st.DataObject) -> None:
        number, record = data.draw(st.sampled_from(self.committing))
        assert record.written is not None
        assert self.states.durable(number, record.written) == (record.worker or None)
        if record.written is Status.LOST:
            record.planned = False
        else:
            record.end, record.suspected = record.written, False
        record.worker, record.written = "", None

    @precondition(lambda self: any(r.written is not None for r in self.model.records.values()))
    @rule(data=st.data())
    def the_journal_refuses_it(self, data: st.DataObject) -> None:
        number, record = data.draw(st.sampled_from(self.committing))
        instruction = self.states.not_written(number)
        assert instruction is (Instruction.NOTHING if record.worker else Instruction.QUEUE)
        record.written, record.planned = None, True

    @rule(worker=some_worker, data=st.data())
    def an_answer_was_lost(self, worker: str, data: st.DataObject) -> None:
        held = sorted(self.model.held_by(worker))
        holding = data.draw(st.sets(st.sampled_from(held))) if held else set()
        back = {s.id for s in self.states.take_back(worker, holding)}
        expected = {n for n in held if n not in holding and self.model.records[n].written is None}
        assert back == expected
        for number in expected:
            self.model.records[number].worker = ""

    @rule(worker=some_worker, data=st.data(), blame=st.booleans())
    def a_worker_is_lost(self, worker: str, data: st.DataObject, blame: bool) -> None:
        held = sorted(self.model.held_by(worker))
        training = data.draw(st.sampled_from(held)) if held else None
        blamed = data.draw(st.sets(st.sampled_from(held))) if held and blame else set()
        self.states.blame(blamed)
        back, died = self.states.lose(worker, training)
        open_ones = {n for n in held if self.model.records[n].written is None}
        assert {s.id for s in back} == open_ones - {training}
        assert (died.id if died is not None else None) == (training if training in open_ones else None)
        for number in blamed:
            self.model.records[number].suspected = True
        for number in held:
            self.model.records[number].worker = ""
        if died is not None:
            self.model.records[died.id].written = Status.LOST

    @rule(one=some_segment)
    def an_excused_death_counts_after_all(self, one: Segment) -> None:
        record = self.model.of(one)
        if record.end is None:
            self.states.blame([one.id])
            record.suspected = True

    @property
    def committing(self) -> list[tuple[int, Record]]:
        return [(n, r) for n, r in self.model.records.items() if r.written is not None]

    @invariant()
    def both_say_the_same(self) -> None:
        records = self.model.records
        assert {n: self.states.state_of(n) for n in records} == {n: r.state for n, r in records.items()}
        assert {n: self.states.is_free(n) for n in records} == {n: r.is_free for n, r in records.items()}
        assert {n: self.leases.holder(n) or "" for n in records} == {n: r.worker for n, r in records.items()}
        assert {n for n in records if self.states.is_suspect(n)} == {
            n for n in records if records[n].suspected
        }
        for worker in WORKERS:
            assert {*self.leases.of(worker)} == self.model.held_by(worker)
        assert self.leases.busy == sum(bool(self.model.held_by(worker)) for worker in WORKERS)
        idle = not any(r.worker or r.written is not None for r in records.values())
        assert self.states.is_idle == idle


Machine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestMachine = Machine.TestCase


def test_the_table_of_the_docstring_is_the_one_that_is_used() -> None:
    text = segment_states.__doc__
    assert text is not None
    lines = text.split("instruction\n", 1)[1].split("\n\n", 1)[0].splitlines()
    shown = {}
    for *states, event, after, instruction in map(str.split, lines):
        for state in states:
            shown[SegmentState[state], SegmentEvent[event]] = (SegmentState[after], Instruction[instruction])
    assert shown == dict(TABLE)


def test_a_segment_that_ended_stays_ended_whatever_comes() -> None:
    for state, event in itertools.product((SegmentState.DONE, SegmentState.FAILED), SegmentEvent):
        assert TABLE.get((state, event), (state, None))[0] is state


def test_a_worker_is_told_to_train_a_suspect_by_itself_and_only_that() -> None:
    alone = {state for (state, _), (_, what) in TABLE.items() if what is Instruction.ANSWER_ALONE}
    assert alone == {SegmentState.SUSPECT}


def test_an_event_that_cannot_happen_in_a_state_is_a_defect() -> None:
    states = SegmentStates(Leases())
    states.lease("w", SEGMENTS[0])
    with pytest.raises(KeyError):
        states.lease("v", SEGMENTS[0])
