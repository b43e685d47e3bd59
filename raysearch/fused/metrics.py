"""Metrics of models, averaged over batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from raysearch.errors import TrainableError
from raysearch.fused.contract import Describes, Report
from raysearch.fused.data import Batch, Data, mapped, part_of


def metrics_of(learner: Describes, model: Any, batch: Batch) -> dict[str, Any]:
    """The result of the learner's `metrics`, as a dict.

    Raises:
        TrainableError: it returned no mapping, or has a metric named as the loss of training is.
    """
    found = learner.metrics(model, batch)
    if not isinstance(found, Mapping):
        raise TrainableError(f"metrics returned a {type(found).__name__}: return a dict of name -> tensor")
    if "train_loss" in found:
        raise TrainableError("metrics: train_loss is reported already; give this one another name")
    return dict(found)


def judged(learner: Describes, data: Data, metrics: Callable[[Batch], Mapping[str, Tensor]]) -> list[Report]:
    """Each model's metrics over the validation examples, and over the test examples where there are any.

    Those of the test examples begin with `test_`, in place of `val_` where they have that.
    """
    reports = _averaged(learner, data.validation, data.validation_size, metrics)
    if data.test is not None:
        tested = _averaged(learner, data.test, data.test_size, metrics)
        for report, more in zip(reports, tested, strict=True):
            report |= {f"test_{name.removeprefix('val_')}": value for name, value in more.items()}
    return reports


def _averaged(
    learner: Describes, examples: Batch, size: int, metrics: Callable[[Batch], Mapping[str, Tensor]]
) -> list[Report]:
    averages = Averages(learner.paired)
    for first in range(0, size, learner.evaluate_at_once):
        stop = min(size, first + learner.evaluate_at_once)
        before = _versions(examples)
        found = metrics(part_of(examples, first, stop))
        if _versions(examples) != before:
            raise TrainableError(
                "metrics changes the examples it is given in place (as mul_ and relu_ do), and every trial "
                "is judged by them: work on copies"
            )
        averages.add(found, stop - first)
    return averages.reports()


def _versions(examples: Batch) -> list[int]:
    """How often each tensor was changed in place."""
    found: list[int] = []
    mapped(lambda t: found.append(0 if t.is_inference() else t._version), examples)
    return found


class Averages:
    """Means of metrics over batches, weighted by their sizes; values of examples are kept where needed."""

    def __init__(self, paired: Mapping[str, int]) -> None:
        self._paired = paired
        self._sums: dict[str, Tensor] = {}
        self._values: dict[str, list[Tensor]] = {name: [] for name in paired}
        self._count = 0

    def add(self, metrics: Mapping[str, Tensor], examples: int) -> None:
        """One batch: metric -> (models,) means or (models, examples, ...) values."""
        for name, value in metrics.items():
            if not isinstance(value, Tensor):
                raise TrainableError(f"metrics: {name} is a {type(value).__name__}, not a tensor")
            flat = value.float().flatten(1) if value.dim() > 1 else value.float().unsqueeze(1)
            mean = flat.mean(1)
            self._sums[name] = self._sums.get(name, torch.zeros_like(mean)) + mean * examples
            if name in self._values:
                self._values[name].append(flat)
        self._count += examples

    def reports(self) -> list[Report]:
        """metric -> number for each model, with `NAME_parts` where the learner pairs NAME."""
        names = list(self._sums)
        means = (torch.stack([self._sums[name] for name in names], 1) / self._count).tolist()
        reports: list[Report] = [dict(zip(names, row, strict=True)) for row in means]
        for name, values in self._values.items():
            if values:
                groups = torch.cat(values, 1).tensor_split(self._paired[name], dim=1)
                parts = torch.stack([g.mean(1) for g in groups if g.shape[1]], 1).tolist()
                for report, row in zip(reports, parts, strict=True):
                    report[f"{name}_parts"] = dict(enumerate(row))
        return reports


def check_loss(loss: Any) -> None:
    """Raises TrainableError unless it is one number."""
    if isinstance(loss, torch.Tensor) and not loss.dim():
        return
    got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
    raise TrainableError(f"loss returned {got}: it must be one number, a tensor without dimensions")
