"""`raysearch bench groups`: trials of two processes each, beside Ray Tune with Ray Train.

All search the digits perceptron under DistributedDataParallel (gloo), as many samples, rungs at 1, 3 and 9
epochs, two trials at a time, checkpoints at every epoch of the peers and at the rungs of ours. raysearch
keeps the processes of a worker and their process group from trial to trial; Ray Train makes both anew for
each trial. It is there twice: `ray-tuner` gives one TorchTrainer to the Tuner (Ray Train's first version,
which RAY_TRAIN_V2_ENABLED=0 asks for), `ray-train` starts one from each trial's function (the second).
Ray's ASHA stops where ours promotes, so they train different numbers of epochs, which stand beside the
trials an hour. Start of the cluster is not counted, that of workers is. In turn, several rounds, medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

from raysearch.bench.support.contest import cluster, contend, serve, show

SPACE = {"lr": (1e-4, 1e-1), "weight_decay": (1e-6, 1e-1)}
FIXED = {"optimizer": "adamw", "layers": 1, "dropout": 0.0, "hidden": 64, "batch_size": 32}
HORIZON = 9
PROCESSES = 2
AT_A_TIME = 2
TRIAL_CPU = 0.1  # of a trial of Ray Tune, whose process only waits for its trainer; the cluster has one more


def main(argv: list[str]) -> int:
    """Runs the rounds and prints the medians."""
    parser = argparse.ArgumentParser(prog="raysearch bench groups", description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds of each contender and round")
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, help="some of the contenders")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.only or CONTENDERS}
    for _ in range(options.rounds):
        for name, rounds in found.items():
            rounds.append(contend(__name__, name, {"trials": options.trials}, options.limit))
    rows = [_median(rounds) for rounds in found.values()]
    notes = [
        f"trials an hour, paired: {_ratio(found['raysearch'], rounds):.2f}x {name}, "
        f"median of {options.rounds}"
        for name, rounds in found.items()
        if name != "raysearch" and "raysearch" in found
    ]
    show("groups", rows, notes, options.json)
    return 0


def _ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> float:
    pairs = zip(ours, theirs, strict=True)
    return float(statistics.median(a["trials_an_hour"] / b["trials_an_hour"] for a, b in pairs))


def _median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = {name for name, value in rounds[0].items() if not isinstance(value, str)}
    return {k: statistics.median(r[k] for r in rounds) if k in numbers else rounds[0][k] for k in rounds[0]}


def raysearch_search(trials: int) -> dict[str, Any]:
    """Workers of two processes that stay."""
    import raysearch

    space = {name: {"loguniform": list(bounds)} for name, bounds in SPACE.items()}
    with cluster(PROCESSES * AT_A_TIME) as folder:
        began = time.perf_counter()
        results = raysearch.search(
            "raysearch.examples.ddp_digits:train",
            space=space,
            metric="val_loss",
            mode="min",
            strategy=raysearch.Caviar(samples=trials, max_iterations=HORIZON, sampler="random", finish=None),
            workers={"count": AT_A_TIME, "processes": PROCESSES},
            config=FIXED,
            seed=1,
            seed_as="seed",
            storage=folder,
            progress=False,
        )
        seconds = time.perf_counter() - began
        segments = results.segments()
        return {
            "seconds": seconds,
            "trials_an_hour": 3600 * int(segments["trial"].nunique()) / seconds,
            "epochs": int((segments["stop"] - segments["start"]).sum()),
            "failed": int((segments["status"] != "completed").sum()),
            "best_loss": float(results.best.value),
        }


def ray_train(trials: int) -> dict[str, Any]:
    """Ray Tune, whose trials each start a TorchTrainer, as Ray's documentation shows."""
    from ray import tune

    with cluster(PROCESSES * AT_A_TIME + 1) as folder:
        trainable = tune.with_resources(_a_trainer, {"CPU": TRIAL_CPU})
        return _tuned(trainable, {**_sampled(), "folder": str(folder / "train")}, trials, folder)


def ray_tuner(trials: int) -> dict[str, Any]:
    """Ray Tune, which is given one TorchTrainer for all trials: Ray Train's first version."""
    os.environ["RAY_TRAIN_V2_ENABLED"] = "0"  # read when Ray is imported
    from ray.train import ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    with cluster(PROCESSES * AT_A_TIME) as folder:
        trainer = TorchTrainer(
            _loop,
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ScalingConfig(
                num_workers=PROCESSES, resources_per_worker={"CPU": 1}, trainer_resources={"CPU": 0}
            ),
        )
        return _tuned(trainer, {"train_loop_config": _sampled()}, trials, folder)


def _sampled() -> dict[str, Any]:
    from ray import tune

    space = {name: tune.loguniform(*bounds) for name, bounds in SPACE.items()}
    return {**space, **FIXED, "seed": tune.randint(0, 2**31)}


def _tuned(trainable: Any, space: dict[str, Any], trials: int, folder: Path) -> dict[str, Any]:
    """What Ray Tune with ASHA makes of it."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    began = time.perf_counter()
    grid = tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="val_loss",
            mode="min",
            num_samples=trials,
            max_concurrent_trials=AT_A_TIME,
            scheduler=ASHAScheduler(max_t=HORIZON, grace_period=1, reduction_factor=3),
        ),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0, stop={"training_iteration": HORIZON}),
    ).fit()
    seconds = time.perf_counter() - began
    ends = [result.metrics for result in grid if result.metrics and "val_loss" in result.metrics]
    return {
        "seconds": seconds,
        "trials_an_hour": 3600 * len(ends) / seconds,
        "epochs": sum(end["training_iteration"] for end in ends),
        "failed": grid.num_errors,
        "best_loss": min(end["val_loss"] for end in ends),
    }


def _a_trainer(config: dict[str, Any]) -> None:
    """A trial of Ray Tune."""
    import uuid

    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    loop_config = {name: value for name, value in config.items() if name != "folder"}
    TorchTrainer(
        _loop,
        train_loop_config=loop_config,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=PROCESSES, resources_per_worker={"CPU": 1}),
        run_config=RunConfig(
            name=uuid.uuid4().hex, storage_path=config["folder"], callbacks=[TuneReportCallback()]
        ),
    ).fit()


def _loop(config: dict[str, Any]) -> None:
    """What each of its processes runs: the epochs of `ddp_digits`."""
    import tempfile

    import torch.distributed as dist
    from ray import train

    from raysearch.examples.ddp_digits import Part

    training = Part(config)
    for epoch in range(1, HORIZON + 1):
        metrics = {"epoch": epoch, **training.iterate()}
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if dist.get_rank() == 0:
                training.save(folder)
                checkpoint = train.Checkpoint.from_directory(Path(folder))
            train.report(metrics, checkpoint=checkpoint)


CONTENDERS = {"raysearch": raysearch_search, "ray-tuner": ray_tuner, "ray-train": ray_train}

if __name__ == "__main__":
    serve(CONTENDERS)
