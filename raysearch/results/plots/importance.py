"""Which hyper-parameters matter: permutation importance of a forest fitted to the trials (scikit-learn).

A forest of extremely randomised trees (Geurts, Ernst & Wehenkel 2006) learns the rank of a trial's value
from its configuration; the importance of a hyper-parameter is how much worse the forest predicts when
that column is shuffled (Breiman 2001, section 10). Ranks, so that a few diverging values do not count for
everything. Trials are compared at one rung, where all have had the same training. Of more than SHUFFLED
hyper-parameters, those by which the trees part the trials least count as 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from raysearch.results.plots.columns import as_floats, as_labels
from raysearch.results.plots.digest import SEED, Digest
from raysearch.results.plots.style import ACCENT, blank, empty, escape

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from raysearch.results.columns import Floats, Integers

LEAST = 12  # trials that an importance needs
MOST = 3000  # trials that the forest sees
SHUFFLED = 24  # hyper-parameters that are shuffled, those that part the trees most; the others count as 0
FEW = 100  # rows of which often all varies
REPEATS = 5  # of a shuffle
ROWS = 60_000  # predicted in all; where hyper-parameters and trials are many, so many trials at random
FITS = 0.05  # the share of the ranks' spread that the forest must explain on rows it has not seen


@dataclass(frozen=True, slots=True)
class Importance:
    """How much each hyper-parameter matters.

    Attributes:
        shares: name -> share of all importance, the largest first; they add up to 1, or all are 0.
        trials: how many trials this rests on.
        iteration: at which they are compared.
        explained: share of the ranks' variance that the forest predicts out of bag; low means noise.
    """

    shares: dict[str, float]
    trials: int
    iteration: int
    explained: float


def importance(digest: Digest) -> Importance | None:
    """The importances at the rung with the most information; None with too few trials or hyper-parameters.

    Takes the lowest rung that at least a third of the trials reached with a finite value: later ones hold
    only survivors, among which what matters most has been selected away. A diverged trial counts as worst.
    """
    rows, iteration = _compared(digest)
    names, matrix = _matrix(digest, rows)
    if len(rows) < LEAST or len(names) < 2:
        return None
    from sklearn.ensemble import ExtraTreesRegressor

    values = digest.segments.last[rows]
    worse = np.where(np.isfinite(values), values if digest.mode == "min" else -values, np.inf)
    target = np.argsort(np.argsort(worse, kind="stable"), kind="stable") / len(worse)
    forest = ExtraTreesRegressor(100, min_samples_leaf=2, bootstrap=True, oob_score=True, random_state=SEED)
    forest.fit(matrix, target)
    means = np.maximum(_worse_when_shuffled(forest, matrix, target), 0.0)
    shares = means / means.sum() if means.sum() > 0 else means
    order = np.argsort(-shares, kind="stable")
    return Importance(
        {names[i]: float(shares[i]) for i in order}, len(rows), iteration, float(forest.oob_score_)
    )


def can_tell(digest: Digest) -> bool:
    """Whether there are trials and hyper-parameters enough for importances."""
    rows, _ = _compared(digest)
    if len(rows) < LEAST:
        return False
    return any(
        len(_matrix(digest, some)[0]) >= 2 for some in (rows[:FEW], rows)
    )  # what varies in a few does in all


def figure(digest: Digest, found: Importance | None = None) -> go.Figure:
    """The importances as bars; `found` where they were computed already."""
    found = found or importance(digest)
    if found is None:
        return empty(f"Importance needs {LEAST} trials and two hyper-parameters that vary.")
    names = [*found.shares][:20]
    drawn = blank(max(180, 70 + 28 * len(names)), note=words(found), showlegend=False)
    drawn.add_bar(
        y=[escape(n) for n in names],
        x=[found.shares[n] for n in names],
        orientation="h",
        marker={"color": ACCENT},
        text=[f"{found.shares[n]:.0%}" for n in names],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    )
    drawn.update_yaxes(autorange="reversed", type="category", showgrid=False)
    drawn.update_xaxes(
        title_text="share of importance",
        tickformat=".0%",
        range=[0, max(0.05, 1.15 * max(found.shares.values()))],
    )
    return drawn


def words(found: Importance) -> str:
    """What the importances rest on, and how far they can be trusted."""
    text = (
        f"Permutation importance over {found.trials:,} trials, compared after {found.iteration:,} iterations."
    )
    if found.explained < FITS:
        return f"{text} The configuration hardly predicts the result here ({max(0.0, found.explained):.0%} of its variance), so read nothing into the order."  # noqa: E501
    return f"{text} The configuration predicts {found.explained:.0%} of the variance of the ranks."


def _worse_when_shuffled(forest: Any, matrix: Floats, target: Floats) -> Floats:
    """How much the forest's R2 falls when each column is shuffled, the mean of REPEATS; NaN nowhere.

    A prediction of all repeats of a column at once: a forest's costs mostly by the call.
    """
    rng = np.random.default_rng(SEED)
    columns = np.argsort(-forest.feature_importances_, kind="stable")[:SHUFFLED]
    some = min(len(matrix), ROWS // (REPEATS * len(columns)))
    picked = np.sort(rng.choice(len(matrix), some, replace=False))
    rows, wanted = matrix[picked], target[picked]
    spread = max(float(((wanted - wanted.mean()) ** 2).sum()), 1e-300)
    missed = float(((forest.predict(rows) - wanted) ** 2).sum())
    found = np.zeros(matrix.shape[1])
    for k in columns.tolist():
        block = np.tile(rows, (REPEATS, 1))
        block[:, k] = np.concatenate([rng.permutation(rows[:, k]) for _ in range(REPEATS)])
        lost = ((forest.predict(block) - np.tile(wanted, REPEATS)) ** 2).sum() / REPEATS
        found[k] = (float(lost) - missed) / spread
    return found


def _compared(digest: Digest) -> tuple[Integers, int]:
    """(rows of one segment a trial that ended at one rung, the rung's iteration)."""
    segments, rows = digest.segments, digest.search_rows
    able = rows[~segments.having("status", "failed", "lost")[rows]]
    stops = segments.integers("stop")[able]
    levels, counts = np.unique(stops, return_counts=True)
    if not len(levels):
        return able, 0
    enough = levels[counts >= max(LEAST, len(digest.trials) / 3)]
    level = int(enough[0]) if len(enough) else int(levels[np.argmax(counts)])
    chosen = able[stops == level]
    if len(chosen) > MOST:
        chosen = np.sort(np.random.default_rng(SEED).choice(chosen, MOST, replace=False))
    return chosen, level


def _matrix(digest: Digest, rows: Integers) -> tuple[list[str], Floats]:
    """Hyper-parameters that vary as numbers: logs where the space is logarithmic, codes for names."""
    names: list[str] = []
    columns: list[Floats] = []
    for name, values in digest.columns(rows).items():
        if digest.free and name not in digest.free:
            continue
        numbers = as_floats(values)
        if numbers is None:
            numbers = np.unique(as_labels(values), return_inverse=True)[1].astype(np.float64)
        elif digest.is_log(name):
            numbers = np.log(np.where(numbers > 0, numbers, np.nan))
        known = numbers[np.isfinite(numbers)]
        if not len(known) or (known.min() == known.max() and len(known) == len(numbers)):
            continue
        below = known.min() - max(1.0, float(np.ptp(known)))  # a value of its own where it does not occur
        names.append(name)
        columns.append(np.where(np.isfinite(numbers), numbers, below))
    return names, np.column_stack(columns) if columns else np.zeros((len(rows), 0))
