"""`raysearch bench report`: how long the HTML report of a large run takes, its size, and the memory of it.

The journal is written directly, as a search by successive halving would have left it; nothing is trained.
Each size is reported on in a fresh process, so that the memory is the report's own. With `--board N` the
board follows the run through N updates instead, each of as many new trials as there are workers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from raysearch.bench.support.contest import peak_mb

RUNGS = (1, 3, 9, 27, 81)
WORKERS = 64
BATCH = 20_000
EPOCH = 1_700_000_000.0
SPEC = """name: huge
trainable: "nowhere:Nothing"
metric: loss
mode: min
space:
  lr: {loguniform: [1.0e-5, 1.0]}
  width: {lograndint: [16, 1024]}
  dropout: {uniform: [0.0, 0.6]}
  optimizer: {choice: [adamw, sgd, lion]}
  momentum: {uniform: [0.0, 0.99], when: {optimizer: sgd}}
baseline: {lr: 1.0e-3, width: 128, dropout: 0.1, optimizer: adamw}
strategy: {name: caviar, samples: 1000, max_iterations: 81}
"""


def main(argv: list[str]) -> int:
    """Prints a line for each size."""
    parser = argparse.ArgumentParser(prog="raysearch bench report", description=__doc__)
    parser.add_argument("--trials", type=int, nargs="*", default=[10, 10_000, 1_000_000])
    parser.add_argument("--keep", help="folder to leave the runs in")
    parser.add_argument("--board", type=int, default=0, help="follow the run through so many updates")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for trials in options.trials:
            run = Path(options.keep or scratch) / f"huge-{trials}"
            write_run(run, trials)
            rows.append(_measured(run, trials, options.board))
            if not options.json:
                print(" ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    if options.json:
        print(json.dumps(rows, indent=2))
    return 0


def write_run(run: Path, trials: int, workers: int = WORKERS) -> None:
    """A run's folder with a spec and a journal of so many trials, a finish included."""
    from raysearch.storage.journal.journal import Journal
    from raysearch.storage.paths import RunPaths

    run.mkdir(parents=True)
    RunPaths(run).spec.write_text(SPEC)
    with Journal.create(RunPaths(run).journal) as journal:
        journal.append_event("start", {"raysearch": "bench"}, EPOCH)
        batch: list[Any] = []
        for outcome in outcomes(trials, workers):
            batch.append(outcome)
            if len(batch) == BATCH:
                journal.append(batch)
                batch = []
        journal.append(batch)
        journal.append_event("end", {"ending": "complete"}, EPOCH + trials)


def outcomes(trials: int, workers: int = WORKERS) -> Iterator[Any]:
    """Outcomes of a halving by thirds over random configurations, some failed or diverged, and a finish."""
    halving = _Halving(np.random.default_rng(0), np.zeros(min(workers, max(1, trials))))
    for trial in range(trials):
        yield from halving.trial(trial)
    yield from halving.finish()


class _Halving:
    """Makes up the outcomes of a search.

    Attributes:
        clock: when each worker is free, in seconds since EPOCH.
        best: (loss, trial, configuration) of the best model that was trained to the end.
    """

    def __init__(self, rng: np.random.Generator, clock: np.ndarray[Any, Any]) -> None:
        self.rng, self.clock = rng, clock
        self.best: tuple[float, int, dict[str, Any]] = (np.inf, 0, {})

    def trial(self, trial: int) -> Iterator[Any]:
        """A trial's outcomes, rung by rung."""
        from raysearch.core.segment import Status

        rng, config = self.rng, _config(self.rng)
        floor = 0.05 + (np.log10(config["lr"]) + 2.7) ** 2 * 0.1 + config["dropout"] * 0.2
        floor = float(floor + rng.normal(0, 0.03) ** 2)
        depth = int(min(4, rng.geometric(2 / 3) - 1)) if trial else 4
        bad = rng.random()
        for at in range(depth + 1):
            begin = RUNGS[at - 1] if at else 0
            curve = [float(floor + 2.0 / (i + 1) + rng.normal(0, 0.01)) for i in range(begin, RUNGS[at])]
            status = Status.COMPLETED
            if at == depth and bad < 0.01:
                status, curve = Status.FAILED, curve[:-1]
            elif at == depth and bad < 0.02:
                status, curve = Status.DIVERGED, [*curve[:-1], np.nan]
            yield self._outcome(trial, at, config, curve, status)
            if at == 4 and status is Status.COMPLETED and curve[-1] < self.best[0]:
                self.best = (curve[-1], trial, config)

    def _outcome(self, trial: int, at: int, config: Any, curve: list[float], status: Any) -> Any:
        from raysearch.core.segment import Outcome, Segment, Status, segment_id

        begin = RUNGS[at - 1] if at else 0
        worker = int(self.clock.argmin())
        seconds = 0.5 * (RUNGS[at] - begin) * float(self.rng.uniform(0.7, 1.3))
        self.clock[worker] += seconds + 0.05
        parent = segment_id(trial, at - 1) if at else None
        reason = f"rung {RUNGS[at]}: promoted" if at else "a new sample"
        segment = Segment(
            segment_id(trial, at), trial, parent, config, begin, RUNGS[at], trial % 2**31, reason
        )
        error = f"RuntimeError: out of memory at batch {trial}" if status is Status.FAILED else ""
        now = EPOCH + float(self.clock[worker])
        return Outcome(segment, status, {"loss": curve}, None, seconds, f"worker-{worker}", error, False, now)

    def finish(self) -> Iterator[Any]:
        """The winner and the baseline, each trained on eight fresh seeds."""
        from raysearch.core.segment import Outcome, Role, Segment, Status, segment_id

        loss, winner, config = self.best
        baseline = {"lr": 1.0e-3, "width": 128, "dropout": 0.1, "optimizer": "adamw"}
        finals = ((Role.FINALIST, config, winner, loss), (Role.BASELINE, baseline, None, loss + 0.05))
        end = EPOCH + float(self.clock.max()) + 40.0
        for k in range(8):
            for place, (role, chosen, source, mean) in enumerate(finals):
                level = mean + float(self.rng.normal(0, 0.01))
                curve = {"loss": [level + 2.0 / (i + 1) - 2.0 / 81 for i in range(81)]}
                trial = (1 << 42) + 2 * k + place
                segment = Segment(
                    segment_id(trial, 0),
                    trial,
                    None,
                    chosen,
                    0,
                    81,
                    k,
                    "the finish",
                    role=role,
                    source=source,
                )
                worker = f"worker-{trial % len(self.clock)}"
                yield Outcome(segment, Status.COMPLETED, curve, None, 40.0, worker, "", True, end)


