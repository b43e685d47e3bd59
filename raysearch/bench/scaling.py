"""`raysearch bench scaling`: what settings of a small model are worth at 4, 16 and 64 times its compute.

Four models are trained in four widths with the same settings: points of a Sobol sequence over rate, weight
decay and the size of initial weights. A search at a width is the best of these on one seed; what it is worth
is the mean loss at the target on all other seeds, which have no part in the choice. Compared are settings
that were found at 1/64, 1/16 and 1/4 of the compute and carried by muP (raysearch.torch.scaling), those of
1/64 in models as torch makes them ("unchanged"), and searches at the target itself in both parametrisations.
`gap` is the loss beyond that of the better of these two searches; `said` what the coordinate check said.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raysearch.bench.support.contest import chosen, show
from raysearch.bench.support.scaled_models import MODELS, ScaledModel, fresh, loss_of, trained
from raysearch.space.space import Space
from raysearch.torch.scaling import CoordinateCheck, coordinate_check

SHARES = ("1/64", "1/16", "1/4", "1")  # of the target's compute, by width
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


Losses = Mapping[str, float]


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


def trainings(models: Sequence[str], count: int, seeds: int) -> Iterator[Training]:
    """All trainings, seed by seed; at the base both parametrisations are the same."""
    for seed in range(seeds):
        for model in models:
            for width, is_scaled in ((0, True), (1, True), (2, True), (3, True), (3, False)):
                for point in range(count):
                    yield Training(model, width, is_scaled, point, seed)


def run(todo: Sequence[Training], count: int, file: Path | None) -> dict[str, float]:
    """The loss of each training; those in the file are taken from there, and new ones written to it."""
    losses: dict[str, float] = {}
    if file is not None and file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            losses.update(json.loads(line))
    settings = {name: points(name, count) for name in MODELS}
    for one in todo:
        if one.key in losses:
            continue
        model = MODELS[one.model]
        loss = trained(
            model, model.widths[one.width], one.is_scaled, settings[one.model][one.point], one.seed
        )
        losses[one.key] = loss
        if file is not None:
            with file.open("a", encoding="utf-8") as out:
                out.write(json.dumps({one.key: loss}) + "\n")
    return losses


def row(model: str, losses: Losses, count: int, seeds: int) -> dict[str, Any]:
    """What settings found at each width are worth at the target, as mean losses; see the module."""
    by = {
        (width, is_scaled): np.array(
            [
                [losses[Training(model, width, is_scaled, p, s).key] for p in range(count)]
                for s in range(seeds)
            ]
        )
        for width, is_scaled in ((0, True), (1, True), (2, True), (3, True), (3, False))
    }
    mup, standard = by[3, True], by[3, False]
    worth = {SHARES[w]: _worth(by[w, True], mup) for w in range(3)}
    searches = _worth(mup, mup), _worth(standard, standard)
    unchanged = _worth(by[0, True], standard)
    best = min(searches)
    return {
        "contender": model,
        **{f"from_{share}": round(value, 4) for share, value in worth.items()},
        "unchanged": round(unchanged, 4),
        "search_mup": round(searches[0], 4),
        "search_standard": round(searches[1], 4),
        **{f"gap_{share}": round(value / best - 1, 3) for share, value in worth.items()},
        "gap_unchanged": round(unchanged / best - 1, 3),
    }


def _worth(small: Any, target: Any) -> float:
    """Mean loss at the target, on all other seeds, of what is best at the small model on a seed."""
    seeds = len(small)
    found = []
    for seed in range(seeds):
        picked = int(np.argmin(small[seed]))
        others = [s for s in range(seeds) if s != seed] or [seed]
        found += [float(target[s][picked]) for s in others]
    return float(np.mean(found))


def shifts(model: str, losses: Losses, count: int, seeds: int) -> dict[str, Any]:
    """For each hyper-parameter, the power of the width with which its best value goes, by muP."""
    from raysearch.strategies.scale_laws import best_value, fit_law

    settings = points(model, count)
    found: dict[str, Any] = {"contender": model}
    for name in settings[0]:
        seen = []
        for number, width in enumerate(MODELS[model].widths):
            means = [
                float(np.mean([losses[Training(model, number, True, p, s).key] for s in range(seeds)]))
                for p in range(count)
            ]
            seen.append(best_value([point[name] for point in settings], means, width))
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
    began, models = time.perf_counter(), chosen(o.models, MODELS)
    losses = run([*trainings(models, o.points, o.seeds)], o.points, o.losses)
    rows = []
    for name in models:
        checks = [check(MODELS[name], is_scaled, range(3)) for is_scaled in (True, False)]
        said = {
            f"said_{kind}": "passed" if one.passed else "failed"
            for kind, one in zip(("mup", "standard"), checks, strict=True)
        }
        rows.append({**row(name, losses, o.points, o.seeds), **said})
    near = sum(r["gap_1/64"] <= NEAR for r in rows)
    notes = [
        f"{o.points} settings, {o.seeds} seeds, {time.perf_counter() - began:.0f} s; validation loss in nats",
        f"from 1/64 of the compute within {NEAR:.0%} of a search at the target: {near} of {len(rows)} models",
        "best value goes with this power of the width (0: transfers as it is), 95% interval:",
    ]
    powers = [shifts(name, losses, o.points, o.seeds) for name in models]
    notes += ["; ".join(f"{k} {v}" if k != "contender" else str(v) for k, v in one.items()) for one in powers]
    show("scaling: settings of a small model at the target", rows, notes, o.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raysearch bench scaling", description=__doc__)
    parser.add_argument("--models", help=f"with commas, of {', '.join(MODELS)}; all if not given")
    parser.add_argument("--points", type=int, default=16, help="settings tried at each width")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--losses", type=Path, help="file of losses to go on with, one JSON a line")
    parser.add_argument("--json", action="store_true")
    return parser
