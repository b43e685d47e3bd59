"""`raysearch bench fused`: a Learner's models trained many at once, beside the same one process a trial.

Each contender runs the same successive halving over random samples, with the same rungs: raysearch fused,
raysearch one at a time, and Ray Tune with `reuse_actors=True` and ASHA over a plain trainable of the same
model (with as many processes as `--processes` says; on a machine with a GPU each gets its share of it).
Ray Tune's ASHA and ours train different numbers of epochs, so epochs a second and the time to the best
value that Ray Tune found stand beside the time. `busy` is the share of the workers' time spent in
training, `coordinator` the processor time of the coordinator as a share of the wall time.

`--curve` measures instead, in one process without Ray, epochs a second by size of model and width of pack;
`--steps` milliseconds of a step of each way there is, `--compile` of compiled steps too.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raysearch.bench.support.asha_tuner import SPACE, asha_tuner
from raysearch.bench.support.contest import cluster, contend, serve, show
from raysearch.bench.support.fused_models import MODELS, learner, pack_of, plain

TRIALS = {"mlp": (2000, 81), "cnn": (60, 9), "transformer": (60, 9)}
CONTENDERS = ("raysearch", "one-at-a-time", "ray-tune")
CURVE = ((32, 64, 128, 256, 512), (1, 4, 16, 64, 256))  # hidden units, widths
SETTINGS = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "seed": 0}
SECONDS = 1.0  # of each point of the curve


def main(argv: list[str]) -> int:
    """Runs the contenders and prints their figures."""
    parser = argparse.ArgumentParser(prog="raysearch bench fused", description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="mlp")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--horizon", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--processes", type=int, help="of Ray Tune; default as many as workers")
    parser.add_argument("--size", type=int, help="hidden units, channels or width of the model")
    parser.add_argument("--only", nargs="*", help=f"some of: {' '.join(CONTENDERS)}")
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--compile", action="store_true", help="compiled steps too, in searches as well")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    if options.curve:
        figures = contend(__name__, "curve", {})
        notes = ["epochs a second of the digits perceptron on one core: plain torch, and packs"]
        show("fused by size", figures["rows"], notes, options.json)
        return 0
    trials, horizon = TRIALS[options.model]
    model = dict(MODELS[options.model])
    if options.size:
        model[{"mlp": "hidden", "cnn": "channels", "transformer": "width"}[options.model]] = options.size
    if options.steps:
        given = {"kind": options.model, "model": model, "compiles": options.compile}
        notes = ["milliseconds a model and step, processor time of one thread; gain over plain torch"]
        show(f"steps of {options.model}", contend(__name__, "steps", given)["rows"], notes, options.json)
        return 0
    values = {
        "kind": options.model,
        "model": model,
        "trials": options.trials or trials,
        "horizon": options.horizon or horizon,
        "workers": options.workers,
        "processes": options.processes or options.workers,
        "compiles": options.compile,
    }
    rows = [contend(__name__, name, values) for name in options.only or CONTENDERS]
    show(f"fused {options.model}", _shown(rows), _notes(rows), options.json)
    return 0


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without their courses, with the time to the best loss."""
    return [
        {name: value for name, value in row.items() if name != "course"}
        | {"seconds_to_best": row["course"][-1][0]}
        for row in rows
    ]


def _notes(rows: list[dict[str, Any]]) -> list[str]:
    """Each one beside Ray Tune, also in the time to the best loss that both of them reached."""
    peer = next((row for row in rows if row["contender"] == "ray-tune"), None)
    if peer is None:
        return []
    notes = []
    for row in (row for row in rows if row is not peer):
        rate = row["epochs_per_second"] / peer["epochs_per_second"]
        level = max(row["best"], peer["best"])
        mine, theirs = (_reached(each["course"], level) for each in (row, peer))
        notes.append(
            f"{row['contender']}: {rate:.1f}x Ray Tune's epochs a second; {level:.4f}, the best that both "
            f"reached, after {mine:.1f} s and {theirs:.1f} s: {theirs / mine:.1f}x as soon"
        )
    return notes


def _reached(course: list[tuple[float, float]], level: float) -> float:
    return next(seconds for seconds, value in course if value <= level)


@dataclass(frozen=True, slots=True)
class Contest:
    """What is searched, and with what."""

    kind: str
    model: dict[str, Any]
    trials: int
    horizon: int
    workers: int
    processes: int
    compiles: bool


def run_raysearch(**values: Any) -> dict[str, Any]:
    """Caviar through the Tune executor, many models at once."""
    o = Contest(**values)
    return _searched(o, learner(o.kind, o.compiles))


def run_one_at_a_time(**values: Any) -> dict[str, Any]:
    """The same over the plain trainable."""
    o = Contest(**values)
    return _searched(o, plain(o.kind))


