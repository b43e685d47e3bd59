"""The contenders of `raysearch bench panda`: each trains the network of the example panda_mnist1d.

A contender gets a learning rate to start from (None: drawn from the space) and a seed, and returns what
the model that it would hand over costs and is worth. All choose by validation loss; the test loss is
only reported.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from raysearch.bench.support.contest import cluster, serve
from raysearch.bench.support.raised_models import free_adamw

LOW, HIGH = 1e-5, 1e-1  # of the learning rate
MEMBERS = 4
INTERVAL = 0.04  # of the training: how often Ray Tune's schedulers compare
WARMUP = 0.05  # of the training: schedule-free AdamW wants one

Shape = Callable[[float], float]
Figures = dict[str, Any]


def constant(share: float) -> float:
    """Always 1."""
    return 1.0


def linear(share: float) -> float:
    """From 1 to 0."""
    return 1.0 - share


def cosine(share: float) -> float:
    """Half a period, from 1 to 0."""
    return 0.5 * (1.0 + math.cos(math.pi * share))


def scheduled(shape: Shape) -> Callable[..., Figures]:
    """AdamW whose learning rate is `lr` times the shape at each iteration's beginning."""

    def train(lr: float, seed: int, horizon: int) -> Figures:
        from raysearch.torch import apply

        training = _training(lr, seed)
        for done in range(horizon):
            apply(training.optimizer, {"lr": lr * shape(done / horizon)})
            training.learn()
        return _figures(training.validate(), horizon)

    return train


def schedule_free(lr: float, seed: int, horizon: int) -> Figures:
    """AdamWScheduleFree (Defazio et al. 2024), with its warm-up."""
    from raysearch.examples.mnist1d import STEPS

    training = _training(lr, seed)
    optimizer = free_adamw(training, lr, round(WARMUP * horizon * STEPS))
    training.optimizer = optimizer
    for _ in range(horizon):
        optimizer.train()
        training.learn()
    optimizer.eval()
    return _figures(training.validate(), horizon)


def panda(population: int, exploit: str = "commit") -> Callable[..., Figures]:
    """Panda with its other settings as they come, as a user runs it, in this process."""

    def train(lr: float, seed: int, horizon: int) -> Figures:
        import raysearch
        from raysearch.examples.mnist1d import Mnist1d

        with tempfile.TemporaryDirectory(prefix="raysearch-bench-") as folder, _quiet():
            results = raysearch.search(
                Mnist1d,
                executor="inline",
                space={"lr": {"loguniform": [LOW, HIGH]}},
                baseline={"lr": lr},
                metric="val_loss",
                mode="min",
                strategy=raysearch.Panda(max_iterations=horizon, population=population, exploit=exploit),
                seed=seed,
                seed_as="seed",
                storage=folder,
                name="panda",
            )
            segments, curves, best = results.segments(), results.curves(), results.best
        trained = int((segments["reached"] - segments["start"]).sum())
        ends = curves[curves["iteration"] == horizon].set_index("trial")
        chosen = ends.loc[best.trial]
        figures = {"val_loss": chosen["val_loss"], "test_loss": chosen["test_loss"]}
        return _figures(figures, trained) | {"members": ends["test_loss"].tolist()}

    return train


def ray_pbt(lr: float | None, seed: int, horizon: int) -> Figures:
    """Ray Tune's PopulationBasedTraining with four members and its default quantile and factors."""
    from ray import tune
    from ray.tune.schedulers import PopulationBasedTraining

    scheduler = PopulationBasedTraining(
        time_attr="iterations_done",
        perturbation_interval=_interval(horizon),
        hyperparam_mutations={"lr": tune.loguniform(LOW, HIGH)},
    )
    return _tuned(scheduler, lr, seed, horizon)


def ray_pb2(lr: float | None, seed: int, horizon: int) -> Figures:
    """Ray Tune's PB2 with four members."""
    from ray.tune.schedulers.pb2 import PB2

    scheduler = PB2(
        time_attr="iterations_done",
        perturbation_interval=_interval(horizon),
        hyperparam_bounds={"lr": [LOW, HIGH]},
    )
    return _tuned(scheduler, lr, seed, horizon)


