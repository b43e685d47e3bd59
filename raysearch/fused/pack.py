"""A pack: models of one structure that train together, a row each.

Models join and leave between two iterations. All of them train in one vectorised step; each has its own
hyper-parameters, seed, age and order of examples, and what one does changes nothing for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from raysearch.fused.batches import Data, chosen
from raysearch.fused.engine import Engine, Inputs
from raysearch.fused.memory import free_bytes, peak_bytes
from raysearch.fused.rows import Layout, Row, Rows
from raysearch.fused.stepping import (
    Describes,
    Member,
    Plan,
    Report,
    judged,
    make_plan,
    update,
)
from raysearch.fused.structure import Lifting, Structure

ROOM_AT_FIRST = 8
FEW = 2  # models that take less time one after the other than vectorised
_NO_MEMORY = ("out of memory", "can't allocate memory")


@dataclass(slots=True)
class _Iteration:
    """An iteration under way.

    Attributes:
        losses: (models,) sums of the losses of the steps.
        failed: what went wrong, by the model's place.
    """

    plan: Plan
    losses: Tensor
    failed: dict[int, Exception] = field(default_factory=dict)


class Pack:
    """Some models in training. `members[i]` is what row i trains.

    Attributes:
        width: how many models one vectorised step takes at most; halved when memory runs out.
        ran_out: memory has run out here.
        trouble: the last error for which models had to be taken apart, in words; empty if there was none.
    """

    def __init__(
        self,
        learner: Describes,
        data: Data,
        device: torch.device,
        form: nn.Module,
        structure: Structure,
        member: Member,
        lifting: Lifting,
    ) -> None:
        """An empty pack for models that are like `form` under the member's configuration."""
        self._learner, self._data, self._device = learner, data, device
        self._form = form.to(device)
        self.layout = Layout(form)
        self._engine = Engine(learner, form, self.layout, structure, member.config, lifting.refused)
        self._rule = member.rule
        self.members: list[Member] = []
        self._lifted: list[list[float]] = []
        self._peak_before = peak_bytes(device)
        self._rows = Rows(self.layout, member.vectors, ROOM_AT_FIRST, device)
        self._structure = structure
        self.width = 1 << 30
        self.ran_out = False
        self.trouble = ""

    def __len__(self) -> int:
        return len(self.members)

    def fits(self, models: int) -> bool:
        """True if there is memory for so many models, as far as what it has used so far tells.

        Counted is twice what it would take: others on this machine grow too.
        """
        free = free_bytes(self._device)
        if free is None or not self.members:
            return True
        used = max(self._rows.nbytes, peak_bytes(self._device) - self._peak_before)
        return free > 2 * used * models / len(self.members)

    # ---- joining and leaving

    def join(self, member: Member, row: Row, lifted: list[float]) -> None:
        """One more model, with its `lifted_values`. Raises what torch raises where memory runs out."""
        at = len(self.members)
        if at == self._rows.capacity:
            if not self.fits(2 * at):
                raise MemoryError(f"no memory for more than {at} models")
            self._rows = self._rows.grown(2 * at)
        self._rows.put(at, row)
        self.members.append(member)
        self._lifted.append(lifted)

    def take(self, places: Sequence[int]) -> list[Row]:
        """Copies of the models at these places, on the CPU."""
        return self._rows.take(places)

    def leave(self, places: Sequence[int]) -> None:
        """Takes models out; the last ones move into their places."""
        for place in sorted(places, reverse=True):
            last = len(self.members) - 1
            if place != last:
                self._rows.move(last, place)
                self.members[place], self._lifted[place] = self.members[last], self._lifted[last]
            self.members.pop()
            self._lifted.pop()

    # ---- training

    def iterate(self) -> list[Report | Exception]:
        """Trains every model for one iteration; its metrics, or what went wrong with it, in their order.

        `train_loss` is the mean loss of the iteration's steps. A model that failed is to be taken out.
        """
        plan = make_plan(self._learner, self.members, self._data, self._device)
        run = _Iteration(plan, torch.zeros(len(self), device=self._device))
        reports: list[Report | Exception] = [{} for _ in self.members]
        width = self.width if len(self) > FEW else 1
        for first in range(0, len(self), width):
            stop = min(len(self), first + width)
            self._train(run, first, stop, 0)
            self._judge(reports, first, stop)
        for place, loss in enumerate((run.losses / plan.steps).tolist()):
            self.members[place].at += 1
            report = reports[place]
            if not isinstance(report, Exception):
                reports[place] = {"train_loss": loss, **report}
        return [run.failed.get(place, report) for place, report in enumerate(reports)]

    def strictly(self) -> list[Report] | Exception:
        """One iteration of all models in one piece; what goes wrong ends it and is returned."""
        plan = make_plan(self._learner, self.members, self._data, self._device)
        run = _Iteration(plan, torch.zeros(len(self), device=self._device))
        try:
            self._engine.train()
            inputs = self._inputs(0, len(self), trained=True)
            for step in range(plan.steps):
                self._step(run, inputs, step, 0, len(self))
            reports = self._metrics(0, len(self))
        except Exception as error:  # noqa: BLE001  (this is asked in order to see what is raised)
            return error
        for each in self.members:
            each.at += 1
        losses = (run.losses / plan.steps).tolist()
        return [{"train_loss": loss, **report} for loss, report in zip(losses, reports, strict=True)]

    def _train(self, run: _Iteration, first: int, stop: int, step: int) -> None:
        """The steps from `step` on. Where one goes wrong, nothing has moved: halves go on from there."""
        try:
            self._engine.train()
            inputs = self._inputs(first, stop, trained=True)
            for _ in range(step, run.plan.steps):
                self._step(run, inputs, step, first, stop)
                step += 1
            return
        except Exception as error:  # noqa: BLE001  (the user's loss may raise anything)
            if stop - first == 1:
                run.failed[first] = error
                return
            self._note(error, stop - first)
        middle = (first + stop) // 2
        self._train(run, first, middle, step)
        self._train(run, middle, stop, step)

    def _step(self, run: _Iteration, inputs: Inputs, step: int, first: int, stop: int) -> None:
        batch = chosen(self._data.train, run.plan.batch(step, first, stop))
        kept = [value.clone() for value in inputs.kept]
        try:
            losses = self._engine.losses(inputs, run.plan.keys[step, first:stop], batch)
            found = torch.autograd.grad(
                losses.sum(), list(inputs.weights), allow_unused=True, materialize_grads=True
            )
        except Exception:
            for value, before in zip(inputs.kept, kept, strict=True):  # a batch norm may have seen the batch
                value.copy_(before)
            raise
        self._rows.put_gradients(first, stop, found)
        update(self._rows, self._rule, run.plan, step, first, stop)
        run.losses[first:stop] += losses.detach()

    def _judge(self, reports: list[Report | Exception], first: int, stop: int) -> None:
        try:
            reports[first:stop] = self._metrics(first, stop)
            return
        except Exception as error:  # noqa: BLE001  (the user's metrics may raise anything)
            if stop - first == 1:
                reports[first] = error
                return
            self._note(error, stop - first)
        middle = (first + stop) // 2
        self._judge(reports, first, middle)
        self._judge(reports, middle, stop)

    def _metrics(self, first: int, stop: int) -> list[Report]:
        inputs = self._inputs(first, stop, trained=False)
        return judged(self._learner, self._data, lambda batch: self._engine.metrics(inputs, batch))

    def _inputs(self, first: int, stop: int, *, trained: bool) -> Inputs:
        """What differs from row to row; for the metrics, averaged weights where there are some."""
        source = None if trained else self._rows.vectors.get("ema")
        weights = list(self._rows.leaves(first, stop, source).values())
        if trained:
            weights = [value.detach().requires_grad_() for value in weights]
        names = self._engine.number_names
        numbers = [[float(m.config[name]) for name in names] for m in self.members[first:stop]]
        return Inputs(
            weights,
            list(self._rows.kept_of(first, stop).values()),
            torch.tensor(self._lifted[first:stop], device=self._device),
            torch.tensor(numbers, device=self._device),
        )

    def _note(self, error: Exception, models: int) -> None:
        if is_out_of_memory(error):
            self.width, self.ran_out = max(1, models // 2), True
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        else:
            self.trouble = f"{type(error).__name__}: {error}"


def is_out_of_memory(error: BaseException) -> bool:
    """True if it says that memory ran out, on a GPU or not."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)
