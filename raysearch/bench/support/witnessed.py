"""A small real training, in a worker that writes down what the coordinator acknowledged.

Least squares by gradient descent: below 1/L a higher learning rate is better after any number of steps, so
the order in which outcomes come in changes nothing in who wins. Beside the loss it reports a `trace`, a chain
over all random numbers drawn since the beginning: a wrong seed, or another trial's checkpoint, shows in it.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune

from raysearch.engine.messages import Answer, Reply, Turn
from raysearch.executors.tune.socket_link import DoorLink

FEATURES = 8
TRACE_BITS = 40  # a float holds it exactly


class Witnessed(tune.Trainable):  # type: ignore[misc]
    """Least squares; waits `seconds` an iteration, and saves `kilobytes` beside its weights.

    With `witness`, a folder, every exchange of this process that was answered is noted there. As long as
    there is a file `hold` in it, no iteration ends.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Makes the data, which is always the same."""
        rng = np.random.default_rng(0)
        self._inputs = rng.normal(size=(64, FEATURES))
        self._targets = self._inputs @ rng.normal(size=FEATURES) + rng.normal(size=64)
        self._limit = float(np.linalg.norm(self._inputs, 2) ** 2) / 64  # L
        self._weights, self._trace = np.zeros(FEATURES), 0
        if config.get("witness"):
            witness(Path(config["witness"]))

    def step(self) -> dict[str, float]:
        """One step of descent."""
        time.sleep(self.config.get("seconds", 0.0))
        while self.config.get("witness") and Path(self.config["witness"], "hold").exists():
            time.sleep(0.1)
        errors = self._inputs @ self._weights - self._targets
        self._weights -= self.config["lr"] / self._limit * (self._inputs.T @ errors) / 64
        self._trace = (self._trace * 31 + random.getrandbits(TRACE_BITS)) % 2**TRACE_BITS
        errors = self._inputs @ self._weights - self._targets
        return {"loss": float(errors @ errors) / 64, "trace": float(self._trace)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Weights and trace."""
        state = {"weights": self._weights.tolist(), "trace": self._trace}
        Path(checkpoint_dir, "state.json").write_text(json.dumps(state))
        Path(checkpoint_dir, "ballast").write_bytes(os.urandom(1024 * self.config.get("kilobytes", 0)))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Weights and trace."""
        state = json.loads(Path(checkpoint_dir, "state.json").read_text())
        self._weights, self._trace = np.array(state["weights"]), state["trace"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The process goes on with another trial."""
        self.config, self._weights, self._trace = new_config, np.zeros(FEATURES), 0
        return True


class _Noted:
    """An exchange under way, written down once it is answered."""

    def __init__(self, answer: Answer, turn: Turn, file: int) -> None:
        self._answer, self._turn, self._file = answer, turn, file

    def ready(self) -> bool:
        return self._answer.ready()

    def get(self) -> Reply:
        reply = self._answer.get()
        for outcome in self._turn.outcomes:
            note = {
                "segment": outcome.segment.id,
                "status": outcome.status.value,
                "loss": outcome.curve.get("loss", []),
                "stop": reply.stop,
                "worker": outcome.worker,
                "at": time.time(),
            }
            os.write(self._file, (json.dumps(note) + "\n").encode())  # at once: it outlives a kill
        return reply


_witnesses: set[Path] = set()


def witness(folder: Path) -> None:
    """From now on, what this process hands in and is answered for is noted in a file in `folder`."""
    if folder in _witnesses:
        return
    _witnesses.add(folder)
    path = folder / f"{os.uname().nodename}-{os.getpid()}-{time.time_ns()}.jsonl"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    send = DoorLink.send

    def noted(self: DoorLink, turn: Turn) -> Any:
        return _Noted(send(self, turn), turn, file)

    DoorLink.send = noted  # type: ignore[method-assign]
