"""What to do next with a run: pure functions from what is known of it to steps, each with its command.

    steps(facts_of(results))        # [Step(kind=Kind.RESUME, words="The run is not finished ...", ...), ...]

A step is advice; nothing is done by it.
"""

from __future__ import annotations

import enum
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from raysearch.core.formatting import setting
from raysearch.core.segment import trial_name
from raysearch.core.values import show
from raysearch.engine.wind_down import more_of
from raysearch.report.standing import Standing
from raysearch.space.names import dotted
from raysearch.space.numeric import Interval
from raysearch.space.space import Space

NEAR = 0.02  # of a domain's unit interval: a winner so close to an end lies at an edge
LEAST_VALUES = 3  # of a stepped domain, for its first and last value to be edges
EDGES_SHOWN = 3
SAMPLES_EACH = 10  # per hyper-parameter: Loeppky, Sacks & Welch 2009, Technometrics 51(4), "n = 10 d"


class Kind(enum.Enum):
    """What a step is about."""

    RESUME = "resume"
    EDGE = "edge"
    SAMPLES = "samples"
    FINISH = "finish"
    REPLAY = "replay"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do next.

    Attributes:
        words: why, in a sentence or two.
        command: what to type, quoted for a shell.
    """

    kind: Kind
    words: str
    command: str


@dataclass(frozen=True, slots=True)
class Edge:
    """A hyper-parameter whose winning value lies at an end of its domain.

    Attributes:
        name: as users write it, `group.member`.
        is_upper: whether it is the upper end.
        wider: (low, high) of the domain with this end moved.
    """

    name: str
    value: Any
    is_upper: bool
    domain: Interval
    wider: tuple[float, float]

    def __str__(self) -> str:
        end = "upper" if self.is_upper else "lower"
        return f"{self.name} = {setting(self.value)} at the {end} end of {self.domain.describe()}"

    @property
    def field(self) -> str:
        """The wider domain as `--set` of a command takes it: `space.lr.uniform=[0.0, 1.5]`."""
        low, high = self.wider
        return f"space.{self.name}.{self.domain.kind}=[{show(low)}, {show(high)}]"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a run, as far as the next steps rest on it.

    Attributes:
        run: its folder or address, as commands take it.
        winner: the number of the best trial; None if none ended well.
        config: of the winner.
        searched: the space; None where it cannot be read.
        matters: hyper-parameters that the result depends on; None where that is not known.
        samples: of the strategy; None for one without.
        is_raised: whether models were raised, whose configurations change while they train.
        has_finish: whether the winner was trained again on fresh seeds.
        takes_finish: whether the strategy has a finish.
        has_schedule: whether a replay of the winner's schedule has anything to say.
        keeps_baseline: whether the verdict holds the baseline for as good a choice.
    """

    run: str
    standing: Standing
    winner: int | None = None
    config: Mapping[str, Any] | None = None
    searched: Space | None = None
    matters: Collection[str] | None = None
    samples: int | None = None
    is_raised: bool = False
    has_finish: bool = False
    takes_finish: bool = False
    has_schedule: bool = False
    keeps_baseline: bool = False


def steps(facts: Facts) -> list[Step]:
    """What to do next, the most urgent first; empty while the run is being run.

    An unfinished run is to go on first: nothing else is said of it.

    >>> from raysearch.report.standing import Phase, Standing
    >>> [step.command for step in steps(Facts("runs/digits", Standing(Phase.KILLED)))]
    ['raysearch resume runs/digits']
    """
    if facts.standing.is_open:
        return []
    if facts.standing.is_unfinished:
        return [_resume(facts)]
    if facts.winner is None:
        return []
    found = [_edges(facts), _samples(facts), _finish(facts), _replay(facts)]
    return [*(step for step in found if step is not None), _export(facts)]


def at_edges(space: Space, config: Mapping[str, Any], among: Collection[str] | None = None) -> list[Edge]:
    """The numeric hyper-parameters of a configuration that lie at an end of their domains, in the space's order.

    At an end is what lies within NEAR of it in the unit interval (on a log scale: of the logarithms), or is the
    first or last value of a stepped domain. A lower end of 0 and an upper end of 1 are left out: they are most
    often limits of the quantity itself, as of a dropout rate or a momentum.

    Args:
        among: names to look at; None is all of them.

    >>> space = Space.from_dict({"lr": {"loguniform": [1e-4, 1.0]}, "dropout": {"uniform": [0.0, 0.5]}})
    >>> at_edges(space, {"lr": 1.05e-4, "dropout": 0.5})[0].wider
    (1e-05, 1.0)
    """  # noqa: E501
    values = space.flatten(config)
    found = []
    for name, domain in space.domains.items():
        is_asked = name in values and (among is None or name in among)
        if not is_asked or not isinstance(domain, Interval):
            continue
        is_upper = _end_at(domain, values[name])
        if is_upper is None or (domain.high == 1 if is_upper else domain.low == 0):
            continue
        low, high = _wider(domain, is_upper)
        if (low, high) != (domain.low, domain.high):
            found.append(Edge(dotted(name), values[name], is_upper, domain, (low, high)))
    return found


