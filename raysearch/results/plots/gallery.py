"""All figures of a run by name: what `results.plot` is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from raysearch.results.plots import cluster, front, lineage, progress, space, training
from raysearch.results.plots import importance as ranking

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from raysearch.results.plots.digest import Digest
    from raysearch.results.plots.importance import Importance


@dataclass(frozen=True)
class Gallery:
    """The figures of a run, each a `plotly.graph_objects.Figure`; nothing is computed before it is asked for."""  # noqa: E501

    digest: Digest
    measure: Callable[[Digest], Importance | None] = ranking.importance

    def progress(self) -> go.Figure:
        """The best value so far, and each trial's where it ended, over the wall clock."""
        return progress.progress(self.digest)

    def settled(self) -> go.Figure:
        """The best trials by what all training had cost when each was there."""
        return progress.settled(self.digest)

    def rungs(self) -> go.Figure:
        """How many trials were trained to each rung, and how they ended there."""
        return progress.rungs(self.digest)

    def front(self) -> go.Figure:
        """The leading objective against the other metrics that count: front, intervals, limits shaded."""
        return front.front(self.digest)

    def hypervolume(self) -> go.Figure:
        """How much of the room before a reference point the front dominates, over time and iterations."""
        return front.hypervolume(self.digest)

    def parallel(self) -> go.Figure:
        """Parallel coordinates: a line a trial through its hyper-parameters to its value."""
        return space.parallel(self.digest, self._order)

    def importance(self) -> go.Figure:
        """Which hyper-parameters matter: permutation importance of a forest."""
        return ranking.figure(self.digest, self.importances)

    def slices(self) -> go.Figure:
        """Each hyper-parameter's value against the metric."""
        return space.slices(self.digest, self._order)

    def curves(self) -> go.Figure:
        """Learning curves of the best trials, some others, and the finish's."""
        return training.curves(self.digest)

    def timeline(self) -> go.Figure:
        """Which worker trained what when, and how busy the workers were."""
        return cluster.timeline(self.digest)

    def schedules(self) -> go.Figure:
        """Hyper-parameters that changed while models were trained, over the iterations."""
        return lineage.schedules(self.digest)

    def lineage(self) -> go.Figure:
        """The tree of segments, with what led to the winner, and the reasons on hover."""
        return lineage.tree(self.digest)

    @cached_property
    def importances(self) -> Importance | None:
        """The importances as numbers; None where there are too few trials."""
        return self.measure(self.digest)

    @property
    def has_importances(self) -> bool:
        """Whether there are trials enough for importances; costs little."""
        return ranking.can_tell(self.digest)

    @property
    def _order(self) -> tuple[str, ...]:
        return tuple(self.importances.shares) if self.importances is not None else ()
