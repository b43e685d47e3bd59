"""A pack: models of one structure that train together, a row each.

Models join and leave between two iterations. All of them train in one vectorised step; each has its own
hyper-parameters, seed, age and order of examples, and models do not affect each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from raysearch.core.error_text import in_words
from raysearch.core.library_errors import is_out_of_memory
from raysearch.fused.contract import Describes, PackMember, Report
from raysearch.fused.data import Data
from raysearch.fused.evaluation import Judge
from raysearch.fused.memory import Meter, free_bytes, let_go
from raysearch.fused.metrics import judged
from raysearch.fused.pack_width import Width
from raysearch.fused.packed_state import ModelRow, RowLayout, Rows
from raysearch.fused.plan import IterationPlan, make_plan
from raysearch.fused.step import StepBlock, step_by
from raysearch.fused.step_timer import Stopwatch
from raysearch.fused.structure import Lifting, Structure
from raysearch.fused.traced_shapes import Traces
from raysearch.fused.traced_step import Steps, Unfit, rounded
from raysearch.fused.vmap_engine import Engine, Inputs

JUDGED = 16  # models whose metrics are computed together on a CPU
FEW = 2  # up to so many models run faster one after the other than vectorised
HEAVY_S = 0.004  # a step: beyond it the time goes into computing, not into what a list of operations saves


@dataclass(slots=True)
class _Iteration:
    """An iteration under way.

    Attributes:
        losses: (models,) sums of the losses of the steps.
        failed: what went wrong, by the model's place.
    """

    plan: IterationPlan
    losses: Tensor
    failed: dict[int, Exception] = field(default_factory=dict)


class Pack:
    """Some models in training. `members[i]` is what row i trains.

    Attributes:
        width: how many models one vectorised step takes at most; halved when memory runs out.
        ran_out: memory has run out here.
        trouble: the last error after which models trained one at a time, in words; empty if there was none.
    """

    def __init__(
        self,
        learner: Describes,
        data: Data,
        device: torch.device,
        form: nn.Module,
        structure: Structure,
        member: PackMember,
        lifting: Lifting,
        traces: Traces | None = None,
    ) -> None:
        """An empty pack for models that are like `form` under the member's configuration.

        Args:
            traces: what other packs of this structure have found out about their steps.
        """
        self._learner, self._data, self._device = learner, data, device
        self._form = form.to(device)
        self.layout = RowLayout(form)
        self._engine = Engine(learner, form, self.layout, structure, member.config, lifting.refused)
        self._plain_step = step_by(self._engine, member.rule, data.train)
        self._traces = Traces() if traces is None else traces
        self._traces.steps.compile = learner.compile
        self.members: list[PackMember] = []
        self._lifted: list[list[float]] = []
        self._rows = Rows(self.layout, member.vectors, 1, device)
        self._meter = Meter(device)
        self._step_s = 0.0  # the quickest one of the last iteration, once they run as lists
        self.width = self._judging = 1 << 30
        self.ran_out = False
        self.trouble = ""

    def __len__(self) -> int:
        return len(self.members)

    @property
    def refused(self) -> str:
        """Why steps run as written and not as a list of operations, in words; empty if they run as a list."""
        return self._traces.steps.refused

    @property
    def uncompiled(self) -> str:
        """Why steps are not compiled though the learner asks for it, in words; empty otherwise."""
        return self._traces.steps.uncompiled

    def fits(self, models: int) -> bool:
        """True if there is memory for so many models, judged by its use so far.

        Counted is twice what it would take: others on this machine grow too.
        """
        free = free_bytes(self._device)
        if free is None or not self.members:
            return True
        each = self._rows.nbytes / self._rows.capacity + self._meter.most / len(self.members)
        return free > 2 * each * models

    # ---- joining and leaving

    def join(self, member: PackMember, row: ModelRow, lifted: list[float]) -> None:
        """Adds a model, with its `lifted_values`. Raises torch's error where memory runs out."""
        at = len(self.members)
        if at == self._rows.capacity:
            if not self.fits(rounded(at + 1)):
                raise MemoryError(f"no memory for more than {at} models")
            self._rows = self._rows.grown(rounded(at + 1))
        self._rows.put(at, row)
        self.members.append(member)
        self._lifted.append(lifted)

    def take(self, places: Sequence[int]) -> list[ModelRow]:
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

    def iterate(self, ways: Width | None = None) -> list[Report | Exception]:
        """Trains every model for one iteration; returns the metrics or the error of each, in order.

        `train_loss` is the mean loss of the iteration's steps. A model that failed is to be taken out.

        Args:
            ways: how many models a step should take; gets the measured times of the steps.
        """
        ways, known = ways or Width(settled=True), self._traces.steps.any
        self._meter.begin()
        spare = self._spare(self._width(ways))
        plan = make_plan(self._learner, self.members, self._data, self._device)
        if spare:
            plan = plan.padded(len(self) + spare)
        run = _Iteration(plan, torch.zeros(len(self) + spare, device=self._device))
        at = 0
        while at < plan.steps:
            stretch = ways.stretch(len(self))
            until = min(plan.steps, at + stretch) if stretch else plan.steps
            seconds = self._train_all(run, self._width(ways), at, until, spare)
            if math.isfinite(seconds):
                self._step_s = seconds if known else 0.0
                if stretch:
                    ways.took(len(self), until - at, seconds)
            at = until
        reports: list[Report | Exception] = [{} for _ in self.members]
        at_once = self._judged_at_once(self._width(ways))
        for first in range(0, len(self), at_once):
            self._judge(reports, first, min(len(self), first + at_once))
        self._meter.end(self._rows.nbytes)
        for place, loss in enumerate((run.losses[: len(self)] / plan.steps).tolist()):
            self.members[place].at += 1
            report = reports[place]
            if not isinstance(report, Exception):
                reports[place] = {"train_loss": loss, **report}
        return [run.failed.get(place, report) for place, report in enumerate(reports)]

    def _width(self, ways: Width) -> int:
        few = len(self) <= FEW and not self._traces.steps.any
        return 1 if few else min(self.width, ways.step)

    def _spare(self, width: int) -> int:
        """Padding rows, so that steps come in few batch sizes, where they cost little."""
        if self._traces.steps.refused or self._step_s > HEAVY_S or len(self) > width:
            return 0
        return min(rounded(len(self)), self._rows.capacity) - len(self)

    def strictly(self) -> list[Report] | Exception:
        """One iteration of all models in one piece; returns the error that ended it, if any."""
        plan = make_plan(self._learner, self.members, self._data, self._device)
        run = _Iteration(plan, torch.zeros(len(self), device=self._device))
        try:
            self._engine.train()
            block = self._block(plan, 0, len(self))
            for moment in block.moments():
                run.losses += self._plain_step(block.tensors(), moment)
            reports = self._metrics(0, len(self))
        except Exception as error:  # noqa: BLE001  (this is asked in order to see what is raised)
            return error
        for each in self.members:
            each.at += 1
        losses = (run.losses / plan.steps).tolist()
        return [{"train_loss": loss, **report} for loss, report in zip(losses, reports, strict=True)]

    def _train_all(self, run: _Iteration, width: int, step: int, until: int, spare: int) -> float:
        """Steps `step` to `until` - 1 of all models; seconds of one, as `Stopwatch` has them.

        Infinite where some failed, or there was no whole batch.
        """
        seconds = 0.0
        for first in range(0, len(self), width):
            stop = min(len(self), first + width)
            whole = stop - first == len(self)
            seconds += self._train(run, first, stop, step, until, spare if whole else 0)
        return seconds

    def _train(self, run: _Iteration, first: int, stop: int, step: int, until: int, spare: int = 0) -> float:
        """As `_train_all`. A step that fails changes nothing: the pack goes on from there in halves."""
        try:
            self._engine.train()
            block = self._block(run.plan, first, stop + spare)
            take = Steps(self._traces.steps, block, self._plain_step)
            losses = run.losses[block.first : block.stop]
            kept = [self._rows.kept[name][block.first : block.stop] for name in self.layout.buffers]
            watch = Stopwatch(self._device)
            for _ in range(step, until):
                losses += _safely(take, step, kept)
                step += 1
                watch.step(step * run.plan.batch_size <= run.plan.numbers.shape[1])
            return watch.seconds()
        except Exception as error:  # noqa: BLE001  (the user's loss may raise anything)
            let_go(error)
            if stop - first == 1 and not spare:
                run.failed.setdefault(first, error)
                return math.inf
            if self._ran_out(error):
                self.width, self.ran_out = max(1, (stop - first) // 2), True
        if stop - first == 1:
            self._train(run, first, stop, step, until)
            return math.inf
        middle = (first + stop) // 2
        self._train(run, first, middle, step, until)
        self._train(run, middle, stop, step, until)
        return math.inf

    def _judged_at_once(self, width: int) -> int:
        """A few models on a CPU, so that what is between two operations stays in its cache."""
        few = self._device.type == "cpu" and not self._traces.metrics.refused
        return min(JUDGED if few else width, width, self._judging)

    def _judge(self, reports: list[Report | Exception], first: int, stop: int) -> None:
        try:
            reports[first:stop] = self._metrics(first, stop)
            return
        except Exception as error:  # noqa: BLE001  (the user's metrics may raise anything)
            let_go(error)
            if stop - first == 1:
                reports[first] = error
                return
            if self._ran_out(error):
                self._judging = (stop - first) // 2
        middle = (first + stop) // 2
        self._judge(reports, first, middle)
        self._judge(reports, middle, stop)

    def _metrics(self, first: int, stop: int) -> list[Report]:
        """Of rows `first` to `stop` - 1; of some more too where that makes one of few sizes."""
        models = stop - first
        if not self._traces.metrics.refused:
            stop = min(first + rounded(models), self._rows.capacity)
        lifted, numbers = self._own_numbers(first, stop)
        weights = list(self._rows.leaves(first, stop, self._rows.vectors.get("ema")).values())
        inputs = Inputs(weights, list(self._rows.kept_of(first, stop).values()), lifted, numbers)
        judge = Judge(self._traces.metrics, self._engine, inputs)
        return judged(self._learner, self._data, judge)[:models]

    def _block(self, plan: IterationPlan, first: int, stop: int) -> StepBlock:
        names = tuple(self._engine.number_names)
        return StepBlock(
            self._rows, first, stop, plan, *self._own_numbers(first, stop), names, self._data.train
        )

    def _own_numbers(self, first: int, stop: int) -> tuple[Tensor, Tensor]:
        """(models, ...) lifted values and numbers of the configurations; padding rows have the first's."""
        places = [place if place < len(self) else 0 for place in range(first, stop)]
        names = self._engine.number_names
        numbers = [[float(self.members[place].config[name]) for name in names] for place in places]
        lifted = [self._lifted[place] for place in places]
        return torch.tensor(lifted, device=self._device), torch.tensor(numbers, device=self._device)

    def _ran_out(self, error: Exception) -> bool:
        """True if `error` says that memory ran out; notes any other error."""
        if not is_out_of_memory(error):
            self.trouble = in_words(error)
            return False
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return True


def _safely(take: Steps, step: int, kept: Sequence[Tensor]) -> Tensor:
    """Takes a step; after an error, puts `kept` back, since a batch norm may have changed it."""
    before = [value.clone() for value in kept]
    try:
        return take(step)
    except Exception as error:
        for value, old in zip(kept, before, strict=True):
            value.copy_(old)
        if isinstance(error, Unfit):
            return take(step)
        raise
