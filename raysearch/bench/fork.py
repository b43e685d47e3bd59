"""`raysearch bench fork`: the cost of forking a checkpoint, beside copying its file.

A fork copies nothing: a live worker restores the parent's checkpoint, which no process writes any more, under
another configuration. `fork` is the time from the lease to the first metric of an iteration that does
nothing, and `save` what a segment adds at its end: its own checkpoint, committed and synced. The peers do
the same to the same file by hand: `copy` as `cp` does, `copy-synced` so that it survives a power cut,
`load` and `save-synced` with torch alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from raysearch.bench.support.contest import show

MB = 1 << 20
WEIGHTS = "weights.pt"


def main(args: Sequence[str]) -> int:
    """Runs the benchmark as the command line says."""
    options = _parser().parse_args(list(args))
    with tempfile.TemporaryDirectory(prefix="raysearch-bench-", dir=options.folder) as folder:
        seconds = measure(Path(folder), options.megabytes, options.times)
    rows = [
        {
            "contender": name,
            "seconds": round(median(found), 4),
            "fork_takes": f"{median(seconds['fork']) / median(found):.2f}x",
            "save_takes": f"{median(seconds['save']) / median(found):.2f}x",
        }
        for name, found in seconds.items()
    ]
    notes = [f"{options.megabytes} MB, median of {options.times}, in turns on one disk"]
    show("fork of a checkpoint", rows, notes, options.json)
    return 0


def measure(folder: Path, megabytes: int, times: int) -> dict[str, list[float]]:
    """Seconds of each contender, `times` each, in turns after one turn that does not count."""
    import torch

    from raysearch.core.segment import Segment, segment_id
    from raysearch.engine.messages import Lease
    from raysearch.storage.checkpoints.local import Checkpoints
    from raysearch.worker.host import Host

    checkpoints = Checkpoints(folder / "checkpoints")
    host = Host(_weights(megabytes), metric="loss", scratch=folder / "scratch")

    def fork(number: int, parent: str | None) -> None:
        start = 0 if parent is None else 1
        above = None if parent is None else segment_id(0, 0)
        segment = Segment(segment_id(number, 0), number, above, {"lr": number}, start, start + 1, 0, "fork")
        folder_above = None if parent is None else checkpoints.path(parent)
        host.train(Lease(segment, parent, above), folder_above, lambda iteration: False)

    def save(number: int) -> str:
        tmp = checkpoints.path_for_new(segment_id(number, 0), "bench")
        host.save(tmp)
        return checkpoints.commit(tmp)

    fork(0, None)
    root = save(0)
    source = checkpoints.path(root) / WEIGHTS
    target = folder / "target"
    state = torch.load(source, weights_only=True)
    found: dict[str, list[float]] = {}
    for number in range(times + 1):
        acts: dict[str, Callable[[], Any]] = {
            "fork": partial(fork, number + 1, root),
            "copy": partial(shutil.copyfile, source, target),
            "copy-synced": partial(_copy_synced, source, target),
            "load": partial(torch.load, source, weights_only=True),
            "save": partial(save, number + 1),
            "save-synced": partial(_save_synced, state, target),
        }
        for name, act in acts.items():
            began = time.perf_counter()
            act()
            taken = time.perf_counter() - began
            target.unlink(missing_ok=True)
            checkpoints.delete(set(checkpoints.names()) - {root})
            if number:
                found.setdefault(name, []).append(taken)
    host.drop()
    return found


def _weights(megabytes: int) -> Any:
    """A trainable whose state is so many megabytes of weights."""
    import torch
    from ray import tune

    class Weights(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            if not hasattr(self, "weights"):
                self.weights = torch.randn(megabytes * MB // 4)

        def step(self) -> dict[str, float]:
            return {"loss": float(self.weights[0])}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            torch.save({"weights": self.weights}, Path(checkpoint_dir, WEIGHTS))

        def load_checkpoint(self, checkpoint: str) -> None:
            state = torch.load(
                Path(checkpoint, WEIGHTS), weights_only=True, mmap=True
            )  # read once, not twice
            self.weights.copy_(state["weights"])

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

    return Weights


def _copy_synced(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    _sync(target)


def _save_synced(state: Any, target: Path) -> None:
    import torch

    torch.save(state, target)
    _sync(target)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raysearch bench fork", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--folder", help="where to write; the folder for temporary files if not given")
    parser.add_argument("--json", action="store_true")
    return parser
