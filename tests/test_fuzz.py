"""A slice of each kind of `raysearch bench fuzz`: an answer or words, whatever the input."""

from __future__ import annotations

import pytest

from raysearch.bench.fuzz.kinds import Case, OtherAnswer, Verdict, kind_named
from raysearch.bench.fuzz.pool import attempt, try_all
from raysearch.errors import SpecError

SLICE = {"specs": 60, "lines": 30, "orders": 60, "sweeps": 30, "schedules": 30, "memories": 40}


class Ends:
    """A kind whose cases end as they say."""

    count = 1

    def attempt(self, case: Case) -> None:
        if case.given is not None:
            raise case.given


@pytest.mark.parametrize(
    ("raised", "started", "verdict"),
    [
        (None, "", Verdict.ANSWERED),
        (SpecError("no"), "", Verdict.REFUSED),
        (OtherAnswer("4 for 5"), "", Verdict.OTHER),
        (KeyError("x"), "", Verdict.TRACEBACK),
        (SystemExit(0), "", Verdict.TRACEBACK),
        (SpecError("no"), "os.system('id')", Verdict.CODE),
    ],
)
def test_a_case_ends_in_one_verdict(raised: BaseException | None, started: str, verdict: Verdict) -> None:
    tried = attempt(Ends(), "ends", 3, Case("odd", raised), lambda: started)
    assert (tried.verdict, tried.number, tried.words) == (verdict, 3, "odd")


def test_a_case_is_a_function_of_seed_and_number() -> None:
    one, other = kind_named("specs"), kind_named("specs")
    one.texts = other.texts = {"a": "space: {lr: {uniform: [0, 1]}}\nmetric: loss\n"}
    assert [one.case(5, n) for n in range(50)] == [other.case(5, n) for n in range(50)]
    assert one.case(5, 1) != one.case(6, 1)


@pytest.mark.parametrize("name", SLICE)
def test_an_odd_input_is_answered_or_refused(name: str) -> None:
    tried = try_all(name, 7, range(SLICE[name]), 1)
    assert [str(one) for one in tried if one.verdict.is_finding] == []
    assert len(tried) == SLICE[name]
