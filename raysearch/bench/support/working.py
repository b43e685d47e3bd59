"""A trainable that computes for some milliseconds an iteration, as the smallest real models do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune


class Working(tune.Trainable):  # type: ignore[misc]
    """Squares a matrix an iteration; the loss is a parabola with a decaying part."""

    def setup(self, config: dict[str, Any]) -> None:
        """Nothing is loaded."""
        self._x, self._at = float(config["x"]), 0
        self._matrix = np.random.default_rng(0).normal(size=(160, 160))

    def step(self) -> dict[str, float]:
        """An iteration: about two milliseconds."""
        self._at += 1
        for _ in range(4):
            self._matrix = self._matrix @ self._matrix
            self._matrix /= np.abs(self._matrix).max()
        return {"loss": (self._x - 0.3) ** 2 + 1.0 / self._at}

    def save_checkpoint(self, folder: str) -> None:
        """Where it is."""
        (Path(folder) / "at.json").write_text(json.dumps(self._at))

    def load_checkpoint(self, folder: str) -> None:
        """Where it was."""
        self._at = json.loads((Path(folder) / "at.json").read_text())

    def reset_config(self, config: dict[str, Any]) -> bool:
        """The process goes on with another trial."""
        self._x, self._at = float(config["x"]), 0
        return True