def enough_samples(space: Space) -> int:
    """How many configurations a search of this space should try at least: SAMPLES_EACH a hyper-parameter.

    Loeppky, Sacks & Welch 2009, "Choosing the sample size of a computer experiment: a practical guide". Of
    hyper-parameters with few values all together, no more than there are configurations.
    """
    combinations = 1
    for name in space.free:
        count = space.domains[name].cardinality
        combinations = combinations * count if count is not None else 10**18
    return min(SAMPLES_EACH * space.dimension, combinations)


# ---- inside


def _end_at(domain: Interval, value: Any) -> bool | None:
    """Whether the value lies at the upper end, or (False) at the lower one; None if at neither."""
    count = domain.cardinality
    if count is not None:
        if count < LEAST_VALUES:
            return None
        first, last = domain.value_at(0.0), domain.value_at(1.0)
        return True if value == last else False if value == first else None
    at = domain.to_unit(value)
    return True if at >= 1 - NEAR else False if at <= NEAR else None


def _wider(domain: Interval, is_upper: bool) -> tuple[float, float]:
    """The bounds with one of them moved: tenfold on a log scale, else by half of the width; none below its sign.

    A whole number that was at least 1 stays so, and what was not negative does not become so.
    """  # noqa: E501
    low, high = domain.low, domain.high
    half = (high - low) / 2
    if is_upper:
        high = high * 10 if domain.log else high + half
    else:
        low = low / 10 if domain.log else low - half
        least = 1 if domain.integer and domain.low >= 1 else 0 if domain.low >= 0 else low
        low = max(low, least)
    if domain.integer:
        return round(low), round(high)
    return float(f"{low:.6g}"), float(f"{high:.6g}")


def _resume(facts: Facts) -> Step:
    standing = facts.standing
    more = more_of(standing.ended)
    words = f"The run is not finished: {standing.words}. What it has done counts when it goes on."
    return Step(Kind.RESUME, words, _command("resume", facts.run, *more))


def _edges(facts: Facts) -> Step | None:
    if facts.searched is None or facts.config is None:
        return None
    edges = at_edges(facts.searched, facts.config, facts.matters)
    if not edges:
        return None
    shown, left_out = edges[:EDGES_SHOWN], len(edges[EDGES_SHOWN:])
    listed = ", ".join(map(str, shown)) + (f", and {left_out} more" if left_out else "")
    words = f"The winner lies at an edge of the space: {listed}. Better values may lie beyond it."
    sets = [part for edge in shown for part in ("--set", edge.field)]
    if facts.samples is None:
        again = _command("launch", f"{facts.run}/spec.yaml", "--name", f"{_name(facts.run)}-wider", *sets)
        return Step(Kind.EDGE, words, again)
    more = more_of(facts.standing.ended)
    return Step(
        Kind.EDGE, words, _command("resume", facts.run, *sets, "--samples", f"+{facts.samples}", *more)
    )


def _samples(facts: Facts) -> Step | None:
    if facts.samples is None or facts.searched is None:
        return None
    enough, more = enough_samples(facts.searched), more_of(facts.standing.ended)
    if facts.samples >= enough:
        return None
    words = (
        f"{facts.samples:,} samples are few for {facts.searched.dimension:,} hyper-parameters: "
        f"at least {enough:,} are worth a try, {SAMPLES_EACH} for each (Loeppky, Sacks & Welch 2009)."
    )
    return Step(Kind.SAMPLES, words, _command("resume", facts.run, "--samples", str(enough), *more))


def _finish(facts: Facts) -> Step | None:
    if facts.has_finish or not facts.takes_finish:
        return None
    words = (
        "The winner was not trained again on fresh seeds, so its value is optimistic; a finish says what it "
        "is worth."
    )
    finish = "strategy.finish={top: 3, seeds: 3}"
    return Step(Kind.FINISH, words, _command("resume", facts.run, "--set", finish))


def _replay(facts: Facts) -> Step | None:
    if not facts.is_raised or facts.has_finish or not facts.has_schedule:
        return None
    words = (
        "The winner's schedule comes from one training; a replay on fresh seeds, beside constants, says "
        "whether it is worth having."
    )
    return Step(Kind.REPLAY, words, _command("replay", facts.run))


def _export(facts: Facts) -> Step:
    what: tuple[str, ...] = ()
    which = f"the winner, trial {trial_name(facts.winner or 0, ',')}"
    if facts.keeps_baseline:
        which, what = "the baseline, which the verdict keeps", ("--baseline",)
    words = f"Hand over {which}: its configuration as a file."
    return Step(Kind.EXPORT, words, _command("export", facts.run, *what, "--config", "-o", "best.yaml"))


def _name(run: str) -> str:
    return run.rstrip("/").rpartition("/")[2]


def _command(*words: str) -> str:
    return shlex.join(["raysearch", *words])