def _searched(o: Contest, trainable: type[Any]) -> dict[str, Any]:
    """As for Ray Tune, the time begins when the trainable, and torch with it, is there."""
    import raysearch

    last: dict[str, Any] = {}
    with cluster(o.workers) as folder:
        began, at = time.perf_counter(), time.time()
        results = raysearch.search(
            trainable,
            space=SPACE,
            config=o.model,
            metric="val_loss",
            mode="min",
            strategy=raysearch.Caviar(
                samples=o.trials, max_iterations=o.horizon, min_iterations=1, sampler="random", finish=None
            ),
            workers={"count": o.workers, "cpu": 1, "gpu": share_of_gpu(o.workers)},
            seed_as="seed",
            storage=str(folder),
            name="fused",
            on_status=last.update,
        )
        seconds = time.perf_counter() - began
        segments = results.segments().sort_values("finished_at")
        course = _course(zip(segments["finished_at"] - at, segments["best_value"], strict=True))
        epochs = int(results.trials()["iterations"].sum())
        busy = float(segments["seconds"].sum()) / o.workers
        return _figures(o.trials, seconds, epochs, busy, course) | {"coordinator": last["cpu_s"] / seconds}


def run_ray_tune(**values: Any) -> dict[str, Any]:
    """Ray Tune with reused actors and ASHA."""
    from ray import tune

    o = Contest(**values)
    seen: list[tuple[float, float]] = []

    class BestCurve(tune.Callback):  # type: ignore[misc]
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            seen.append((time.perf_counter() - began, result["val_loss"]))

    with cluster(o.workers) as folder:
        resources = {"cpu": o.workers / o.processes, "gpu": share_of_gpu(o.processes)}
        trainable = tune.with_resources(plain(o.kind), resources)
        tuner = asha_tuner(trainable, o.model, o.trials, o.horizon, o.processes, folder, [BestCurve()])
        began = time.perf_counter()
        results = tuner.fit()
        seconds = time.perf_counter() - began
        busy = sum(r.metrics.get("time_total_s", 0.0) for r in results if r.metrics) / o.processes
        return _figures(len(results), seconds, len(seen), busy, _course(seen))


def _course(values: Any) -> list[tuple[float, float]]:
    """(seconds, best so far) wherever it got better."""
    best, course = math.inf, []
    for seconds, value in values:
        if value < best:
            best = float(value)
            course.append((float(seconds), best))
    return course


def _figures(
    trials: int, seconds: float, epochs: int, busy: float, course: list[tuple[float, float]]
) -> dict[str, Any]:
    return {
        "trials": trials,
        "seconds": seconds,
        "epochs": epochs,
        "epochs_per_second": epochs / seconds,
        "busy": busy / seconds,
        "best": course[-1][1],
        "course": course,
    }


def share_of_gpu(processes: int) -> float:
    """What each of so many processes gets of this machine's GPU; 0 without one."""
    import torch

    return 1.0 / processes if torch.cuda.is_available() else 0.0


def run_curve() -> dict[str, Any]:
    """Epochs a second of packs of the digits perceptron, in this process on one thread."""
    import torch

    from raysearch.examples.digits import problem
    from raysearch.examples.training import Training

    torch.set_num_threads(1)
    rows = []
    for hidden in CURVE[0]:
        config = {**MODELS["mlp"], **SETTINGS, "hidden": hidden}
        row: dict[str, Any] = {
            "contender": f"hidden {hidden}",
            "plain_torch": _rate(Training(problem(), config).iterate),
        }
        for width in CURVE[1]:
            row[f"pack_of_{width}"] = width * _rate(pack_of("mlp", config, width).iterate)
        row["gain"] = max(v for k, v in row.items() if k.startswith("pack")) / row["plain_torch"]
        rows.append(row)
    return {"rows": rows}


def _rate(iterate: Any) -> float:
    """Calls a second, at best."""
    iterate()
    best, until = math.inf, time.perf_counter() + SECONDS
    while time.perf_counter() < until or best == math.inf:
        began = time.perf_counter()
        iterate()
        best = min(best, time.perf_counter() - began)
    return 1 / best


def run_steps(kind: str, model: Mapping[str, Any], compiles: bool) -> dict[str, Any]:
    """Milliseconds of a step by each way of going."""
    from raysearch.bench.support.fused_steps import steps

    return {"rows": steps(kind, {**model, **SETTINGS}, compiles)}


if __name__ == "__main__":
    serve(
        {
            "raysearch": run_raysearch,
            "one-at-a-time": run_one_at_a_time,
            "ray-tune": run_ray_tune,
            "curve": run_curve,
            "steps": run_steps,
        }
    )
