"""One model in training by itself, with the same numbers as in a pack."""

from __future__ import annotations

import contextlib
import copy
import zlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from raysearch.core import values
from raysearch.errors import TrainableError
from raysearch.fused.contract import Config, Describes, PackMember, Report
from raysearch.fused.data import Data, chosen, mapped
from raysearch.fused.member import member
from raysearch.fused.metrics import check_loss, judged, metrics_of
from raysearch.fused.optimizers import LR
from raysearch.fused.packed_state import ModelRow, RowLayout, Rows
from raysearch.fused.plan import IterationPlan, Moment, make_plan
from raysearch.fused.rng import drawing
from raysearch.fused.torch_overrides import Replacing
from raysearch.fused.update import ModelRows, moved


def fresh(learner: Describes, config: Config, seed: int) -> nn.Module:
    """The model as it begins: its first weights are drawn from the seed.

    Raises:
        TrainableError: `model` returned something else, or a model that has nothing to train.
    """
    with _seeded(seed):
        model = learner.model(values.fresh(dict(config)))  # its own, also where it takes entries out
    if not isinstance(model, nn.Module):
        raise TrainableError(f"model returned a {type(model).__name__}: it must be a torch.nn.Module")
    if not any(p.requires_grad for p in model.parameters()):
        raise TrainableError("model returned a module without parameters to train")
    return model


def form_of(learner: Describes, config: Config) -> nn.Module:
    """A model to put weights of others into: a copy, as `model` may hand out parts that are shared."""
    model = fresh(learner, config, 0)
    try:
        return copy.deepcopy(model)
    except Exception:  # noqa: BLE001  (a module may hold what cannot be copied; then it is used itself)
        return model


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Inside, torch's own generators of the CPU, and of a GPU, begin with this seed."""
    has_gpu = device is not None and device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if has_gpu else []):
        torch.default_generator.manual_seed(seed)
        if has_gpu:
            torch.cuda.manual_seed(seed)
        yield


class Alone:
    """A model, its row and its age. The module's parameters are views of the row."""

    def __init__(
        self, learner: Describes, data: Data, device: torch.device, config: Config, seed: int
    ) -> None:
        """A fresh model, before its first iteration."""
        self._learner, self._data, self._device = learner, data, device
        self.member: PackMember = member(learner, config, seed)
        self.module = fresh(learner, config, seed).to(device)
        self.layout = RowLayout(self.module)
        self._rows = Rows(self.layout, self.member.vectors, 1, device)
        self._rows.put(0, self.layout.row_of(self.module))
        self._parameters = dict(self.module.named_parameters())
        self._bind(self._rows.parameters)

    def iterate(self) -> Report:
        """Trains for one iteration; `train_loss` and the metrics after it."""
        plan = make_plan(self._learner, [self.member], self._data, self._device)
        total = torch.zeros((), device=self._device)
        self.module.train()
        for step, moment in enumerate(plan.moments(0, 1)):
            drawn = zlib.crc32(f"{self.member.seed}:{self.member.at}:{step}".encode())
            with _seeded(drawn, self._device):  # for kernels that draw by themselves
                total += self._step(plan, moment)
        report = self._judged()
        self.member.at += 1
        return {"train_loss": total.item() / plan.steps, **report}

    def row(self) -> ModelRow:
        """A copy of its state."""
        row = self._rows.take([0])[0]
        row.kept = self.layout.row_of(self.module).kept
        return row

    @torch.no_grad()
    def put(self, row: ModelRow, at: int, seed: int | None = None) -> None:
        """Goes on from this state, `at` iterations old."""
        self._rows.put(0, row)
        for name, value in (*self.module.named_buffers(), *self.module.named_parameters()):
            if name in row.kept:
                value.copy_(row.kept[name])
        self.member.at = at
        if seed is not None:
            self.member.seed = seed

    def _step(self, plan: IterationPlan, moment: Moment) -> torch.Tensor:
        batch = mapped(lambda t: t[0], chosen(self._data.train, moment.examples))
        leaves = [self._parameters[part.name] for part in self.layout.parts]
        with drawing(moment.key[0]), Replacing(), self._half():
            loss = self._learner.loss(self.module, batch, self.member.config)
            check_loss(loss)
        found = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        self._rows.put_gradients(0, 1, [gradient.unsqueeze(0) for gradient in found])
        rows = self._rows
        state = ModelRows(rows.parameters, rows.gradients, rows.room, rows.vectors)
        hyper = {**plan.hyper, LR: moment.rate}
        moved(self.member.rule, state, hyper, moment.taken, plan.clip, plan.ema)
        return loss.detach()

    @torch.no_grad()
    def _judged(self) -> Report:
        self.module.eval()
        averaged = self._rows.vectors.get("ema")
        if averaged is not None:
            self._bind(averaged)
        try:
            return judged(self._learner, self._data, self._metrics)[0]
        finally:
            if averaged is not None:
                self._bind(self._rows.parameters)

    def _metrics(self, batch: Any) -> dict[str, Any]:
        with Replacing(), self._half():
            found = metrics_of(self._learner, self.module, batch)
        return {k: v.unsqueeze(0) if isinstance(v, torch.Tensor) else v for k, v in found.items()}

    def _half(self) -> Any:
        half = self._learner.precision == "bfloat16"
        return torch.autocast(self._device.type, torch.bfloat16) if half else contextlib.nullcontext()

    def _bind(self, rows: torch.Tensor) -> None:
        for name, view in self._rows.leaves(0, 1, rows).items():
            self._parameters[name].data = view[0]
