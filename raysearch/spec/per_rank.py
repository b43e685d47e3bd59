"""Whether a trainable is one that each process of a worker can run, as it would under torchrun."""

from __future__ import annotations

import inspect
from typing import Any

from raysearch.errors import LocatedError
from raysearch.spec.trainables import is_learner
from raysearch.spec.workers import Workers

KINDS = ("Torch", "Lightning", "Transformers", "Accelerate", "Tensorflow", "Jax", "DataParallel", "XGBoost")
RUNS = frozenset(f"{kind}Trainer" for kind in (*KINDS, "LightGBM"))


def check_processes(workers: Workers, trainable: Any) -> None:
    """Raises LocatedError where `workers.processes` is said for a trainable that is no part of a group."""
    if not workers.processes:
        return
    name = getattr(trainable, "__name__", str(trainable))
    if is_learner(trainable):
        why = "is a Learner, which trains in one process; give a class or function, or leave it out"
    elif hasattr(trainable, "source_file"):
        why = "is a script, started anew for every segment; give the function that trains, or leave it out"
    elif run := _run_in(trainable):
        why = (
            f"starts a Ray Train run of its own ({run}), and each process would; give its "
            "train_loop_per_worker as the trainable, or use `workers.train` in place of `processes`"
        )
    else:
        return
    raise LocatedError("workers.processes", f"{workers.processes}: {name} {why}")


def _run_in(trainable: Any) -> str:
    """The name of a Ray Train run that a function's own code makes; empty where it makes none."""
    code = getattr(inspect.unwrap(trainable), "__code__", None) if callable(trainable) else None
    return next((name for name in getattr(code, "co_names", ()) if name in RUNS), "")
