"""A trainable that costs nothing, so that what is measured is the search and not the training."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ray import tune


class Trivial(tune.Trainable):  # type: ignore[misc]
    """Loss (x - 0.3)^2 + 1/iteration; waits `seconds` an iteration if the configuration says so.

    With `stamp`, the time at the end of the first iteration is written to that file.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Starts at iteration 0."""
        self.reset_config(config)

    def step(self) -> dict[str, Any]:
        """One iteration."""
        if self.seconds:
            time.sleep(self.seconds)
        self.count += 1
        if self.stamp and not Path(self.stamp).exists():
            Path(self.stamp).write_text(str(time.time()))
        return {"loss": (self.x - 0.3) ** 2 + 1.0 / self.count}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The count."""
        Path(checkpoint_dir, "count").write_text(str(self.count))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """The count."""
        self.count = int(Path(checkpoint_dir, "count").read_text())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Reuse costs nothing either."""
        self.x, self.seconds, self.count = new_config["x"], new_config.get("seconds", 0.0), 0
        self.stamp = new_config.get("stamp")
        return True
