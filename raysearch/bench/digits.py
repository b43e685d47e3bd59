"""`raysearch bench digits`: a real model, the same class trainable, the same rungs, random sampling.

Against Ray Tune with `reuse_actors=True` and ASHA. `seconds` from the call to its return with Ray up.
Early stopping decides how many epochs each trains, so those and the best value stand beside the time.
By default the perceptron is small (64-32-10): the larger it is, the more both only train.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from raysearch.bench.support.asha_tuner import SPACE, asha_tuner
from raysearch.bench.support.contest import cluster, contend, serve, show
from raysearch.bench.support.fused_models import plain

FIXED = {"optimizer": "sgd", "dropout": 0.0}


def main(argv: list[str]) -> int:
    """Runs both and prints their figures."""
    parser = argparse.ArgumentParser(prog="raysearch bench digits", description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--horizon", type=int, default=27)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--only", nargs="*", help="some of: raysearch ray-tune")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    model = {"layers": options.layers, "hidden": options.hidden, "batch_size": options.batch_size}
    values = {
        "trials": options.trials,
        "horizon": options.horizon,
        "workers": options.workers,
        "model": model,
    }
    rows = [contend(__name__, name, values) for name in options.only or ("raysearch", "ray-tune")]
    notes = (
        [f"Ray Tune takes {rows[1]['seconds'] / rows[0]['seconds']:.2f}x as long"] if len(rows) == 2 else []
    )
    show("digits", rows, notes, options.json)
    return 0


def run_raysearch(trials: int, horizon: int, workers: int, model: dict[str, int]) -> dict[str, Any]:
    """Caviar through the Tune executor."""
    import raysearch

    with cluster(workers) as folder:
        began = time.perf_counter()
        results = raysearch.search(
            plain("mlp"),
            space=SPACE,
            config={**FIXED, **model},
            metric="val_loss",
            mode="min",
            strategy=raysearch.Caviar(
                samples=trials, max_iterations=horizon, min_iterations=1, sampler="random", finish=None
            ),
            workers=workers,
            seed_as="seed",
            storage=str(folder),
            name="digits",
        )
        seconds = time.perf_counter() - began
        epochs = int(results.trials()["iterations"].sum())
        return {"trials": trials, "seconds": seconds, "epochs": epochs, "best": results.best.value}


def run_ray_tune(trials: int, horizon: int, workers: int, model: dict[str, int]) -> dict[str, Any]:
    """Ray Tune with reused actors and ASHA."""
    with cluster(workers) as folder:
        tuner = asha_tuner(plain("mlp"), {**FIXED, **model}, trials, horizon, workers, folder)
        began = time.perf_counter()
        results = tuner.fit()
        seconds = time.perf_counter() - began
        metrics = [r.metrics for r in results if r.metrics]
        return {
            "trials": len(results),
            "seconds": seconds,
            "epochs": sum(m["training_iteration"] for m in metrics),
            "best": min(m["val_loss"] for m in metrics if m["val_loss"] == m["val_loss"]),
        }


if __name__ == "__main__":
    serve({"raysearch": run_raysearch, "ray-tune": run_ray_tune})
