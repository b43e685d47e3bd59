"""The effect of a memory on a search: transferred trials compared with independent ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from raysearch.core.segment import FINALS, FROM_BASELINE, FROM_PERSON, score
from raysearch.strategies.samplers.rank_test import worse_probability

if TYPE_CHECKING:
    from raysearch.results.results import Results

FREE = "free"  # of a trial that the sampler proposed without the past
NOT_PAST = (FREE, FROM_BASELINE, FROM_PERSON)
LEAST = 3


@dataclass(frozen=True)
class Helped:
    """How transferred trials compare with independent ones.

    Attributes:
        rows: for each origin: trials, how many went beyond the first rung, the best value, iterations there.
        probability: that a transferred trial beats a free one at the first rung; NaN with too few of either.
        p: one-sided p value of the transferred being better there (Mann-Whitney).
        winner: where the best trial's configuration is from; "free" if not from the past.
    """

    rows: tuple[dict[str, Any], ...]
    probability: float
    p: float
    winner: str
    text: str

    def __str__(self) -> str:
        return self.text


def helped(results: Results) -> Helped | None:
    """The effect of the memory on a search; None if the search started without one."""
    trials = results.segments()
    decided = results.digest.segments.decisions(range(len(trials)))
    trials = trials.assign(origin=[one.origin or FREE for one in decided])
    trials = trials[(trials["start"] == 0) & ~trials["role"].isin([str(role) for role in FINALS])]
    if set(trials["origin"]) <= {*NOT_PAST}:
        return None
    past = trials[~trials["origin"].isin(NOT_PAST)]
    first = trials[(trials["stop"] == trials["stop"].min()) & (trials["trial"] <= past["trial"].max())]
    is_ok = first["status"] == "completed"
    scores = np.array(
        [
            score(float(v) if ok else float("nan"), results.mode)
            for v, ok in zip(first["value"], is_ok, strict=True)
        ]
    )
    is_free = (first["origin"] == FREE).to_numpy()
    is_past = ~is_free & ~first["origin"].isin(NOT_PAST).to_numpy()
    theirs, ours = scores[is_past], scores[is_free]
    p = probability = float("nan")
    if min(len(theirs), len(ours)) >= LEAST:
        p = worse_probability(theirs.tolist(), ours.tolist())
        wins = (theirs[:, None] < ours[None]).mean() + 0.5 * (theirs[:, None] == ours[None]).mean()
        probability = float(wins)
    best = results.best.trial
    winner = next(iter(trials["origin"][trials["trial"] == best]), FREE)
    rows = tuple(_rows(results, trials))
    return Helped(
        rows, probability, p, winner, _words(results, probability, p, winner, len(theirs), len(ours))
    )


def _rows(results: Results, firsts: Any) -> list[dict[str, Any]]:
    whole = results.trials().set_index("trial")
    rows = []
    for origin, group in firsts.groupby("origin"):
        mine = whole.loc[[t for t in group["trial"] if t in whole.index]]
        longest = mine[mine["iterations"] == mine["iterations"].max()]
        best = longest["value"].min() if results.mode == "min" else longest["value"].max()
        rows.append(
            {
                "from": origin,
                "trials": len(mine),
                "went on": int((mine["segments"] > 1).sum()),
                "iterations": int(mine["iterations"].max()),
                f"best {results.metric}": float(best),
            }
        )
    return sorted(rows, key=lambda r: (r["from"] in NOT_PAST, r["from"]))


def _words(results: Results, probability: float, p: float, winner: str, theirs: int, ours: int) -> str:
    source = "was proposed free of it" if winner in NOT_PAST else f"came from it ({winner})"
    said = f"The best trial {source}."
    if probability != probability:
        return f"Too few trials say whether the past helped ({theirs} from it, {ours} free of it). {said}"
    word = "helped" if p < 0.05 else "harmed" if p > 0.95 else "neither helped nor harmed, beyond noise"
    return (
        f"The past {word}: after the first rung a trial from it was better than a free one with probability "
        f"{probability:.2f} (p = {p:.2g}, {theirs} against {ours} trials). {said}"
    )
