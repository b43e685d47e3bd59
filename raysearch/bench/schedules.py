"""`raysearch bench schedules FILE`: how well strategies find a schedule in a tree of recorded ones.

Every node of the tree was trained on from its parent's weights with one of a few choices of the
hyper-parameters, so that copying weights between members of one seed is exact. Reported is the last
validation accuracy of the model that a strategy would hand over: the mean over the seeds from the start
in the middle of the space, the mean over all starts, and how many segments it took. `truncation` is
population-based training as published; `greedy` trains every choice for a segment and keeps the best.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raysearch.bench.support.contest import chosen, show
from raysearch.bench.support.schedule_tree import Path_, Tree, read_trees
from raysearch.core.segment import Config, Outcome, Segment, Status
from raysearch.strategies.panda.settings import Panda

Contender = Callable[[Tree, int, Config], tuple[float, int]]  # (tree, seed, start) -> (value, segments)


def panda(population: int, **settings: Any) -> Contender:
    """Panda with a segment of the tree as its interval, and the last one as its decay."""

    def run(tree: Tree, seed: int, start: Config) -> tuple[float, int]:
        recipe = Panda(
            max_iterations=tree.depth * tree.length,
            population=population,
            interval=tree.length,
            nudge=list(tree.space.names),
            **{"decay": 1 / tree.depth, "decay_steps": 1, **settings},
        )
        strategy = recipe.start(tree.space, metric="value", mode="max", seed=seed, baseline=start)
        paths: dict[int, Path_] = {}
        while not strategy.finished:
            for segment in strategy.ask(population):
                strategy.tell(_trained(tree, segment, paths))
        ends = [path for path in paths.values() if len(path) == tree.depth]
        return max(tree.value(path) for path in ends), len(paths)

    return run


def greedy(tree: Tree, seed: int, start: Config) -> tuple[float, int]:
    """Every choice for a segment, then on from the best."""
    path: Path_ = ()
    for _ in range(tree.depth):
        path = max(((*path, i) for i in range(len(tree.choices))), key=tree.value)
    return tree.value(path), tree.depth * len(tree.choices)


def constant(tree: Tree, seed: int, start: Config) -> tuple[float, int]:
    """The best of all constant configurations."""
    values = [tree.value((i,) * tree.depth) for i in range(len(tree.choices))]
    return max(values), tree.depth * len(tree.choices)


def best(tree: Tree, seed: int, start: Config) -> tuple[float, int]:
    """The best schedule there is, which takes every node."""
    return max(tree.value(path) for path in tree.curves if len(path) == tree.depth), len(tree.curves)


CONTENDERS: Mapping[str, Contender] = {
    "constant": constant,
    "greedy": greedy,
    "truncation-4": panda(4, exploit="truncation", decay=0.0),
    "panda-4": panda(4),
    "best": best,
}


def main(args: Sequence[str]) -> int:
    """Runs the benchmark as the command line says."""
    options = _parser().parse_args(list(args))
    names = chosen(options.methods, CONTENDERS)
    trees = read_trees(options.file, options.metric)
    rows = [{"contender": name, **measure(CONTENDERS[name], trees)} for name in names]
    notes = [f"last {options.metric}, higher is better; {len(trees)} seeds, every choice as a start"]
    show(f"schedules in {Path(options.file).name}", rows, notes, options.json)
    return 0


def measure(contender: Contender, trees: Mapping[int, Tree]) -> dict[str, Any]:
    """From the middle of the space, the mean over the seeds and the most segments; the mean of all starts."""
    middle = [contender(tree, seed, tree.middle) for seed, tree in trees.items()]
    every = [contender(tree, seed, start)[0] for seed, tree in trees.items() for start in tree.choices]
    return {
        "from_the_middle": round(float(np.mean([value for value, _ in middle])), 4),
        "from_all_starts": round(float(np.mean(every)), 4),
        "worst_start": round(float(np.min(every)), 4),
        "segments": max(count for _, count in middle),
        "by_seed": " ".join(f"{value:.3f}" for value, _ in middle),
    }


def _trained(tree: Tree, segment: Segment, paths: dict[int, Path_]) -> Outcome:
    parent = paths[segment.parent] if segment.parent is not None else ()
    paths[segment.id] = (*parent, tree.choices.index(segment.config))
    values = [float(value) for value in tree.curves[paths[segment.id]]]
    return Outcome(segment, Status.COMPLETED, {"value": values}, f"c{segment.id}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raysearch bench schedules", description=__doc__)
    parser.add_argument("file", help="Parquet: columns seed, path, choice, hp_*, and lists of curves")
    parser.add_argument("--metric", default="val_acc", help="list column, higher is better")
    parser.add_argument("--methods", help=f"with commas, of {', '.join(CONTENDERS)}; all if not given")
    parser.add_argument("--json", action="store_true")
    return parser
