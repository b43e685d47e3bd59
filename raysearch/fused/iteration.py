"""What training one model and training many share: the plan of an iteration, the update, the averages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from raysearch.core.values import is_number
from raysearch.errors import TrainableError
from raysearch.fused import rng
from raysearch.fused.data import Batch, Data, mapped, part_of
from raysearch.fused.optimizers import Rule
from raysearch.fused.packed_state import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

Config = Mapping[str, Any]
Report: TypeAlias = dict[str, Any]
LR = "lr"
WHERE = "numpy.where(steps < 3, 1.0, 0.1), for one"


class Describes(Protocol):
    """What a Learner says of one model."""

    steps: int | None
    drop_last: bool
    evaluate_at_once: int
    paired: Mapping[str, int]
    precision: str
    compile: bool | str

    def model(self, config: Config) -> nn.Module: ...
    def loss(self, model: Any, batch: Any, config: Config) -> Tensor: ...
    def metrics(self, model: Any, batch: Any) -> Mapping[str, Tensor]: ...
    def optimizer(self, config: Config) -> Rule: ...
    def schedule(self, steps: NDArray[np.int64], config: Config) -> Any: ...
    def clip(self, config: Config) -> float | None: ...
    def ema(self, config: Config) -> float | None: ...
    def batch_size_of(self, config: Config) -> int: ...


@dataclass(slots=True)
class Member:
    """One model in training, as far as numbers go; its weights are in a row.

    Attributes:
        at: iterations trained.
    """

    seed: int
    config: Config
    at: int
    rule: Rule
    batch_size: int
    clip: float | None
    ema: float | None

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the vectors beside the parameters."""
        return (*self.rule.slots, *(("ema",) if self.ema is not None else ()))


def member(learner: Describes, config: Config, seed: int, at: int = 0) -> Member:
    """A member for this configuration.

    Its schedule is asked once, so that what is wrong with it is this model's fault and not its pack's.

    Raises:
        SpecError: the configuration names no optimizer that there is, or gives it what it cannot take.
        TrainableError: a batch size below 1, no schedule or rule, a norm, decay or seed out of its range.
    """
    if not -(2**63) <= seed < 2**63:
        raise TrainableError(f"seed: {seed} must be less than 2^63, and no less than -2^63")
    _scales(learner, np.zeros(2, dtype=np.int64), config)
    rule, clip, ema = learner.optimizer(config), learner.clip(config), learner.ema(config)
    if not isinstance(rule, Rule):
        raise TrainableError(
            f"optimizer returned a {type(rule).__name__}: return a rule of raysearch.torch (SGD, Adam, "
            "AdamW, Lion), or one derived from raysearch.torch.Rule"
        )
    if clip is not None and (not is_number(clip) or not clip >= 0):
        raise TrainableError(f"clip_norm: {clip!r} must be a number, 0 (no limit) or more")
    if ema is not None and (not is_number(ema) or not 0 <= ema < 1):
        raise TrainableError(f"ema_decay: {ema!r} must be a number, at least 0 and below 1")
    size = learner.batch_size_of(config)
    if size < 1:
        raise TrainableError(f"batch_size: {size} must be at least 1")
    return Member(seed, config, at, rule, size, clip, ema)


