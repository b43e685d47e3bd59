"""Runs to be sent to W&B, and what the stand-in for its server has of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wandb_standin import StandIn

from raysearch.bench.report import outcomes
from raysearch.core.segment import Outcome
from raysearch.storage.journal.journal import Journal

WANDB = "wandb: {mode: online, project: demo, entity: team, tags: [nightly]}\n"


def written(run: Path, trials: int, finals: int = 16) -> dict[str, int]:
    """A run of so many trials and so much of a finish on disk; run's key -> its rows."""
    run.mkdir(parents=True)
    strategy = f"strategy: {{name: caviar, samples: {trials}, max_iterations: 81}}\n"
    space = "space: {lr: {loguniform: [1.0e-5, 1.0]}, dropout: {uniform: [0.0, 0.6]}}\n"
    (run / "spec.yaml").write_text(f"name: demo\nmetric: loss\nmode: min\n{space}{strategy}{WANDB}")
    made = [*outcomes(trials, 4)]
    made = made[: len(made) - 16 + finals]
    with Journal.create(run / "journal") as journal:
        journal.append_event("start", {"raysearch": "0"}, 1000.0)
        journal.append(made)
        journal.append_event("end", {"ending": "complete"}, 2000.0)
    return expected(made)


def expected(made: Sequence[Outcome]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for outcome in made:
        role = outcome.segment.role if outcome.segment.role != "search" else "trial"
        key = f"{role}-{outcome.segment.trial}"
        counts[key] = counts.get(key, 0) + len(outcome.curve["loss"])
    return counts


def there(server: StandIn) -> dict[str, int]:
    """What the server has, by the key of the run; the search's own run left out. Each row must be there once."""  # noqa: E501
    found = {}
    for name in server.runs:
        rows = server.rows(name)
        assert [row["_step"] for row in rows] == [*range(len(rows))]
        key = name.split("-", 2)[2]
        if key != "search":
            steps = [row["training_iteration"] for row in rows]
            assert len({*steps}) == len(steps)
            found[key] = len(rows)
    return found
