"""The Ray Tune class trainable that the examples share: `Training` behind Ray's five methods.

There is nothing of raysearch in it; `ray.tune.Tuner(Digits, ...)` runs it as well.
"""

from __future__ import annotations

from typing import Any

from ray import tune

from raysearch.examples.training import Problem, Training


class Example(tune.Trainable):  # type: ignore[misc]
    """Trains `problem()`. A subclass says what that is."""

    @staticmethod
    def problem() -> Problem:
        """The problem, read once in a process."""
        raise NotImplementedError

    def setup(self, config: dict[str, Any]) -> None:
        """Begins a trial."""
        self.training = Training(self.problem(), config)

    def step(self) -> dict[str, Any]:
        """One iteration of training, and the metrics after it."""
        return self.training.iterate()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes what `load_checkpoint` needs."""
        self.training.save(checkpoint_dir)

    def load_checkpoint(self, checkpoint: str) -> None:
        """Goes on from there, under the hyper-parameters of now."""
        self.training.restore(checkpoint)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begins another trial in this process: no start-up, no reading of the examples."""
        self.setup(new_config)
        return True
