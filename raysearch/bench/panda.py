"""`raysearch bench panda`: live training, one model or four, beside schedules and Ray Tune's populations.

The network of the example panda_mnist1d, 3,000 steps of AdamW, from each start and seed. Test
cross-entropy (lower is better) of the model that each would hand over; all choose by validation loss.
`cost` is all that was trained, probes and losers included, in trainings of one model. The grid is
13 cosine schedules; for each seed the best by validation loss, which costs 13 trainings.

With `--tasks` (names with commas, or all) panda's newest rivals on small tasks, without Ray or files: single
models may cost 1.25 trainings, populations as many as they have members; starts are multiples of a task's
middle learning rate. `--tree FILE` adds a tree of schedules, as `raysearch bench schedules` reads it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from raysearch.bench import schedules
from raysearch.bench.support import raised_tables, raising
from raysearch.bench.support.contest import chosen, contend, show
from raysearch.bench.support.raised_tasks import TASKS
from raysearch.bench.support.schedule_tree import read_trees

STARTS = (3e-5, 3e-4, 3e-3, 3e-2)
GRID = tuple(10 ** (-4.5 + i / 4) for i in range(13))  # 3e-5 to 3e-2
GRID_NAME = "cosine-grid-13"
NAMES = [*raising.CONTENDERS, GRID_NAME]


@dataclass(frozen=True)
class Run:
    """One model, or population, raised; `start` is None where it was drawn from the space."""

    contender: str
    start: float | None
    seed: int
    horizon: int
    figures: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, float | None, int, int]:
        """Contender, start and seed."""
        return (self.contender, self.start, self.seed, self.horizon)


class Cache:
    """Runs in a file, a line each, so that an interrupted benchmark goes on; or only in memory."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.runs: dict[tuple[str, float | None, int, int], Run] = {}
        if file is not None and file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                self._keep(Run(**json.loads(line)))

    def add(self, run: Run) -> None:
        """Keeps a run."""
        self._keep(run)
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(vars(run)) + "\n")

    def _keep(self, run: Run) -> None:
        self.runs[run.key] = run


def main(args: Sequence[str]) -> int:
    """Runs the benchmark as the command line says."""
    options = _parser().parse_args(list(args))
    if options.tasks or options.tree:
        return _tasks(options)
    names = chosen(options.methods, NAMES)
    starts = _numbers(options.starts, STARTS)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    cache = Cache(options.cache)
    wanted = {name: wanted_starts(name, starts, options.ray_starts) for name in names}
    raise_all(cache, wanted, seeds, options.horizon, options.processes)
    runs = [run for run in cache.runs.values() if run.seed in seeds and run.horizon == options.horizon]
    rows = table(runs, names, starts, seeds)
    title = f"test cross-entropy after {5 * options.horizon:,} steps, median of {len(seeds)} seeds"
    show(title, rows, findings(runs, starts, seeds), options.json)
    return 0


def wanted_starts(name: str, starts: Sequence[float], ray_starts: bool) -> list[float | None]:
    """Where a contender begins; populations of Ray Tune draw their starts by default."""
    if name == GRID_NAME:
        return [*GRID]
    if name in raising.ON_RAY:
        return [None, *starts] if ray_starts else [None]
    return [*starts]


def raise_all(
    cache: Cache,
    wanted: Mapping[str, Sequence[float | None]],
    seeds: Iterable[int],
    horizon: int,
    processes: int,
) -> None:
    """Trains what is not in the cache: each contender and seed in a process of its own."""
    tasks: dict[tuple[str, int], list[float | None]] = {}
    for seed in seeds:
        for name, starts in wanted.items():
            contender = "cosine" if name == GRID_NAME else name
            missing = [s for s in starts if (contender, s, seed, horizon) not in cache.runs]
            if missing:
                tasks.setdefault((contender, seed), []).extend(missing)
    with ThreadPoolExecutor(processes) as pool:
        coming = [pool.submit(_raised, name, seed, tasks[name, seed], horizon) for name, seed in tasks]
        for ended in as_completed(coming):
            for run in ended.result():
                cache.add(run)


