"""Artifacts of a whole search for W&B: Parquet files, a table of trials, the figures.

A short process of its own makes them: `python -m raysearch.tracking.artifacts RUN FOLDER ROWS`. So the
tracking process stays small, however large the search.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raysearch.errors import RunError
from raysearch.results.frames import storable
from raysearch.results.gain_forecast import last_forecast
from raysearch.tracking.granularity import FINALISTS, finalists

if TYPE_CHECKING:
    from raysearch.results.results import Results

FIGURES = (
    "progress",
    "rungs",
    "front",
    "hypervolume",
    "parallel",
    "importance",
    "slices",
    "curves",
    "timeline",
    "schedules",
    "lineage",
)
LINEAGE_ROWS = 10_000


def make(run: Path, folder: Path, rows: int) -> None:
    """Writes all artifacts into a folder, in a process of their own.

    Raises:
        RunError: the process failed; says why.
    """
    command = [sys.executable, "-m", "raysearch.tracking.artifacts", str(run), str(folder), str(rows)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RunError(f"the tables of {run} could not be made: {done.stderr.strip()[-500:]}")


def write(results: Results, folder: Path, rows: int) -> None:
    """`trials.parquet`, `segments.parquet`, `lineage.parquet`, `trials.json`, `importance.json`, figures."""
    folder.mkdir(parents=True, exist_ok=True)
    trials = results.trials(finals=True)
    _parquet(trials, folder / "trials.parquet")
    _parquet(results.segments(), folder / "segments.parquet")
    (folder / "trials.json").write_text(json.dumps(_table(results, results.trials(), rows)))
    raised = _figures(results, folder)
    if raised:
        lineage = results.lineage()
        _parquet(lineage, folder / "lineage.parquet")
        columns = [
            "segment",
            "trial",
            "parent",
            "start",
            "reached",
            "value",
            "status",
            "event",
            "words",
            "on_path",
        ]
        (folder / "lineage.json").write_text(json.dumps(_plain(lineage[columns].tail(LINEAGE_ROWS))))
    found = results.plot.importances
    if found is not None:
        (folder / "importance.json").write_text(json.dumps(found.shares))
    (folder / "facts.json").write_text(json.dumps(_facts(results)))
    (folder / "finalists.json").write_text(json.dumps(finalists(results, FINALISTS)))


def _figures(results: Results, folder: Path) -> bool:
    from raysearch.results.plots.lineage import has_changes

    raised = results.raised is not None and has_changes(results.digest)
    for name in FIGURES:
        if name in ("schedules", "lineage") and not raised:
            continue
        if name in ("front", "hypervolume") and (results.goals.is_plain or results.raised is not None):
            continue
        (folder / f"{name}.plotly.json").write_text(getattr(results.plot, name)().to_json())
    return raised


def _facts(results: Results) -> dict[str, Any]:
    facts: dict[str, Any] = {"verdict": str(results.verdict()), **_goal_facts(results)}
    if (going_on := last_forecast(results.events())) is not None:
        facts |= {"forecast/low": going_on.low, "forecast/high": going_on.high}
        facts["forecast/words"] = going_on.stops or going_on.words
    try:
        best = results.best
    except RunError:
        return facts
    facts |= {"best/trial": best.trial, "best/value": best.value, "best/iteration": best.iteration}
    facts["best/checkpoint"] = str(best.checkpoint) if best.checkpoint else None
    if best.mean is not None:
        facts["best/mean"] = best.mean
    verdict = results.verdict()
    if verdict.baseline is not None:
        facts["baseline/mean"] = verdict.baseline.estimate.mean
    if verdict.gain is not None:
        facts |= {
            "gain/mean": verdict.gain.mean,
            "gain/low": verdict.gain.low,
            "gain/high": verdict.gain.high,
        }
        facts["gain/significant"] = verdict.significant
    return facts


def _goal_facts(results: Results) -> dict[str, Any]:
    """What counts, the front, and every value of the trial that is taken; nothing for one metric alone."""
    goals = results.goals
    if goals.is_plain or results.raised is not None:
        return {}
    front = results.front
    facts: dict[str, Any] = {
        "objectives": ", ".join(f"{mode} {name}" for name, mode in goals.modes.items()),
        "objectives/leading": goals.leading,
        "limits": "; ".join(limit.text for limit in goals.limits),
        "limits/trials_beyond": int(results.digest.beyond.sum()),
        "front/members": len(front),
        "front/certified": front.certified,
        "front/trials": ", ".join("baseline" if m.is_baseline else str(m.trial) for m in front),
    }
    if front.members:
        facts |= {f"best/{name}": value for name, value in front.pick().values.items()}
    return facts


def _table(results: Results, frame: Any, rows: int) -> dict[str, Any]:
    """The table of trials, the best first; of more than `rows` the best half, and others at random, labelled."""  # noqa: E501
    if len(frame) <= rows:
        return _plain(frame.assign(sample="all"))
    ranking = results.digest.ranking
    best = ranking[: rows // 2]
    rest = np.setdiff1d(np.arange(len(frame)), best)
    others = np.random.default_rng(0).choice(rest, rows - len(best), replace=False)
    picked = frame.iloc[np.concatenate((best, np.sort(others)))]
    return _plain(picked.assign(sample=["best"] * len(best) + ["random"] * len(others)))


def _plain(frame: Any) -> dict[str, Any]:
    values = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    cells = [
        [v if isinstance(v, (int, float, str, bool, type(None))) else str(v) for v in row] for row in values
    ]
    return {"columns": [str(name) for name in frame.columns], "data": cells}


def _parquet(frame: Any, path: Path) -> None:
    storable(frame).to_parquet(path, index=False)


if __name__ == "__main__":
    from raysearch.results.results import Results

    write(Results(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
