"""What strategies decided before searches could have several objectives: they decide the same, to the byte.

Each file of golden/decisions holds one search, a line a segment in the order in which the outcomes came.
The trainings are those of `raysearch.testing.worlds`: some diverge, fail or report nothing. To write the
files anew, in a commit that says why: `python tests/test_golden_decisions.py`.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy

from raysearch.strategies.base import Recipe
from raysearch.strategies.caviar import Caviar
from raysearch.strategies.finish import Finish
from raysearch.strategies.panda import Panda
from raysearch.strategies.two_stage import TwoStage
from raysearch.testing import worlds

GOLDEN = Path(__file__).parent / "golden" / "decisions"
SMALL: dict[str, Any] = {"samples": 40, "max_iterations": 27}
RECIPES: dict[str, Recipe] = {
    "promotion": Caviar(**SMALL, variant="promotion", sampler="sobol"),
    "stopping": Caviar(**SMALL, variant="stopping", sampler="random"),
    "brackets": Caviar(**SMALL, brackets=2, sampler="sobol", finish=Finish(top=2, seeds=2)),
    "auto": Caviar(**SMALL, min_iterations="auto", sampler="sobol"),
    "model": Caviar(**SMALL, sampler="model"),
    "panda": Panda(max_iterations=60, interval=5),
    "panda-four": Panda(max_iterations=40, population=4, interval=3),
    "panda-eight": Panda(max_iterations=24, population=8, interval=2),
    "panda-truncation": Panda(max_iterations=24, population=4, interval=3, exploit="truncation"),
    "two-stage": TwoStage(samples=12, max_iterations=18, sampler="sobol"),
}
SEEDS = (1, 2)
VERSIONS = f"numpy {np.__version__}, scipy {scipy.__version__}"  # on which a model's last digits hang


def decisions(recipe: Recipe, seed: int) -> str:
    """The segments of a search of four workers whose outcomes come out of order."""
    started = recipe.start(worlds.SPACE, metric="loss", mode="min", seed=seed, baseline=worlds.BASELINE)
    told = worlds.run(started, worlds.unlucky, free=4, order=random.Random(seed))
    lines = []
    for one in (outcome.segment for outcome in told):
        numbers = [one.id, one.parent, one.start, one.stop, one.seed, one.source]
        fields = [*numbers, str(one.role), str(one.event), one.reason, one.config]
        lines.append(json.dumps(fields, separators=(",", ":")))
    return "\n".join([*lines, ""])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", RECIPES)
def test_a_search_of_one_objective_decides_as_it_did_before_there_were_several(name: str, seed: int) -> None:
    text = (GOLDEN / f"{name}-{seed}.jsonl").read_text()
    if name == "model" and (GOLDEN / "versions").read_text() != VERSIONS:
        pytest.skip("the last digits of the model's proposals are those of other numpy and scipy")
    assert decisions(RECIPES[name], seed) == text


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    (GOLDEN / "versions").write_text(VERSIONS)
    for name, recipe in RECIPES.items():
        for seed in SEEDS:
            (GOLDEN / f"{name}-{seed}.jsonl").write_text(decisions(recipe, seed))