def _config(rng: np.random.Generator) -> dict[str, Any]:
    config: dict[str, Any] = {
        "lr": float(10 ** rng.uniform(-5, 0)),
        "width": int(2 ** rng.uniform(4, 10)),
        "dropout": float(rng.uniform(0, 0.6)),
        "optimizer": ("adamw", "sgd", "lion")[int(rng.integers(3))],
    }
    if config["optimizer"] == "sgd":
        config["momentum"] = float(rng.uniform(0, 0.99))
    return config


def _measured(run: Path, trials: int, updates: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "raysearch.bench.report", str(run), str(updates)],
        check=True,
        capture_output=True,
        text=True,
    )
    return {"trials": trials, **json.loads(done.stdout.splitlines()[-1])}


def followed(run: str, updates: int) -> dict[str, Any]:
    """Milliseconds that the board takes for a run that goes on.

    To open it, for what it pushes at an update, and for each figure that is in view then.
    """
    import statistics

    from raysearch.report.board_run import WatchedRun
    from raysearch.storage.journal.journal import Journal
    from raysearch.storage.paths import RunPaths

    halving = _Halving(np.random.default_rng(1), np.full(WORKERS, 1e6))
    watched, number = WatchedRun(Path(run), least_s=0, rest=0), 1 << 30  # all is made at once
    pushed: list[float] = []
    drawn: dict[str, list[float]] = {}
    with Journal.open(RunPaths(run).journal) as journal:
        journal.append_event("start", {"raysearch": "bench"}, EPOCH + 1e6)
        for update in range(updates + 1):
            pushed.append(_ms(lambda: watched.head(0)))
            for one in watched.head(0)["figures"]:
                drawn.setdefault(one["name"], []).append(_ms(watched.figure, one["name"], ""))
            journal.append(
                [one for k in range(WORKERS) for one in halving.trial(number + update * WORKERS + k)]
            )
    medians = {f"{name}_ms": round(statistics.median(times[1:] or times)) for name, times in drawn.items()}
    return {
        "first_ms": round(pushed[0]),
        "update_ms": round(statistics.median(pushed[1:])),
        "worst_ms": round(max(pushed[1:])),
        **medians,
        "peak_mb": round(peak_mb()),
    }


def _ms(call: Any, *given: Any) -> float:
    began = time.perf_counter()
    call(*given)
    return 1000 * (time.perf_counter() - began)


def report_on(run: str) -> dict[str, Any]:
    """Writes one report and says what it took; the start of Python and its imports are counted."""
    began = time.perf_counter()
    from raysearch.report.report import write_report
    from raysearch.results.results import Results
    from raysearch.storage.paths import RunPaths

    results = Results(run)
    path = RunPaths(run).report
    path.write_text(write_report(results), encoding="utf-8")
    return {
        "segments": len(results.digest.segments),
        "seconds": round(time.perf_counter() - began, 2),
        "peak_mb": round(peak_mb()),
        "file_mb": round(path.stat().st_size / 1e6, 2),
    }


if __name__ == "__main__":
    print(json.dumps(followed(sys.argv[1], int(sys.argv[2])) if int(sys.argv[2]) else report_on(sys.argv[1])))
