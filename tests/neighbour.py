"""A long search in a process of its own: python neighbour.py STORAGE NAME ADDRESS FIELDS."""

from __future__ import annotations

import contextlib
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


class Lopsided(Uneven):
    """The first trial of a high rate waits for a file; there is one among any four."""

    def step(self) -> dict[str, Any]:
        while self.rate > 0.75 and self._is_first() and not Path(self.config["marker"]).exists():
            time.sleep(0.05)
        return super().step()

    def _is_first(self) -> bool:
        """Whether this is the trial that a link, which only one can make, speaks of."""
        first = Path(self.config["marker"]).with_suffix(".first")
        with contextlib.suppress(FileExistsError):
            first.symlink_to(str(self.rate))
        return str(first.readlink()) == str(self.rate)


def main(storage: str, name: str, address: str, fields: str) -> None:
    """Searches until it is paused or stopped, or has had its `samples`; see Lopsided of a `marker`."""
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
            samples=given.pop("samples", 100_000),
            max_iterations=2,
            min_iterations=2,
            sampler="sobol",
            finish=None,
        ),
        storage=storage,
        name=name,
        **given,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