CONTENDERS: dict[str, Callable[..., Figures]] = {
    "constant": scheduled(constant),
    "linear": scheduled(linear),
    "cosine": scheduled(cosine),
    "schedule-free": schedule_free,
    "panda-1": panda(1),
    "panda-4": panda(MEMBERS),
    "challenge-4": panda(MEMBERS, "challenge"),
    "ray-pbt-4": ray_pbt,
    "ray-pb2-4": ray_pb2,
}
ON_RAY = ("ray-pbt-4", "ray-pb2-4")


def several(contender: str) -> Callable[..., Figures]:
    """The contender from several starts in one process, so that torch is imported once."""

    def run(starts: list[float | None], seed: int, horizon: int) -> Figures:
        return {"runs": [CONTENDERS[contender](lr, seed, horizon) for lr in starts]}

    return run


# ---- inside


def _training(lr: float, seed: int) -> Any:
    from raysearch.examples.mnist1d import FIXED, Mnist1d
    from raysearch.examples.training import Training

    return Training(Mnist1d.problem(), {**FIXED, "lr": lr, "seed": _weights(seed)})


def _weights(seed: int, member: int = 0) -> int:
    """Seed of a model's first weights and examples' order; the first member's is panda's first line's."""
    from raysearch.strategies.seeding import fresh_seed

    return fresh_seed(fresh_seed(seed, member) if member else seed, 0)


def _figures(metrics: Any, iterations: int) -> Figures:
    return {
        "val": float(metrics["val_loss"]),
        "test": float(metrics["test_loss"]),
        "iterations": iterations,
    }


def _interval(horizon: int) -> int:
    return max(1, round(INTERVAL * horizon))


def _tuned(scheduler: Any, lr: float | None, seed: int, horizon: int) -> Figures:
    """Four members under a scheduler of Ray Tune; the best by validation loss.

    Members begin with the seeds of panda's lines.
    """
    import numpy as np
    from ray import tune

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    np.random.seed(seed)
    stride = _interval(horizon)
    draws = np.random.default_rng(seed).uniform(math.log(LOW), math.log(HIGH), MEMBERS)
    rates = [math.exp(x) for x in draws] if lr is None else [lr] * MEMBERS
    with cluster(2 * MEMBERS) as folder:  # actors that wait to be used again keep their cores
        found = tune.Tuner(
            tune.with_resources(_strided(stride, horizon), {"cpu": 1}),
            param_space={
                "lr": tune.sample_from(lambda spec: rates[spec.config.member]),
                "seed": tune.sample_from(lambda spec: _weights(seed, spec.config.member)),
                "member": tune.grid_search(list(range(MEMBERS))),
            },
            tune_config=tune.TuneConfig(
                metric="val_loss", mode="min", scheduler=scheduler, reuse_actors=True
            ),
            run_config=tune.RunConfig(storage_path=str(folder), verbose=0, stop={"iterations_done": horizon}),
        ).fit()
        ends = [result.metrics for result in found if result.metrics]
    best = min(ends, key=lambda m: float(m["val_loss"]) if m["val_loss"] == m["val_loss"] else math.inf)
    iterations = sum(int(m["iterations_done"]) for m in ends)
    return _figures(best, iterations) | {"members": [float(m["test_loss"]) for m in ends]}


def _strided(stride: int, horizon: int) -> Any:
    """The example's class with a step as long as the interval at which Ray Tune compares."""
    from raysearch.examples.mnist1d import Mnist1d

    class Strided(Mnist1d):
        def step(self) -> dict[str, Any]:
            done = self.iteration * stride
            count = min(stride, horizon - done)
            for _ in range(count):
                metrics = super().step()
            return {**metrics, "iterations_done": done + count}

    return Strided


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing):
        yield


if __name__ == "__main__":
    serve({name: several(name) for name in CONTENDERS})
