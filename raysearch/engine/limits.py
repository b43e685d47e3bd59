"""When a search ends before its strategy does, and how patient it is with workers and segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from raysearch.core.budget import Budget
from raysearch.core.stop_when import StopWhen

SILENCE_S = 60.0  # a worker that the search has not heard from for so long is taken for dead


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a search; None is no limit.

    Attributes:
        held: CPUs and GPUs that a worker of each level holds, for the account.
        quota_bytes: what checkpoints may take.
        retries: how often a segment that raised is tried again; one that stalled is not.
        stall_timeout_s: training without an iteration for so long is failed.
        silence_s: a worker that the search has not heard from for so long is replaced.
        stop_when: the search is closed once going on is forecast to gain less.
        least_workers: nothing is trained before so many have come.
    """

    budget: Budget = field(default_factory=Budget)
    held: Sequence[tuple[float, float]] = ((1.0, 0.0),)
    quota_bytes: int | None = None
    retries: int = 1
    stall_timeout_s: float | None = None
    silence_s: float = SILENCE_S
    least_workers: int = 1
    stop_when: StopWhen | None = None
