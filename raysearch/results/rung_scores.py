"""The scores of a run's trials, rung by rung: what retest and memory learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from raysearch.core.segment import FINALS, Config, score
from raysearch.space.space import Space
from raysearch.strategies.samplers.importance import LEAST, importances

if TYPE_CHECKING:
    from raysearch.results.results import Results

Floats = npt.NDArray[np.float64]
RANKS_ALIKE = 0.8  # Spearman, from which on a shorter training will do to compare
LEAST_RANKED = 10


@dataclass(frozen=True)
class RungScores:
    """One row a trial of the search whose configuration lies in the space.

    Attributes:
        levels: iterations at which trials were compared, ascending.
        scores: shape (trials, levels), lower is better; NaN where the trial was not trained so far, +inf
            where it diverged or failed there.
        seconds: of training, of the whole trial.
    """

    space: Space
    trials: npt.NDArray[np.int64]
    configs: list[Config]
    levels: tuple[int, ...]
    scores: Floats
    seconds: Floats

    @property
    def points(self) -> Floats:
        """The configurations in the unit cube, shape (trials, d)."""
        return self.space.encode_many(self.configs)

    def common_level(self) -> int | None:
        """The highest rung that enough trials reached to compare them; None if none is."""
        known = (~np.isnan(self.scores)).sum(axis=0)
        able = [i for i, n in enumerate(known) if n >= max(LEAST, 4 * self.space.dimension)]
        return able[-1] if able else None

    def importances(self) -> dict[str, float]:
        """Share of the variance that each hyper-parameter explains alone, largest first; may be empty."""
        level = self.common_level()
        if level is None:
            return {}
        there = ~np.isnan(self.scores[:, level])
        shares = importances(self.points[there], self.scores[there, level])
        named = {n: float(s) for n, s in zip(self.space.free, shares, strict=True) if np.isfinite(s)}
        return dict(sorted(named.items(), key=lambda pair: -pair[1]))

    def early_ranks(self) -> float | None:
        """Spearman of the scores at the lowest and the highest rung; None with too few trials at both."""
        if len(self.levels) < 2:
            return None
        both = np.isfinite(self.scores[:, 0]) & np.isfinite(self.scores[:, -1])
        if both.sum() < LEAST_RANKED:
            return None
        found = spearman(self.scores[both, 0], self.scores[both, -1])
        return found if np.isfinite(found) else None

    def screening_level(self) -> int | None:
        """The fewest iterations after which trials rank as after the most (Spearman >= RANKS_ALIKE).

        None if too few trials were trained to the end for it to be known. Those were picked for being good,
        so their ranks agree less than those of all trials would: the estimate errs towards longer trainings.
        """
        if not self.levels:
            return None
        last = self.scores[:, -1]
        for i, level in enumerate(self.levels[:-1]):
            both = np.isfinite(last) & np.isfinite(self.scores[:, i])
            if both.sum() >= LEAST_RANKED and spearman(self.scores[both, i], last[both]) >= RANKS_ALIKE:
                return level
        return None


def scores_of(results: Results, space: Space) -> RungScores:
    """The scores in a run's journal; segments that were lost do not count."""
    frame = results.segments()
    frame = frame[~frame["role"].isin([str(role) for role in FINALS]) & (frame["status"] != "lost")]
    completed = frame["status"] == "completed"
    levels = tuple(sorted({int(s) for s in frame["stop"][completed]}))
    at = {level: i for i, level in enumerate(levels)}
    trials, rows = np.unique(frame["trial"].to_numpy(np.int64), return_inverse=True)
    scores = np.full((len(trials), len(levels)), np.nan)
    seconds = np.zeros(len(trials))
    np.add.at(seconds, rows, frame["seconds"].to_numpy(np.float64))
    for row, stop, value, is_ok in zip(rows, frame["stop"], frame["value"], completed, strict=True):
        if int(stop) in at:
            scores[row, at[int(stop)]] = score(float(value) if is_ok else float("nan"), results.mode)
    configs = {int(t): c for t, c in results.configs_by_trial().items()}
    fits = [i for i, t in enumerate(trials.tolist()) if space.allows(configs[t])]
    kept = [configs[int(trials[i])] for i in fits]
    return RungScores(space, trials[fits], kept, levels, scores[fits], seconds[fits])


def spearman(a: Floats, b: Floats) -> float:
    """Rank correlation; NaN if one of them is constant."""
    from scipy.stats import rankdata

    x, y = rankdata(a), rankdata(b)
    if len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
