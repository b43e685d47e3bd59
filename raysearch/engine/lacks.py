"""Outcomes that lack what the search compares: they have failed, and say what was reported instead."""

from __future__ import annotations

import dataclasses
import math

from raysearch.core.segment import Outcome, Role, Status, value_at
from raysearch.errors import unknown
from raysearch.space.names import dotted
from raysearch.space.objectives import Objectives


class Lacks:
    """Judges outcomes of a search of several objectives or of limits; of one metric they pass."""

    def __init__(self, goals: Objectives) -> None:
        self._goals = goals
        self._further = () if goals.is_plain else tuple(n for n in goals.metrics if n != goals.leading)

    def judged(self, outcome: Outcome) -> Outcome:
        """The outcome; failed where a metric that counts was never reported, diverged where it is not finite.

        The leading objective is the worker's to judge, at every iteration; the others must come once in a
        segment, and the last finite value counts.
        """
        is_whole = outcome.status is Status.COMPLETED and outcome.reached > outcome.segment.start
        if not self._further or not is_whole or outcome.segment.role == Role.ADOPTED:
            return outcome
        for name in self._further:
            values = outcome.curve.get(name)
            if values is None:
                why = self._missing(name, outcome)
                return dataclasses.replace(outcome, status=Status.FAILED, error=why)
            if not math.isfinite(value_at(values)):
                why = f"{dotted(name)} was {values[-1]} at iteration {outcome.reached}, and never finite"
                return dataclasses.replace(outcome, status=Status.DIVERGED, error=why)
        return outcome

    def _missing(self, name: str, outcome: Outcome) -> str:
        if name in self._goals.modes:
            what = f"objective {dotted(name)!r}"
        else:
            limit = next(one for one in self._goals.limits if name in one.names)
            what = f"{dotted(name)!r} of the limit {limit.text!r}"
        said = unknown("metric", dotted(name), map(dotted, outcome.curve))
        return (
            f"{what} was not reported in iterations {outcome.segment.start + 1} to {outcome.reached}: {said}"
        )
