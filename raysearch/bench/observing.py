"""`raysearch bench observing`: what it costs to see what optimizers hold at their steps.

Steps of a perceptron on the digits (64-32-10, batches of 32) with AdamW and a cosine schedule, alike but
for the watch: none (and no hook in torch), one that observes, and one that multiplies the learning rate
too. Blocks of steps take turns, in an order that is drawn, so that what else the machine does falls on all
of them; `cost` is the median over the turns of the difference to the block without a watch.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from statistics import median

from raysearch.bench.support.contest import show

BLOCK = 200  # steps
LR = 1e-3
FACTOR = 1 + 1e-9  # of the contender that multiplies: all three train the same numbers but for rounding


def main(args: Sequence[str]) -> int:
    """Runs the benchmark as the command line says."""
    parser = argparse.ArgumentParser(prog="raysearch bench observing", description=__doc__)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(list(args))
    seconds = measure(options.turns)
    bare = median(seconds["none"])
    rows = []
    for name, found in seconds.items():
        more = median(b - a for a, b in zip(seconds["none"], found, strict=True))
        rows.append(
            {
                "watch": name,
                "step_us": round(median(found) * 1e6, 2),
                "cost_us": round(more * 1e6, 3),
                "cost": f"{more / bare:.2%}",
            }
        )
    notes = [f"medians of {options.turns} turns of {BLOCK} steps, one thread"]
    show("observing an optimizer at its steps", rows, notes, options.json)
    return 0


def measure(turns: int) -> dict[str, list[float]]:
    """Seconds a step of each contender, one value a turn."""
    import torch

    from raysearch.core.used_values import Wanted
    from raysearch.torch import step_watch

    torch.set_num_threads(1)
    watches: dict[str, step_watch.StepWatch | None] = {"none": None}
    for name, factor in (("observes", 1.0), ("multiplies", FACTOR)):
        watch = step_watch.StepWatch()
        watch.plan([Wanted("lr", "lr", LR, factor * LR), Wanted("weight_decay", "weight_decay", 0.01, 0.01)])
        watches[name] = watch
    steps = {name: _stepper() for name in watches}
    seconds: dict[str, list[float]] = {name: [] for name in watches}
    rng = random.Random(1)
    for turn in range(turns + 1):
        for name in rng.sample(list(watches), len(watches)):
            step_watch.uninstall()
            if watches[name] is not None:
                step_watch.activate(watches[name])
            took = _block(steps[name])
            if turn:  # the first one warms up
                seconds[name].append(took)
    step_watch.activate(None)
    return seconds


def _block(step: Callable[[], None]) -> float:
    """Seconds of CPU a step: a busy machine lengthens the wall clock, and this but little."""
    began = time.thread_time()
    for _ in range(BLOCK):
        step()
    return (time.thread_time() - began) / BLOCK


def _stepper() -> Callable[[], None]:
    """A whole training step: forward, backward, optimizer and scheduler."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100_000)
    images, labels = torch.randn(32, 64), torch.randint(0, 10, (32,))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        scheduler.step()

    return step
