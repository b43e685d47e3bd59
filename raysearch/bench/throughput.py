"""`raysearch bench throughput`: trials a second with a trainable that costs nothing.

Against Ray Tune with `reuse_actors=True` and ASHA, and Optuna with successive halving in threads. The
same space, rungs (1, 3, 9) and number of workers; random sampling for all. `trials_per_s` counts from
the call to its return with Ray already up, workers' start included; `steady_per_s` from the first
finished trial to the last.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from raysearch.bench.support.contest import cluster, contend, peak_mb, serve, show

HORIZON = 9


def main(argv: list[str]) -> int:
    """Runs the contenders and prints their figures."""
    parser = argparse.ArgumentParser(prog="raysearch bench throughput", description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument(
        "--peer-trials", type=int, help="fewer for the slower peers; as --trials if not given"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sampler", default="random", help="of raysearch: random, sobol or model")
    parser.add_argument("--only", nargs="*", help="some of: raysearch ray-tune optuna")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    rows = []
    for name in options.only or ("raysearch", "ray-tune", "optuna"):
        trials = options.trials if name == "raysearch" else options.peer_trials or options.trials
        extra = {"sampler": options.sampler} if name == "raysearch" else {}
        rows.append(contend(__name__, name, {"trials": trials, "workers": options.workers, **extra}))
    show("throughput", rows, _ratios(rows), options.json)
    return 0


def _ratios(rows: list[dict[str, Any]]) -> list[str]:
    ours = next((r for r in rows if r["contender"] == "raysearch"), None)
    return [
        f"raysearch / {row['contender']}: {ours['trials_per_s'] / row['trials_per_s']:.0f}x trials/s"
        for row in rows
        if ours and row is not ours
    ]


def run_raysearch(trials: int, workers: int, sampler: str) -> dict[str, Any]:
    """Caviar through the Tune executor."""
    import raysearch
    from raysearch.bench.support.trivial import Trivial

    last: dict[str, Any] = {}
    with cluster(workers) as folder:
        began = time.perf_counter()
        raysearch.search(
            Trivial,
            space={"x": {"uniform": [0.0, 1.0]}},
            metric="loss",
            mode="min",
            strategy=raysearch.Caviar(
                samples=trials, max_iterations=HORIZON, min_iterations=1, sampler=sampler, finish=None
            ),
            workers=workers,
            storage=str(folder),
            name="throughput",
            on_status=last.update,
        )
        seconds = time.perf_counter() - began
        return {
            **_rates(trials, seconds),
            "steady_per_s": _steady(folder / "throughput", trials),
            "segments": sum(last["segments"].values()),
            "driver_mb": peak_mb(),
            "coordinator_mb": last["memory_mb"],
            "bytes_per_segment": _journal_bytes(folder / "throughput") / sum(last["segments"].values()),
        }


def _rates(trials: int, seconds: float) -> dict[str, Any]:
    return {"trials": trials, "seconds": seconds, "trials_per_s": trials / seconds}


def _steady(run: Path, trials: int) -> float:
    import pyarrow.compute as pc

    from raysearch.storage.journal.reading import read_table

    times = pc.min_max(read_table(run / "journal", ["finished_at"])["finished_at"]).as_py()
    return float(trials / max(1e-9, times["max"] - times["min"]))


def _journal_bytes(run: Path) -> int:
    return sum(file.stat().st_size for file in (run / "journal").iterdir())


def run_ray_tune(trials: int, workers: int) -> dict[str, Any]:
    """Ray Tune as its documentation recommends for many short trials."""
    import os

    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    from raysearch.bench.support.trivial import Trivial

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)
    with cluster(workers) as folder:
        tuner = tune.Tuner(
            Trivial,
            param_space={"x": tune.uniform(0.0, 1.0)},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=trials,
                max_concurrent_trials=workers,
                reuse_actors=True,
                scheduler=ASHAScheduler(max_t=HORIZON, grace_period=1, reduction_factor=3),
            ),
            run_config=tune.RunConfig(
                storage_path=str(folder),
                name="throughput",
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        began = time.perf_counter()
        results = tuner.fit()
        seconds = time.perf_counter() - began
        assert len(results) == trials
        times = [r.metrics["timestamp"] for r in results if r.metrics]
        steady = trials / max(1.0, max(times) - min(times))
        return {**_rates(trials, seconds), "steady_per_s": steady, "driver_mb": peak_mb()}


def run_optuna(trials: int, workers: int) -> dict[str, Any]:
    """Optuna in one process, threads for workers, storage in memory: no cluster and nothing durable."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        loss = 0.0
        for count in range(1, HORIZON + 1):
            loss = (x - 0.3) ** 2 + 1.0 / count
            trial.report(loss, count)
            if trial.should_prune():
                raise optuna.TrialPruned
        return loss

    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    )
    began = time.perf_counter()
    study.optimize(objective, n_trials=trials, n_jobs=workers)
    return {**_rates(trials, time.perf_counter() - began), "driver_mb": peak_mb()}


if __name__ == "__main__":
    serve({"raysearch": run_raysearch, "ray-tune": run_ray_tune, "optuna": run_optuna})
