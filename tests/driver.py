"""A search in a process of its own, for tests that kill it: python driver.py STORAGE EXECUTOR [ADDRESS]."""

from __future__ import annotations

import sys
from pathlib import Path

import trainables

import raysearch
from raysearch.storage.object_store import is_address, open_store, parse_address


def main(storage: str, executor: str, address: str | None = None, *, local: bool = False) -> None:
    """Starts the run, or goes on with it if it is there, and says so when it is complete."""
    how = raysearch.How(executor=executor, address=address, local=local)  # type: ignore[arg-type]
    if is_address(storage):
        at = parse_address(storage).under("run")
        run, is_there = str(at), open_store(at).has("spec.yaml")
    else:
        run, is_there = str(Path(storage, "run")), Path(storage, "run", "spec.yaml").exists()
    if is_there:
        raysearch.resume(run, how, trainable=trainables.Slow)
    else:
        raysearch.search(
            trainables.Slow,
            executor=executor,  # type: ignore[arg-type]
            address=address,
            local=local,
            space={"rate": {"uniform": [0.0, 1.0]}},
            config={"seconds": 0.01},
            metric="loss",
            mode="min",
            strategy=raysearch.Caviar(
                samples=60, max_iterations=9, min_iterations=1, sampler="sobol", finish=None
            ),
            workers=2,
            storage=storage,
            name="run",
        )
    print("complete", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
