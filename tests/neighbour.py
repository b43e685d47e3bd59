"""A long search in a process of its own: python neighbour.py STORAGE NAME ADDRESS FIELDS."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import trainables

import raysearch


class Uneven(trainables.Walk):
    """Trials take longer the higher their rate, so that workers end their segments at different times."""

    def step(self) -> dict[str, Any]:
        time.sleep(2 * self.rate * self.config["seconds"])
        return super().step()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return super().reset_config(new_config)


class Lopsided(trainables.Walk):
    """The trial of the highest rate of four waits for a file; the others end at once."""

    def step(self) -> dict[str, Any]:
        while self.config["marker"] and self.rate > 0.75 and not Path(self.config["marker"]).exists():
            time.sleep(0.05)
        return super().step()


def main(storage: str, name: str, address: str, fields: str) -> None:
    """Searches until it is paused or stopped; with a `marker`, four trials until that file is there."""
    given = json.loads(fields)
    marker = given.pop("marker", "")
    raysearch.search(
        Lopsided if marker else Uneven,
        address=address,
        space={"rate": {"uniform": [0.0, 1.0]}},
        config={"seconds": given.pop("seconds", 0.1), "marker": marker},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(
            samples=4 if marker else 100_000, max_iterations=2, min_iterations=2, sampler="sobol", finish=None
        ),
        storage=storage,
        name=name,
        **given,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
