"""The contract between a strategy and whatever runs it.

A *recipe* is the frozen settings of a strategy (what stands under `strategy:` in a spec). `start`
turns it into a running *strategy*, which asks for segments and is told outcomes:

    strategy = Caviar(samples=100, max_iterations=81).start(space, metric="loss", mode="min", seed=1)
    while not strategy.finished:
        for segment in strategy.ask(free=4):
            strategy.tell(train(segment))

What every strategy keeps to (`raysearch.testing` checks it on each registered one):

- State is a fold over the outcomes told, in whatever order they are told (a model trained before the search
  first). Outcomes of segments that it never asked for are accepted, so a journal can be replayed and a
  finished search extended.
- `ask(free)` returns at most `free` new segments, the most urgent first. An empty list means "not
  before I am told more", or, if `finished`, "never".
- A segment is asked for once. One told as lost is asked for again, under the same id and unchanged.
- Ids are made by `core.segment.segment_id` from decisions, not from a counter of asks: a strategy that is
  rebuilt from the same outcomes asks for the same ids.
- An outcome whose id was told before is ignored (lost ones apart).
- NaN, diverged and failed count as worst and are never promoted, copied or returned as best.
- `finished` is True when nothing is left to ask for and nothing asked for is outstanding.
- Only `ask` and `tell` change anything; `finished`, `kept` and `notes` are queries.
- No Ray, torch, clock, files or global random state: same seed and outcomes, same decisions.
- Every segment's `reason` says in words why it was asked for; code that decides reads its `event`.

What a strategy can do beyond that it declares: a recipe by `abilities()`, `cost(...)` and `extended(...)`,
a running strategy by `notes`, by `close`, and by `plan_intervention` with `intervene`. Each is optional;
`abilities_of`, `cost_of`, `notes_of` and the protocols below say what holds for one that declares nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast, runtime_checkable

from raysearch.core.segment import Config, Mode, Outcome, Segment
from raysearch.errors import SpecError

if TYPE_CHECKING:
    from raysearch.space.objectives import Objectives
    from raysearch.space.space import Space
    from raysearch.strategies.cost import PopulationCost, RungCost


@runtime_checkable
class Strategy(Protocol):
    """A running strategy; see the module's contract."""

    def ask(self, free: int) -> list[Segment]:
        """At most `free` segments to train next, the most urgent first."""
        ...

    def tell(self, outcome: Outcome) -> None:
        """Folds an outcome into the state."""
        ...

    @property
    def finished(self) -> bool:
        """True when the search is over."""
        ...

    def kept(self) -> Set[int]:
        """Ids of the segments whose checkpoints may still be needed. Costs O(segments kept)."""
        ...


@runtime_checkable
class Recipe(Protocol):
    """A strategy's frozen settings, a dataclass; raises SpecError on a wrong one when it is made."""

    name: ClassVar[str]

    def start(
        self, space: Space, *, metric: str, mode: Mode, seed: int = 0, baseline: Config | None = None
    ) -> Strategy:
        """The strategy at its beginning.

        Args:
            metric: key of `Outcome.curve` that is compared.
            mode: "min" or "max": which direction of the metric is better.
            seed: of every random choice.
            baseline: the configuration that the user trains with today, in the space; trained first,
                and what finalists are compared with. None if there is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a strategy can do and what it needs; the defaults hold for one that declares nothing.

    Attributes:
        max_iterations: iterations of a training at most; None if the recipe does not say.
        samples: how many configurations are tried; None where no configurations are sampled.
        raises: how many models are raised side by side, in which hyper-parameters change while they train;
            None where a trial keeps its configuration.
        population: how many models train at a time, of those that take turns where workers are fewer.
        variant: "promotion" or "stopping", or "auto" where a launcher chooses; None without the choice.
        sampler: where configurations come from: a name or an object; None where there is none.
        needs_checkpoints: whether models are trained on from their checkpoints.
        adopts: whether a model that was trained before may be gone on with.
        takes_orders: whether people may nudge and roll back while it runs.
        enqueues: whether people may have a configuration of theirs tried next while it runs.
        transfers: whether it begins from what is known; its recipe has a field `transfer`.
        eta: of the trials at a rung the best 1/eta go on.
        hours, gpu_hours: that the recipe itself sets for the search.
        closes: whether its search can be closed before all samples were tried, its finish still to come; the
            running strategy is then a `Closing`.
        objectives: whether trials are compared by several objectives; limits: by limits on what they report.
            Either way `start` takes `objectives`, an `Objectives`, where there is more than the metric.
    """

    max_iterations: int | None = None
    samples: int | None = None
    raises: int | None = None
    population: int = 1
    variant: str | None = None
    sampler: object = None
    needs_checkpoints: bool = False
    adopts: bool = False
    takes_orders: bool = False
    enqueues: bool = False
    transfers: bool = False
    eta: int = 3
    hours: float | None = None
    gpu_hours: float | None = None
    closes: bool = False
    objectives: bool = False
    limits: bool = False


