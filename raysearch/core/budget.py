"""What a search may cost, what it has cost so far, and the words for both.

    budget: {hours: 8, gpu_hours: 64, money: 250, prices: {gpu_hour: 2.5, cpu_hour: 0.05, hour: 1}}

What counts is what workers *hold*, waiting or training, since that is what a bill counts; over all lives
of a run, since a resumed search goes on with the account it had.
"""

from __future__ import annotations

import bisect
import dataclasses
import enum
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raysearch.core.formatting import number
from raysearch.errors import LocatedError, SpecError

GRACE_S = 60.0  # what is in training when a budget is used up may end within so long
PRICES = ("hour", "worker_hour", "cpu_hour", "gpu_hour")
POWERS = ("worker", "cpu", "gpu")


class Amount(enum.Enum):
    """What a budget limits; the values are the names of its fields."""

    HOURS = "hours"
    GPU_HOURS = "gpu_hours"
    CPU_HOURS = "cpu_hours"
    MONEY = "money"
    TRIALS = "trials"

    @property
    def unit(self) -> str:
        """As it stands behind a number."""
        return _UNITS[self]

    @property
    def more(self) -> tuple[str, ...]:
        """The options of `raysearch resume` that give more of it."""
        return _OPTIONS[self]


_UNITS = {
    Amount.HOURS: "hours",
    Amount.GPU_HOURS: "GPU-hours",
    Amount.CPU_HOURS: "CPU-hours",
    Amount.MONEY: "in money",
    Amount.TRIALS: "trials",
}
_OPTIONS = {
    Amount.HOURS: ("--hours", "+N"),
    Amount.GPU_HOURS: ("--gpu-hours", "+N"),
    Amount.CPU_HOURS: ("--cpu-hours", "+N"),
    Amount.MONEY: ("--money", "+N"),
    Amount.TRIALS: ("--set", "budget.trials=N"),
}
_USED_UP = re.compile(rf"the budget of \S+ ({'|'.join(_UNITS.values())}) is used up")


@dataclass(frozen=True, slots=True)
class Spent:
    """What a search took: wall time, and what its workers held, in seconds times amount."""

    seconds: float = 0.0
    worker_s: float = 0.0
    cpu_s: float = 0.0
    gpu_s: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self)))

    def money(self, prices: Mapping[str, float]) -> float:
        """At these prices an hour; what has none is free."""
        amounts = (self.seconds, self.worker_s, self.cpu_s, self.gpu_s)
        return sum(prices.get(name, 0.0) * s / 3600 for name, s in zip(PRICES, amounts, strict=True))

    def kwh(self, power: Mapping[str, float]) -> float:
        """Energy at this power in watts; what has none takes none."""
        amounts = (self.worker_s, self.cpu_s, self.gpu_s)
        return sum(power.get(name, 0.0) * s for name, s in zip(POWERS, amounts, strict=True)) / 3.6e6


