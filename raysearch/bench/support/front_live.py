"""A live task of several objectives: networks on scikit-learn's digits, really trained.

Objectives are the validation loss, the number of parameters, and the measured latency of one image, which is
that of this machine at the time. A training costs its epochs.
"""

from __future__ import annotations

import copy
import itertools
import time
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

from raysearch.core.segment import Config, Outcome, Segment, Status
from raysearch.executors.simulated import Table
from raysearch.space.limits import Limit
from raysearch.space.objectives import Objectives
from raysearch.space.space import Space

SPACE = {
    "lr": {"loguniform": [1e-3, 1.0]},
    "momentum": {"uniform": [0.0, 0.99]},
    "layers": {"randint": [1, 3]},
    "width": {"lograndint": [4, 256]},
    "batch": {"choice": [16, 32, 64, 128]},
}
EPOCHS = 9
TRAINED = 1200  # images; the others are for validation
TIMINGS = 30  # of the latency, whose median counts
LATENCY_MS = 0.05  # the limit


class DigitsTask:
    """Networks on digits; see the module. The same configuration is trained alike, but for its latency."""

    def __init__(self, seed: int = 0) -> None:
        """`seed`: of fresh models and of the order of the images."""
        torch.set_num_threads(1)
        self.name, self.epochs, self.full_cost = "digits", EPOCHS, float(EPOCHS)
        self.table: Table | None = None
        self.space = Space.from_dict(SPACE)
        self.goals = Objectives({"loss": "min", "parameters": "min", "latency_ms": "min"})
        digits = load_digits()
        self._x, self._y = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target)
        self._seed = seed
        self._models: dict[int, tuple[Any, Any]] = {}

    def limited(self, share: float) -> DigitsTask:
        """The loss alone, within a latency; `share` is not used, as no table tells what it would be."""
        other = copy.copy(self)
        other.goals = Objectives({"loss": "min"}, (Limit(f"latency_ms <= {LATENCY_MS}"),))
        other._models = {}
        return other

    def train(self, segment: Segment) -> Outcome:
        """Trains a fresh model, or that of the parent, through the segment's epochs."""
        config, epochs = segment.config, segment.stop - segment.start
        model, optimizer = self._begun(segment)
        curve: dict[str, list[float]] = {name: [] for name in ("loss", "parameters", "latency_ms")}
        for epoch in range(segment.start, segment.stop):
            order = torch.randperm(TRAINED, generator=torch.Generator().manual_seed(31 * self._seed + epoch))
            for batch in order.split(config["batch"]):
                optimizer.zero_grad()
                cross_entropy(model(self._x[batch]), self._y[batch]).backward()
                optimizer.step()
            with torch.no_grad():
                loss = cross_entropy(model(self._x[TRAINED:]), self._y[TRAINED:]).item()
                curve["latency_ms"].append(self._latency_ms(model))
            curve["loss"].append(loss)
            curve["parameters"].append(float(sum(p.numel() for p in model.parameters())))
        self._models[segment.id] = model, optimizer
        status = Status.COMPLETED if np.isfinite(curve["loss"]).all() else Status.DIVERGED
        return Outcome(segment, status, curve, f"c{segment.id}", float(epochs))

    def _begun(self, segment: Segment) -> tuple[Any, Any]:
        """The model that a segment goes on with, and its optimizer; a fresh one at iteration 0."""
        if segment.parent is not None and segment.start:
            model, optimizer = copy.deepcopy(self._models[segment.parent])
            return model, optimizer
        return self._fresh(segment.config)

    def _fresh(self, config: Config) -> tuple[Any, Any]:
        torch.manual_seed(self._seed)
        sizes = [64, *[config["width"]] * config["layers"]]
        parts: list[Any] = []
        for before, after in itertools.pairwise(sizes):
            parts += [torch.nn.Linear(before, after), torch.nn.ReLU()]
        model = torch.nn.Sequential(*parts, torch.nn.Linear(sizes[-1], 10))
        return model, torch.optim.SGD(model.parameters(), config["lr"], momentum=config["momentum"])

    def _latency_ms(self, model: Any) -> float:
        """The median time of one image."""
        image, taken = self._x[:1], []
        for _ in range(TIMINGS):
            began = time.perf_counter()
            model(image)
            taken.append(time.perf_counter() - began)
        return float(np.median(taken)) * 1e3
