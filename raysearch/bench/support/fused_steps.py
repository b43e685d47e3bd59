"""What a step of a model costs: alone in plain torch, and among many as written, as a list, compiled.

All ways take turns, so that what else the machine does falls on each of them alike; counted is the processor
time of the training thread, the median of the turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

TURNS = 40
WIDTHS = (1, 4, 16, 64)
LONGEST_S = 500  # of a compilation


def steps(kind: str, config: Mapping[str, Any], compiles: bool) -> list[dict[str, Any]]:
    """A row for each number of models in a step: milliseconds a model and step, by way of going."""
    import torch

    from raysearch.bench.support.fused_models import problem_of
    from raysearch.examples.training import Training

    torch.set_num_threads(1)
    training = Training(problem_of(kind)(), config)
    ways: dict[tuple[int, str], Callable[[], Any]] = {(1, "plain_torch"): _plain(training)}
    seconds: dict[int, tuple[float, float]] = {}
    for width in WIDTHS:
        block, step = _block(kind, config, width)
        ways[width, "as_written"] = _written(block, step)
        ways[width, "list"] = _list(block, step)
        if compiles:
            ways[width, "compiled"], seconds[width] = _compiled(block, step)
    found = _measured(ways)
    rows = []
    for width in WIDTHS:
        row: dict[str, Any] = {"contender": f"{width} in a step"}
        row |= {way: found[w, way] / width for w, way in found if w == width}
        row["gain"] = found[1, "plain_torch"] / min(v for k, v in row.items() if k in ("list", "compiled"))
        if compiles:
            row["compile_s"], row["load_s"] = seconds[width]
        rows.append(row)
    return rows


def _measured(ways: Mapping[Any, Callable[[], Any]]) -> dict[Any, float]:
    """Milliseconds of each way: of the processor, or until a GPU is through with it."""
    import torch

    has_gpu = torch.cuda.is_available()
    clock = time.perf_counter if has_gpu else time.thread_time
    taken: dict[Any, list[float]] = {way: [] for way in ways}
    for turn in range(TURNS):
        for way, go in ways.items():
            began = clock()
            go()
            if has_gpu:
                torch.cuda.synchronize()
            if turn:  # the first one allocates
                taken[way].append(1000 * (clock() - began))
    return {way: statistics.median(each) for way, each in taken.items()}


def _plain(training: Any) -> Callable[[], Any]:
    training.model.train()
    examples, labels = next(training._batches())
    return lambda: training._update(examples, labels)


def _block(kind: str, config: Mapping[str, Any], width: int) -> Any:
    from raysearch.bench.support.fused_models import pack_of
    from raysearch.fused.plan import make_plan

    pack = pack_of(kind, config, width)
    pack._engine.train()
    plan = make_plan(pack._learner, pack.members, pack._data, pack._device)
    return pack._block(plan, 0, width), pack._plain_step


def _written(block: Any, step: Any) -> Callable[[], Any]:
    given, moment = block.tensors(), block.moments()[0]
    return lambda: step(given, moment)


def _list(block: Any, step: Any) -> Callable[[], Any]:
    import torch
    from torch.utils._pytree import tree_leaves

    from raysearch.fused.traced_step import traced

    moment = block.moments()[0]
    run, flat = traced(step, block, moment), tree_leaves(block.tensors())

    def go() -> Any:
        with torch.no_grad():
            return run(*flat, *moment)

    return go


def _compiled(block: Any, step: Any) -> tuple[Callable[[], Any], tuple[float, float]]:
    """The step, and how many seconds it took to compile it, and to load it once that is done."""
    import tempfile
    from pathlib import Path

    from raysearch.fused.compile_cache import Library, inputs_of, listed

    moment = block.moments()[0]
    took: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in ("cold", "warm"):
            began = time.perf_counter()
            library = Library(*listed(step, block, moment), home=Path(folder))
            if not library.wait(LONGEST_S):
                raise RuntimeError(library.trouble or f"not compiled within {LONGEST_S} s")
            took.append(time.perf_counter() - began)
    return lambda: library(inputs_of(block, moment)), (took[0], took[1])
