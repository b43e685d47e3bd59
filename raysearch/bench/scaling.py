"""`raysearch bench scaling`: what settings of a small model are worth at 4, 16 and 64 times its compute.

Four models are trained in four widths with the same settings: points of a Sobol sequence over rate, weight
decay and the size of initial weights. A search at a width is the best of these on one seed; what its settings
are worth is their mean loss at the target on seeds that no search has seen. Compared are settings found at
1/64, 1/16 and 1/4 of the compute and carried by muP (raysearch.torch.scaling), those of 1/64 in models as
torch makes them ("unchanged"), and searches at the target itself in both parametrisations. `gap` is the loss
beyond that of the better of these two searches, `own gap` beyond that of the search by muP; `said` what the
coordinate check said beforehand, and `at edge` in how many searches the rate of 1/64 lay at an edge.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raysearch.bench.support.contest import chosen, show
from raysearch.bench.support.scaled_models import MODELS, ScaledModel, fresh, loss_of, trained
from raysearch.space.space import Space
from raysearch.strategies.scale_laws import best_value, fit_law
from raysearch.torch.scaling import CoordinateCheck, coordinate_check

SHARES = ("1/64", "1/16", "1/4", "1")  # of the target's compute, by width
FRESH = 1000  # the first seed that no search uses
EDGE = 0.05  # of the range of rates, in its logarithm
NEAR = 0.05  # of the loss of a search at the target
CHECKED = {"lr": 0.01, "weight_decay": 0.0, "init": 1.0}  # settings of the coordinate check


@dataclass(frozen=True, slots=True)
class Training:
    """One training to be done: the width is a number in `ScaledModel.widths`."""

    model: str
    width: int
    is_scaled: bool
    point: int
    seed: int

    @property
    def key(self) -> str:
        """Its name in the file of losses."""
        kind = "mup" if self.is_scaled else "standard"
        return f"{self.model}/{self.width}/{kind}/{self.point}/{self.seed}"


def points(model: str, count: int) -> list[dict[str, float]]:
    """The settings of a model, the same ones for every width and seed."""
    space = Space.from_dict(
        {
            "lr": {"loguniform": [*MODELS[model].rates]},
            "weight_decay": {"loguniform": [1e-2, 1.0]},
            "init": {"loguniform": [0.25, 2.0]},
        }
    )
    return [space.decode(unit) for unit in space.sobol_units(0, 0, count)]


class Losses:
    """Losses of trainings: done when they are asked for, and kept in a file where there is one."""

    def __init__(self, count: int, file: Path | None = None) -> None:
        self.count, self._file = count, file
        self._known: dict[str, float] = {}
        self._points = {name: points(name, count) for name in MODELS}
        for line in (
            file.read_text(encoding="utf-8").splitlines() if file is not None and file.is_file() else ()
        ):
            self._known.update(json.loads(line))

    def of(self, one: Training) -> float:
        """The validation loss at the end of a training."""
        if one.key not in self._known:
            model = MODELS[one.model]
            point = self._points[one.model][one.point]
            self._known[one.key] = trained(model, model.widths[one.width], one.is_scaled, point, one.seed)
            if self._file is not None:
                with self._file.open("a", encoding="utf-8") as out:
                    out.write(json.dumps({one.key: self._known[one.key]}) + "\n")
        return self._known[one.key]

    def search(self, model: str, width: int, is_scaled: bool, seed: int) -> list[float]:
        """The loss of every point on one seed."""
        return [self.of(Training(model, width, is_scaled, point, seed)) for point in range(self.count)]

    def best(self, model: str, width: int, is_scaled: bool, seed: int) -> int:
        """The point that a search finds."""
        return int(np.argmin(self.search(model, width, is_scaled, seed)))


def row(model: str, losses: Losses, searches: int, fresh_seeds: int) -> dict[str, Any]:
    """What settings found at each width are worth at the target, as mean losses; see the module."""

    def worth(width: int, was_scaled: bool, is_scaled: bool) -> float:
        picked = [losses.best(model, width, was_scaled, seed) for seed in range(searches)]
        seeds = range(FRESH, FRESH + fresh_seeds)
        return float(
            np.mean([losses.of(Training(model, 3, is_scaled, p, seed)) for p in picked for seed in seeds])
        )

    mup = {share: worth(width, True, True) for width, share in enumerate(SHARES[:-1])}
    found = worth(3, True, True), worth(3, False, False)
    unchanged, best = worth(0, True, False), min(found)
    return {
        "contender": model,
        **{f"from_{share}": round(value, 4) for share, value in mup.items()},
        "unchanged": round(unchanged, 4),
        "search_mup": round(found[0], 4),
        "search_standard": round(found[1], 4),
        **{f"gap_{share}": round(value / best - 1, 3) for share, value in mup.items()},
        "gap_unchanged": round(unchanged / best - 1, 3),
        "own_gap_1/64": round(mup[SHARES[0]] / found[0] - 1, 3),
    }


def at_edge(model: str, losses: Losses, searches: int) -> int:
    """In how many searches at 1/64 the best rate lay at an edge, of which `raysearch transfer` warns."""
    low, high = (math.log(end) for end in MODELS[model].rates)
    rates = points(model, losses.count)
    picked = [math.log(rates[losses.best(model, 0, True, seed)]["lr"]) for seed in range(searches)]
    return sum(not EDGE < (rate - low) / (high - low) < 1 - EDGE for rate in picked)


def shifts(model: str, losses: Losses, searches: int) -> dict[str, Any]:
    """The power of the width with which the best value of each hyper-parameter goes, by muP."""
    settings = points(model, losses.count)
    found: dict[str, Any] = {"contender": model}
    for name in settings[0]:
        seen = []
        for number, width in enumerate(MODELS[model].widths):
            each = np.mean([losses.search(model, number, True, seed) for seed in range(searches)], axis=0)
            seen.append(best_value([point[name] for point in settings], each.tolist(), width))
        law = fit_law(seen)
        found[name] = f"{law.exponent:+.2f} ± {law.half_width:.2f}"
    return found


def check(model: ScaledModel, is_scaled: bool, seeds: Sequence[int]) -> CoordinateCheck:
    """The coordinate check of a model, on one batch of its data."""
    (inputs, labels), _ = model.data()

    def make(width: int) -> Any:
        net, optimizer = fresh(model, width, is_scaled, CHECKED)
        return net, optimizer, lambda net: loss_of(net, inputs[: model.batch], labels[: model.batch])

    return coordinate_check(make, model.widths[:3], seeds=seeds)


def main(args: Sequence[str]) -> int:
    """Runs the benchmark as the command line says."""
    o = _parser().parse_args(list(args))
    torch.set_num_threads(1)
    began, models, losses = time.perf_counter(), chosen(o.models, MODELS), Losses(o.points, o.losses)
    rows = []
    for name in models:
        mup, standard = (check(MODELS[name], is_scaled, range(3)) for is_scaled in (True, False))
        said = {"said_mup": _said(mup), "said_standard": _said(standard)}
        edges = {"at_edge": at_edge(name, losses, o.searches)}
        rows.append({**row(name, losses, o.searches, o.seeds), **said, **edges})
    near, own = (sum(r[gap] <= NEAR for r in rows) for gap in ("gap_1/64", "own_gap_1/64"))
    notes = [
        f"{o.points} settings, {o.searches} searches, {o.seeds} fresh seeds; validation loss in nats; "
        f"{time.perf_counter() - began:.0f} s",
        f"from 1/64 of the compute within {NEAR:.0%} of a search at the target: {near} of {len(rows)}, "
        f"of one by muP: {own}",
        "best value goes with this power of the width (0: transfers as it is), 95% interval:",
    ]
    powers = [shifts(name, losses, o.searches) for name in models]
    notes += ["; ".join(f"{k} {v}" if k != "contender" else str(v) for k, v in one.items()) for one in powers]
    show("scaling: settings of a small model at the target", rows, notes, o.json)
    return 0


def _said(found: CoordinateCheck) -> str:
    return "passed" if found.passed else "failed"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raysearch bench scaling", description=__doc__)
    parser.add_argument("--models", help=f"with commas, of {', '.join(MODELS)}; all if not given")
    parser.add_argument("--points", type=int, default=16, help="settings tried at each width")
    parser.add_argument("--searches", type=int, default=1, help="at each width, each on a seed of its own")
    parser.add_argument("--seeds", type=int, default=10, help="fresh ones, on which settings are judged")
    parser.add_argument("--losses", type=Path, help="file of losses to go on with, one JSON a line")
    parser.add_argument("--json", action="store_true")
    return parser