@runtime_checkable
class Declares(Protocol):
    """A recipe that says what its strategy can do."""

    def abilities(self) -> Abilities:
        """What it can do, with these settings."""
        ...


@runtime_checkable
class Extensible(Protocol):
    """A recipe that can be made larger, so that a finished search goes on."""

    def extended(self, samples: int | None = None, max_iterations: int | None = None) -> Recipe:
        """The same search made larger; None leaves a size as it is."""
        ...


@runtime_checkable
class Costed(Protocol):
    """A recipe that says beforehand what its search costs."""

    def cost(self, has_baseline: bool) -> RungCost | PopulationCost | None:
        """The iterations of all trainings; None if they cannot be said."""
        ...


@runtime_checkable
class Steerable(Protocol):
    """A running strategy that takes orders from people while it runs."""

    def plan_intervention(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """The order, checked and stamped with the moment after which it holds.

        Raises:
            SpecError: it is not one that can be obeyed.
        """
        ...

    def intervene(self, stamped: Mapping[str, Any]) -> None:
        """Takes in a stamped order, in this life of the search or an earlier one."""
        ...


@runtime_checkable
class Growing(Protocol):
    """A running strategy that can be made to try more configurations."""

    def grow(self, samples: int) -> None:
        """Tries so many in all, from now on."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A running strategy whose search can be closed: what is in training ends, then comes the finish."""

    @property
    def horizon(self) -> int:
        """Iterations of a full training."""
        ...

    @property
    def eta(self) -> int:
        """Of the trials at a rung the best 1/eta go on."""
        ...

    def close(self) -> None:
        """From now on nothing new is tried or trained on; asked for are lost segments, and the finish."""
        ...


@runtime_checkable
class Noting(Protocol):
    """A running strategy with sentences for the user."""

    @property
    def notes(self) -> Sequence[str]:
        """The sentences so far, each shown once as a warning; grows."""
        ...


@runtime_checkable
class Judges(Protocol):
    """A recipe that compares by several objectives, or by limits, as its abilities say."""

    def start(
        self,
        space: Space,
        *,
        metric: str,
        mode: Mode,
        seed: int = 0,
        baseline: Config | None = None,
        objectives: Objectives | None = None,
    ) -> Strategy:
        """As `Recipe.start`; `objectives` where there are several or limits, `metric` being the first."""
        ...


def started(recipe: Recipe, space: Space, goals: Objectives, seed: int, baseline: Config | None) -> Strategy:
    """The strategy of a recipe at its beginning.

    Raises:
        SpecError: it does not compare by several objectives or by limits, and there are such.
    """
    metric, mode = goals.leading, goals.modes[goals.leading]
    if goals.is_plain:
        return recipe.start(space, metric=metric, mode=mode, seed=seed, baseline=baseline)
    able = abilities_of(recipe)
    if goals.several and not able.objectives:
        raise SpecError(
            f"strategy {recipe.name} compares by one metric, and there are {goals.kind}; caviar can"
        )
    if goals.limits and not able.limits:
        raise SpecError(f"strategy {recipe.name} knows no limits on reported values; caviar and panda do")
    judge = cast(Judges, recipe)
    return judge.start(space, metric=metric, mode=mode, seed=seed, baseline=baseline, objectives=goals)


def abilities_of(recipe: object) -> Abilities:
    """What a recipe declares; the defaults for one that declares nothing."""
    return recipe.abilities() if isinstance(recipe, Declares) else Abilities()


def cost_of(recipe: object, has_baseline: bool) -> RungCost | PopulationCost | None:
    """What a recipe says that its search costs; None for one that does not say."""
    return recipe.cost(has_baseline) if isinstance(recipe, Costed) else None


def notes_of(strategy: object) -> Sequence[str]:
    """A strategy's sentences for the user; none for one without."""
    return strategy.notes if isinstance(strategy, Noting) else ()
