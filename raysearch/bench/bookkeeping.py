"""`raysearch bench bookkeeping`: the cost of the search beside trials that only wait.

Ray's published scalability test in small: 1,000 trials of one second on 16 logical workers; ideal is
trials * seconds / workers, for what was left when all workers were up.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from raysearch.bench.support.contest import cluster, contend, serve, show


def main(argv: list[str]) -> int:
    """Runs raysearch, and Ray Tune if asked, and prints their figures."""
    parser = argparse.ArgumentParser(prog="raysearch bench bookkeeping", description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--only", nargs="*", help="some of: raysearch ray-tune")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    values = {"trials": options.trials, "seconds": options.seconds, "workers": options.workers}
    rows = [contend(__name__, name, values) for name in options.only or ("raysearch", "ray-tune")]
    show("bookkeeping", rows, [], options.json)
    return 0


def _figures(began: float, trained: list[tuple[float, float, object]], seconds: float) -> dict[str, Any]:
    """`trained` holds (start, end, worker) of every trial; work before all workers were up counts as done."""
    first: dict[object, float] = {}
    for start, _, worker in sorted(trained, key=lambda t: t[0]):
        first.setdefault(worker, start)
    up, ended = max(first.values()), max(end for _, end, _ in trained)
    left = sum((end - max(start, up)) / (end - start) for start, end, _ in trained if end > up)
    ideal = left * seconds / len(first)
    return {
        "workers": len(first),
        "start_s": up - began,
        "trials_from_all_up": left,
        "ideal_s": ideal,
        "took_s": ended - up,
        "over_ideal": f"{(ended - up) / ideal - 1:+.1%}",
    }


def run_raysearch(trials: int, seconds: float, workers: int) -> dict[str, Any]:
    """Random search of one iteration a trial."""
    import raysearch
    from raysearch.bench.support.trivial import Trivial
    from raysearch.storage.journal.reading import read_outcomes

    with cluster(workers) as folder:
        began = time.time()
        raysearch.search(
            Trivial,
            space={"x": {"uniform": [0.0, 1.0]}},
            config={"seconds": seconds},
            metric="loss",
            mode="min",
            strategy=raysearch.Caviar(samples=trials, max_iterations=1, sampler="random", finish=None),
            workers=workers,
            storage=str(folder),
            name="bookkeeping",
        )
        rows = list(read_outcomes(folder / "bookkeeping" / "journal"))
    return _figures(began, [(r.finished_at - r.seconds, r.finished_at, r.worker) for r in rows], seconds)


def run_ray_tune(trials: int, seconds: float, workers: int) -> dict[str, Any]:
    """Ray Tune with reused actors."""
    import os

    from ray import tune

    from raysearch.bench.support.trivial import Trivial

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    with cluster(workers) as folder:
        tuner = tune.Tuner(
            Trivial,
            param_space={"x": tune.uniform(0.0, 1.0), "seconds": seconds},
            tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=workers, reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=str(folder),
                verbose=0,
                stop={"training_iteration": 1},
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        began = time.time()
        results = tuner.fit()
        metrics = [r.metrics for r in results if r.metrics]
    return _figures(
        began, [(m["timestamp"] - m["time_this_iter_s"], m["timestamp"], m["pid"]) for m in metrics], seconds
    )


if __name__ == "__main__":
    serve({"raysearch": run_raysearch, "ray-tune": run_ray_tune})