@dataclass(frozen=True, slots=True)
class Budget:
    """When to stop though the strategy would go on; None is no limit.

    Attributes:
        hours: of wall time.
        gpu_hours, cpu_hours: that all workers together hold, waiting or training.
        trials: begun.
        money: at `prices`, which are by `hour` of the search, `worker_hour`, `cpu_hour` and `gpu_hour`.
        grace: seconds in which what is in training then may still end; what has not is cut.
        power: watts that a `worker`, a `cpu` and a `gpu` take while workers hold them, for kWh.
    """

    hours: float | None = None
    gpu_hours: float | None = None
    trials: int | None = None
    cpu_hours: float | None = None
    money: float | None = None
    prices: Mapping[str, float] = field(default_factory=dict)
    grace: float = GRACE_S
    power: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_set(self) -> bool:
        """Whether there is any limit, price or power, so that people want to know where they stand."""
        return bool(self.prices or self.power) or self.has_limit

    @property
    def has_limit(self) -> bool:
        """Whether anything that can be spent is limited; trials are not looked at."""
        return any(getattr(self, amount.value) is not None for amount in self.amounts(Spent()))

    def exhausted(self, spent: Spent) -> Amount | None:
        """What is used up; None while nothing is. Trials are not looked at."""
        for amount, so_far in self.amounts(spent).items():
            if (limit := getattr(self, amount.value)) is not None and so_far >= limit:
                return amount
        return None

    def used_up(self, amount: Amount) -> str:
        """That the limit of this is reached, in words."""
        return f"the budget of {getattr(self, amount.value):g} {amount.unit} is used up"

    def amounts(self, spent: Spent) -> dict[Amount, float]:
        """What was spent; trials, which do not tell from this, are absent."""
        return {
            Amount.HOURS: spent.seconds / 3600,
            Amount.GPU_HOURS: spent.gpu_s / 3600,
            Amount.CPU_HOURS: spent.cpu_s / 3600,
            Amount.MONEY: spent.money(self.prices),
        }

    def in_words(self, spent: Spent) -> str:
        """`2.01 of 2 hours · 15.2 GPU-hours · 38.10 of 250 in money`; without what is nothing."""
        parts = []
        for amount, so_far in self.amounts(spent).items():
            limit = getattr(self, amount.value)
            shown = f"{so_far:.2f}" if amount is Amount.MONEY else number(so_far, 3)
            if limit is not None:
                parts.append(f"{shown} of {limit:g} {amount.unit}")
            elif so_far > 0:
                parts.append(f"{shown} {amount.unit}")
        if (kwh := spent.kwh(self.power)) > 0:
            parts.append(f"{number(kwh, 3)} kWh")
        return " · ".join(parts)

    def check(self, cpu: float, gpu: float) -> None:
        """Raises LocatedError for a limit that workers which hold so much could never reach."""
        for name, held in (("gpu_hours", gpu), ("cpu_hours", cpu)):
            if getattr(self, name) is not None and not held:
                kind = name[:3]
                raise LocatedError(
                    f"budget.{name}", f"no worker holds a {kind.upper()} (workers.{kind} is 0)"
                )
        one_hour = Spent(3600.0, 3600.0, 3600.0 * cpu, 3600.0 * gpu)
        if self.money is not None and not one_hour.money(self.prices):
            given = ", ".join(self.prices) or "none"
            raise LocatedError(
                "budget.money",
                f"nothing that workers hold has a price (prices: {given}); give some of {', '.join(PRICES)}",
            )

    def extended(self, name: str, text: str, spent: Spent) -> Budget:
        """With one limit set: `12`, or `+4` for so much more than it was, or than is spent if that is more.

        Raises:
            SpecError: no such amount, or less than is spent already.
        """
        amount = self.amounts(spent)[Amount(name)]
        try:
            given = float(text)
        except ValueError:
            raise SpecError(f"--{name.replace('_', '-')}: {text!r} is neither a number nor +N") from None
        now = getattr(self, name)
        total = given + max(amount, now or 0.0) if text.strip().startswith("+") else given
        if not total > amount:
            raise SpecError(
                f"--{name.replace('_', '-')} {text}: {number(amount, 3)} are spent already; +N is N more"
            )
        changed: dict[str, Any] = {name: total}
        return dataclasses.replace(self, **changed)


def amount_in(ending: str) -> Amount | None:
    """What the sentence of an ending says is used up; None for another ending. Only `ended_of` asks."""
    found = _USED_UP.match(ending)
    return next(amount for amount in Amount if amount.unit == found[1]) if found is not None else None


class Account:
    """Adds up what the lives of a run have spent, from its journal.

    A life that was killed has no last account; then counted is what it noted on its way, or at least the
    training whose outcomes are there.
    """

    def __init__(self, events: Iterable[Any]) -> None:
        """`events` are the journal's, in order."""
        self.starts: list[float] = []
        self._noted: list[Spent] = []
        self._until: list[float] = []
        self._busy: defaultdict[int, float] = defaultdict(float)
        self._share: list[tuple[float, float]] = []
        for event in events:
            self.note(event)

    def note(self, event: Any) -> None:
        """Takes in the journal's next event."""
        if event.kind == "start":
            self.starts.append(event.at)
            self._noted.append(Spent())
            self._until.append(event.at)
            self._share.append((event.detail.get("cpu", 0.0), event.detail.get("gpu", 0.0)))
        elif self.starts and (noted := event.detail.get("spent")) is not None:
            self._noted[-1] = Spent(**noted)

    def add(self, finished_at: float, seconds: float) -> None:
        """Takes in an outcome."""
        life = self._life(finished_at)
        if life >= 0:
            self._busy[life] += seconds
            self._until[life] = max(self._until[life], finished_at)

    def _life(self, at: float) -> int:
        return bisect.bisect_right(self.starts, at) - 1

    @property
    def has_gaps(self) -> bool:
        """Whether a life noted nothing, so that its outcomes must be looked at."""
        return any(noted == Spent() for noted in self._noted)

    @property
    def total(self) -> Spent:
        """Of all lives together."""
        return sum((self._of(life) for life in range(len(self.starts))), Spent())

    @property
    def before(self) -> Spent:
        """Of all lives but the last."""
        return sum((self._of(life) for life in range(len(self.starts) - 1)), Spent())

    def _of(self, life: int) -> Spent:
        noted, busy, (cpu, gpu) = self._noted[life], self._busy[life], self._share[life]
        return Spent(
            max(noted.seconds, self._until[life] - self.starts[life]),
            max(noted.worker_s, busy),
            max(noted.cpu_s, busy * cpu),
            max(noted.gpu_s, busy * gpu),
        )
