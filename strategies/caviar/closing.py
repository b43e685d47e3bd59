"""The end of a caviar search before every sample was tried, because going on is not worth its cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raysearch.strategies.caviar.settings import Caviar


class Closes:
    """The part of a running search that is told when to close; a `base.Closing`."""

    _recipe: Caviar
    _closed = False

    @property
    def horizon(self) -> int:
        """Iterations of a full training."""
        return self._recipe.max_iterations

    @property
    def eta(self) -> int:
        """Of the trials at a rung the best 1/eta go on."""
        return self._recipe.eta

    def close(self) -> None:
        """From now on nothing new is tried or trained on; asked for are lost segments, and the finish."""
        self._closed = True