def table(
    runs: Sequence[Run], names: Sequence[str], starts: Sequence[float], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """A row a contender: the median over the seeds from each start, where it may start, and its cost."""
    rows = []
    for name in names:
        if name == GRID_NAME:
            best = grid_best(runs, seeds)
            if best:
                rows.append(
                    {"contender": name, "any": median(r.figures["test"] for r in best), "cost": len(GRID)}
                )
            continue
        mine = [run for run in runs if run.contender == name]
        row: dict[str, Any] = {"contender": name}
        for start in (*starts, None):
            tests = [run.figures["test"] for run in mine if run.start == start]
            if tests:
                row["any" if start is None else f"{start:g}"] = median(tests)
        costs = [run.figures["iterations"] / run.horizon for run in mine if run.start in (*starts, None)]
        rows.append({**row, "cost": round(max(costs), 2) if costs else None})
    order = ["contender", *(f"{s:g}" for s in starts), "any", "cost"]
    return [{name: row[name] for name in order if name in row} for row in rows]


def grid_best(runs: Sequence[Run], seeds: Sequence[int]) -> list[Run]:
    """For each seed the cosine schedule of the grid with the lowest validation loss."""
    found = []
    for seed in seeds:
        mine = [r for r in runs if r.contender == "cosine" and r.seed == seed and r.start in GRID]
        if len(mine) == len(GRID):
            found.append(min(mine, key=lambda run: float(run.figures["val"])))
    return found


def findings(runs: Sequence[Run], starts: Sequence[float], seeds: Sequence[int]) -> list[str]:
    """The comparisons, in words."""
    tests = {(run.contender, run.start, run.seed): float(run.figures["test"]) for run in runs}
    said = []
    grid = grid_best(runs, seeds)
    grid_median = median(r.figures["test"] for r in grid) if grid else None
    for start in starts:
        one = [tests[k] for s in seeds if (k := ("panda-1", start, s)) in tests]
        decay = [tests[k] for s in seeds if (k := ("linear", start, s)) in tests]
        if not one:
            continue
        said.append(f"panda-1 from {start:g}: {median(one):.3f}")
        if decay:
            said[-1] += f", {median(one) / median(decay):.2f}x linear decay"
        if grid_median:
            said[-1] += f", {median(one) / grid_median:.2f}x the best of the grid"
    for start in starts:
        for rival in raising.ON_RAY:
            for origin in (start, None):
                pairs = [
                    (tests["panda-4", start, s], tests[rival, origin, s])
                    for s in seeds
                    if ("panda-4", start, s) in tests and (rival, origin, s) in tests
                ]
                if pairs:
                    wins = sum(a < b for a, b in pairs)
                    a, b = (median(side) for side in zip(*pairs, strict=True))
                    whence = "the same start" if origin is not None else "any starts"
                    said.append(
                        f"panda-4 from {start:g}: {a:.3f}, {rival} from {whence}: {b:.3f}; "
                        f"better in {wins} of {len(pairs)} seeds"
                    )
    return said + members_said(runs, starts)


def members_said(runs: Sequence[Run], starts: Sequence[float]) -> list[str]:
    """How far what panda-4 hands over, chosen by validation loss, is from its best member on the test set."""
    said = []
    for start in starts:
        mine = [run.figures for run in runs if (run.contender, run.start) == ("panda-4", start)]
        behind = [figures["test"] - min(figures["members"]) for figures in mine]
        if behind:
            said.append(
                f"panda-4 from {start:g}: behind the best of its members by {median(behind):.3f}, at most "
                f"{max(behind):.3f}"
            )
    return said


# ---- inside


def _numbers(text: str | None, default: Sequence[float]) -> list[float]:
    return [*default] if text is None else [float(one) for one in text.split(",")]


def _tasks(options: argparse.Namespace) -> int:
    """Rivals on small tasks, and panda in a tree of schedules."""
    if options.tree:
        trees = read_trees(options.tree, "val_acc")
        rows = [
            {"contender": f"panda-{n}", **schedules.measure(schedules.panda(n), trees)} for n in (1, 2, 4, 8)
        ]
        show(f"schedules in {Path(options.tree).name}", rows, ["higher is better"], options.json)
    if options.tasks:
        tasks, names = raised_tables.check(options.tasks, options.rivals)
        starts = _numbers(options.starts, raised_tables.STARTS)
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        found = raised_tables.run_all(
            tasks, names, starts, seeds, options.out, options.processes, options.quick
        )
        title = f"median of {len(seeds)} seeds by start, a multiple of the task's middle rate"
        show(title, raised_tables.table(found), raised_tables.findings(found), options.json)
    return 0


def _raised(contender: str, seed: int, starts: Sequence[float | None], horizon: int) -> list[Run]:
    arguments = {"starts": list(starts), "seed": seed, "horizon": horizon}
    print(f"seed {seed}: ", end="", file=sys.stderr, flush=True)
    found = contend("raysearch.bench.support.raising", contender, arguments)["runs"]
    return [
        Run(contender, start, seed, horizon, figures) for start, figures in zip(starts, found, strict=True)
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raysearch bench panda", description=__doc__)
    parser.add_argument("--methods", help=f"with commas, of {', '.join(NAMES)}; all if not given")
    parser.add_argument("--tasks", help=f"with commas, of {', '.join(TASKS)}; or all")
    parser.add_argument("--rivals", help="of --tasks, with commas: names such as wsd, panda-1, pbt-4")
    parser.add_argument("--tree", help="Parquet file of recorded schedules")
    parser.add_argument("--out", type=Path, help="of --tasks: JSON lines, as they come; none is run again")
    parser.add_argument("--quick", action="store_true", help="of --tasks: short trainings, for a test")
    parser.add_argument("--starts", help="learning rates; with --tasks multiples of the middle one")
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--horizon", type=int, default=600, help="iterations of five steps")
    parser.add_argument("--processes", type=int, default=2, help="at a time")
    parser.add_argument("--ray-starts", action="store_true", help="Ray Tune from each start too: slow")
    parser.add_argument("--cache", type=Path, help="a file to keep runs in; what is there is not run again")
    parser.add_argument("--json", action="store_true")
    return parser
