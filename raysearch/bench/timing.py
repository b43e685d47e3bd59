"""`raysearch bench timing`: hours predicted by a short measured run, beside what small real searches took.

The example `digits` in this process, models of different sizes, by caviar and by panda. The time is that
from the start of the session to its last outcome; the measured run is not counted.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from typing import Any

from raysearch.bench.support.contest import show

FIXED = {"optimizer": "adamw", "layers": 2, "dropout": 0.0, "weight_decay": 1e-3}
CASES = tuple(
    {"hidden": hidden, "batch_size": batch, "samples": samples, "horizon": horizon}
    for hidden, batch, samples, horizon in (
        (16, 128, 60, 27),
        (64, 64, 40, 27),
        (128, 64, 30, 27),
        (32, 32, 40, 9),
        (64, 128, 120, 9),
        (256, 128, 30, 27),
        (64, 64, 0, 81),
        (128, 64, 0, 81),
        (32, 64, 80, 81),
        (64, 256, 100, 27),
    )
)


def main(args: Sequence[str]) -> int:
    """Runs the benchmark as the command line says."""
    o = _parser().parse_args(list(args))
    rows = [one(case, o.seconds) for case in CASES[: o.cases]]
    within = sum(abs(row["off"]) <= 0.25 for row in rows)
    show("plan: predicted and real seconds", rows, [f"{within} of {len(rows)} within 25%"], o.json)
    return 0


def one(case: dict[str, int], limit_s: float) -> dict[str, Any]:
    """A prediction and a real search."""
    import raysearch
    from raysearch.run.options import How
    from raysearch.spec.search_spec import make_spec
    from raysearch.strategies.advice import hours_of
    from raysearch.workflows.plan import make_plan

    horizon, samples = case["horizon"], case["samples"]
    strategy: Any = {"name": "panda", "max_iterations": horizon, "nudge": ["lr"]}
    if samples:
        finish = {"top": 1, "seeds": 2}
        strategy = {"name": "caviar", "samples": samples, "max_iterations": horizon, "finish": finish}
    with tempfile.TemporaryDirectory(prefix="raysearch-bench-") as folder:
        fields: dict[str, Any] = {
            "trainable": "raysearch.examples.digits:Digits",
            "space": {"lr": {"loguniform": [1e-4, 1e-1]}},
            "config": {**FIXED, "hidden": case["hidden"], "batch_size": case["batch_size"]},
            "metric": "val_loss",
            "mode": "min",
            "strategy": strategy,
            "seed_as": "seed",
            "storage": folder,
            "name": "timing",
        }
        plan = make_plan(make_spec(**fields), How(executor="inline"), limit_s=limit_s)
        recipe: Any = make_spec(**fields).strategy
        predicted = 3600 * hours_of(plan.situation, recipe)
        trainable = fields.pop("trainable")
        results = raysearch.search(trainable, executor="inline", **fields)
        starts = [event.at for event in results.events() if event.kind == "start"]
        real = float(results.segments()["finished_at"].max()) - starts[-1]
    name = f"{recipe.name} {samples or ''} to {horizon}, {case['hidden']} units".replace("  ", " ")
    off = predicted / real - 1
    return {
        "contender": name,
        "predicted_s": round(predicted, 2),
        "real_s": round(real, 2),
        "off": round(off, 3),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raysearch bench timing", description=__doc__)
    parser.add_argument("--cases", type=int, default=len(CASES))
    parser.add_argument("--seconds", type=float, default=3.0, help="of the measured run")
    parser.add_argument("--json", action="store_true")
    return parser
