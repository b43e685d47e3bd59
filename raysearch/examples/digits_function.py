"""The digits again, as a function: a plain training loop that reports to Ray Tune.

raysearch launch digits --set trainable=raysearch.examples.digits_function:train
"""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

from ray import tune

from raysearch.examples.digits import problem
from raysearch.examples.training import Training


def train(config: dict[str, Any]) -> None:
    """Trains until it is stopped; reports each epoch, with a checkpoint to go on from."""
    training = Training(problem(), config)
    first = 1
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            training.restore(folder)
            first = json.loads((Path(folder) / "epoch.json").read_text()) + 1
    for epoch in itertools.count(first):
        metrics = training.iterate()
        with tempfile.TemporaryDirectory() as folder:
            training.save(folder)
            (Path(folder) / "epoch.json").write_text(json.dumps(epoch))
            tune.report({"epoch": epoch, **metrics}, checkpoint=tune.Checkpoint.from_directory(folder))
