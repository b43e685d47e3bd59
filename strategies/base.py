"""The contract between a strategy and whatever runs it.

A *recipe* is the frozen settings of a strategy (what stands under `strategy:` in a spec). `start`
turns it into a running *strategy*, which asks for segments and is told outcomes:

    strategy = Caviar(samples=100, max_iterations=81).start(space, metric="loss", mode="min", seed=1)
    while not strategy.finished:
        for segment in strategy.ask(free=4):
            strategy.tell(train(segment))

What every strategy keeps to (tests/strategy_suite.py checks it on each registered one):

- State is a fold over the outcomes told, in whatever order they are told. Outcomes of segments that
  it never asked for are accepted, so a journal can be replayed and a finished search extended.
- `ask(free)` returns at most `free` new segments, the most urgent first. An empty list means "not
  before I am told more", or, if `finished`, "never".
- A segment is asked for once. One told as lost is asked for again, under the same id and unchanged.
- Ids are made by `tree.segment_id` from decisions, not from a counter of asks: a strategy that is
  rebuilt from the same outcomes asks for the same ids.
- An outcome whose id was told before is ignored (lost ones apart).
- NaN, diverged and failed count as worst and are never promoted, copied or returned as best.
- `finished` is True when nothing is left to ask for and nothing asked for is outstanding.
- No Ray, torch, clock, files or global random state: same seed and outcomes, same decisions.
- Every segment's `reason` says in words why it was asked for.

A strategy may also have `notes`, a growing sequence of sentences for the user, which are shown as
warnings; and `plan_intervention(order)` with `intervene(stamped)`, if people may step in while it runs
(see `raysearch.strategies.panda.single`).
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from raysearch.core.segment import Config, Mode, Outcome, Segment

if TYPE_CHECKING:
    from raysearch.space.space import Space


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
