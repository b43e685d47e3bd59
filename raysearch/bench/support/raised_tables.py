"""`raysearch bench panda --tasks`: runs what is missing, a line of JSON each, and compares in pairs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from raysearch.bench.support.paired import difference
from raysearch.bench.support.raised_contest import Result, as_dict, contenders, measured
from raysearch.bench.support.raised_tasks import TASKS
from raysearch.bench.support.schedule_rivals import RIVALS
from raysearch.errors import SpecError, unknown

STARTS = (0.03, 0.3, 3.0, 30.0)  # multiples of a task's middle rate: within 1000x
ALL = (*RIVALS, "panda-1", "panda-4", "pbt-4", "pb2-4", "ipbt-4", "cosines-4")
WORST = {"min": math.inf, "max": -math.inf}


def run_all(
    tasks: Sequence[str],
    names: Sequence[str],
    starts: Sequence[float],
    seeds: Iterable[int],
    file: Path | None,
    processes: int,
    quick: bool,
) -> list[Result]:
    """The results of every task, contender, start and seed; those in the file are not run again."""
    wanted = [(t, n, s, seed) for seed in seeds for t in tasks for n in names for s in starts]
    known = {result.key: result for result in read(file)}
    horizon = {t: TASKS[t].quick if quick else TASKS[t].horizon for t in tasks}
    missing = [one for one in wanted if (*one, horizon[one[0]]) not in known]
    for result in _ran(missing, processes, quick):
        known[result.key] = result
        if file is not None:
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(as_dict(result)) + "\n")
    return [known[(*one, horizon[one[0]])] for one in wanted]


def read(file: Path | None) -> list[Result]:
    """The results in a file of JSON lines; none where there is no file."""
    if file is None or not file.exists():
        return []
    return [Result(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def table(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row for each task and contender: the median of each start over the seeds, and what it cost."""
    rows = []
    for task in dict.fromkeys(r.task for r in results):
        for name in dict.fromkeys(r.contender for r in results):
            mine = [r for r in results if (r.task, r.contender) == (task, name)]
            row: dict[str, Any] = {"task": task, "contender": name}
            for start in dict.fromkeys(r.start for r in mine):
                row[f"{start:g}"] = median(_value(r) for r in mine if r.start == start)
            row["cost"] = round(max(r.iterations / r.horizon for r in mine), 2)
            rows.append({**row, "seconds": round(median(r.seconds for r in mine), 1)})
    return rows


def findings(results: Sequence[Result]) -> list[str]:
    """Panda against each rival of as many models, in each task: seeds won, and paired intervals."""
    said = []
    for task in dict.fromkeys(r.task for r in results):
        said.append(f"{task}: {TASKS[task].what}; {_better(task)}")
        mine = {(r.contender, r.start, r.seed): r for r in results if r.task == task}
        for name in dict.fromkeys(r.contender for r in results if r.contender.startswith("panda-")):
            for rival in dict.fromkeys(r.contender for r in results):
                if _members(rival) == _members(name) and not rival.startswith("panda-"):
                    said.append(f"  {name} against {rival}: {_compared(mine, name, rival, task)}")
    return said


def check(tasks: str | None, rivals: str | None) -> tuple[list[str], list[str]]:
    """(tasks, contenders) of the options; `all` is every task. Raises SpecError for a name that is none."""
    chosen = [*TASKS] if tasks in (None, "all") else str(tasks).split(",")
    names = [*ALL] if rivals is None else rivals.split(",")
    for name in chosen:
        if name not in TASKS:
            raise SpecError(unknown("task", name, ("all", *TASKS)))
    for name in names:
        if name not in contenders():
            raise SpecError(unknown("rival", name, contenders()))
    return chosen, names


# ---- inside


def _ran(missing: Sequence[tuple[str, str, float, int]], processes: int, quick: bool) -> Iterable[Result]:
    if processes < 2 or len(missing) < 2:
        for one in missing:
            yield measured(*one, quick)
        return
    with ProcessPoolExecutor(processes) as pool:
        for done in as_completed([pool.submit(measured, *one, quick) for one in missing]):
            yield done.result()


def _better(task: str) -> str:
    return "lower is better" if TASKS[task].mode == "min" else "higher is better"


def _members(name: str) -> int:
    return 1 if name in RIVALS else int(name.rpartition("-")[2])


def _value(result: Result) -> float:
    return result.test if math.isfinite(result.test) else WORST[TASKS[result.task].mode]


def _compared(mine: dict[Any, Result], name: str, rival: str, task: str) -> str:
    """Starts and seeds won, and the difference for each start: below 0 panda is better, whatever the mode."""
    sign = 1.0 if TASKS[task].mode == "min" else -1.0
    texts, wins, count = [], 0, 0
    for start in dict.fromkeys(start for _, start, _ in mine):
        seeds = [s for n, at, s in mine if (n, at) == (name, start) and (rival, start, s) in mine]
        pairs = [(sign * _value(mine[name, start, s]), sign * _value(mine[rival, start, s])) for s in seeds]
        wins, count = wins + sum(a < b for a, b in pairs), count + len(pairs)
        sound = [(a, b) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
        lost = len(pairs) - len(sound)
        if sound:
            a, b = (np.array([side]) for side in zip(*sound, strict=True))
            texts.append(f"{start:g}: {difference(a, b)}" + (f" ({lost} diverged)" if lost else ""))
        elif pairs:
            texts.append(f"{start:g}: {lost} diverged")
    return f"wins {wins} of {count}; " + ", ".join(texts)