def steps_of(learner: Describes, batch_size: int, examples: int) -> int:
    """Optimizer steps in an iteration: `learner.steps`, or one pass over the examples."""
    if learner.steps is not None:
        return learner.steps
    return max(1, examples // batch_size) if learner.drop_last else -(-examples // batch_size)


class Moment(NamedTuple):
    """What changes from step to step.

    Attributes:
        examples: (models, size) numbers of the examples.
        key: (models,) of the draws.
        rate: (models, 1) learning rates.
        taken: (models, 1) steps taken, this one included.
    """

    examples: Tensor
    key: Tensor
    rate: Tensor
    taken: Tensor


@dataclass(slots=True)
class Plan:
    """All that an iteration of some models needs besides their weights.

    Attributes:
        numbers: (models, examples) which examples, batch after batch.
        keys: (steps, models) of the draws.
        rates: (steps, models, 1) learning rates.
        hyper: the rule's other hyper-parameters, (models, 1) each.
        taken: (models, 1) steps taken before, in double precision.
        clip: (models, 1) largest norm of a gradient; None where no model clips.
        ema: (models, 1) decay of the averaged weights; None where none are kept.
    """

    steps: int
    batch_size: int
    numbers: Tensor
    keys: Tensor
    rates: Tensor
    hyper: dict[str, Tensor]
    taken: Tensor
    clip: Tensor | None
    ema: Tensor | None

    def moments(self, first: int, stop: int) -> list[Moment]:
        """What each step has of its own, for models `first` to `stop` - 1."""
        own = slice(first, stop)
        step = torch.arange(1, self.steps + 1, device=self.taken.device).view(-1, 1, 1)
        batches = self.numbers[own].split(self.batch_size, 1)
        columns = (self.keys[:, own], self.rates[:, own], self.taken[own] + step)
        return [Moment(*each) for each in zip(batches, *(c.unbind() for c in columns), strict=True)]

    def padded(self, models: int) -> Plan:
        """The same for rows of nobody as well, up to so many: as the first model's, at rates of 0."""
        have = self.numbers.shape[0]
        places = torch.arange(models, device=self.numbers.device)
        places[have:] = 0
        rates = self.rates.index_select(1, places)
        rates[:, have:] = 0
        return replace(
            self,
            numbers=self.numbers[places],
            keys=self.keys.index_select(1, places),
            rates=rates,
            hyper={name: column[places] for name, column in self.hyper.items()},
            taken=self.taken[places],
            clip=None if self.clip is None else self.clip[places],
            ema=None if self.ema is None else self.ema[places],
        )


def make_plan(learner: Describes, members: Sequence[Member], data: Data, device: torch.device) -> Plan:
    """The plan of the members' next iteration."""
    size = members[0].batch_size
    steps = steps_of(learner, size, data.train_size)
    count = min(data.train_size, steps * size) if learner.steps is None else steps * size
    orders = [rng.order(m.seed, m.at, data.train_size, count) for m in members]
    numbers = np.stack(orders, dtype=np.int32, casting="same_kind")  # 0.8 GB for 4096 models, 50,000 each
    before = np.array([m.at * steps for m in members], dtype=np.int64)
    all_steps = before[None, :] + np.arange(steps, dtype=np.int64)[:, None]
    keys = rng.keys(np.array([m.seed for m in members], dtype=np.int64), all_steps)
    scales = [_scales(learner, all_steps[:, i], m.config) for i, m in enumerate(members)]
    hyper = [m.rule.numbers for m in members]
    columns = {name: [each[name] for each in hyper] for name in hyper[0]}
    rates = np.stack(scales, axis=1) * np.array(columns.pop(LR))
    clips = [m.clip for m in members]
    emas = [m.ema for m in members]
    return Plan(
        steps=steps,
        batch_size=size,
        numbers=torch.from_numpy(numbers).to(device),
        keys=torch.from_numpy(keys).to(device),
        rates=_column(rates, device),
        hyper={name: _column(values, device) for name, values in columns.items()},
        taken=torch.from_numpy(before).to(device=device, dtype=torch.float64).unsqueeze(-1),
        clip=_column([c if c else np.inf for c in clips], device) if any(clips) else None,
        ema=_column(emas, device) if emas[0] is not None else None,
    )


def _scales(learner: Describes, steps: NDArray[np.int64], config: Config) -> NDArray[np.float64]:
    try:
        found = learner.schedule(steps, config)
    except ValueError as error:
        if "truth value" not in str(error):
            raise
        raise TrainableError(
            f"schedule: {error}. It is asked for many steps at once, an array: {WHERE}"
        ) from None
    if found is not None:  # which would be no number, as an array
        with contextlib.suppress(TypeError, ValueError):
            return np.broadcast_to(np.asarray(found, dtype=np.float64), steps.shape)
    raise TrainableError(
        f"schedule returned a {type(found).__name__} of shape {np.shape(found)} for {len(steps)} steps: "
        f"return a number, or one for each step: {WHERE}"
    )


def _column(values: Any, device: torch.device) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32, device=device).unsqueeze(-1)


@dataclass(frozen=True, slots=True)
class State:
    """Some models' rows: parameters, gradients and scratch (models, P), and the vectors beside them."""

    parameters: Tensor
    gradients: Tensor
    room: Tensor
    vectors: Mapping[str, Tensor]


def update(rows: Rows, rule: Rule, plan: Plan, moment: Moment) -> None:
    """Moves all rows along their gradients, each by its own hyper-parameters."""
    state = State(rows.parameters, rows.gradients, rows.room, rows.vectors)
    moved(rule, state, {**plan.hyper, LR: moment.rate}, moment.taken, plan.clip, plan.ema)


@torch.no_grad()
def moved(
    rule: Rule,
    state: State,
    hyper: Mapping[str, Tensor],
    taken: Tensor,
    clip: Tensor | None,
    ema: Tensor | None,
) -> None:
    """Moves models along their gradients; `hyper` are columns (models, 1), `taken` counts this step too."""
    parameters, gradients = state.parameters, state.gradients
    if clip is not None:
        norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
        gradients.mul_((clip / (norms + 1e-6)).clamp(max=1.0))
    slots = {name: state.vectors[name] for name in rule.slots}
    rule.update(parameters, gradients, slots, SimpleNamespace(**hyper), taken, state.room)
    if ema is not None:
        state.vectors["ema"].lerp_(parameters, (1 - ema).expand_as(parameters))


def metrics_of(learner: Describes, model: Any, batch: Batch) -> dict[str, Any]:
    """What the learner's `metrics` returns, as a dict.

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
