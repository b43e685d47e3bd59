"""Whether a Learner's models can be trained together, found out by trying; if not, which module is why."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from raysearch.fused.alone import Alone, fresh
from raysearch.fused.batches import Data, part_of
from raysearch.fused.pack import Pack
from raysearch.fused.stepping import Config, Describes, member
from raysearch.fused.structure import Attribute, Lifting, differing, lifted_values, parting, structure_of
from raysearch.values import is_number

EXAMPLES = 16  # of the training and the validation examples, for a trial of two iterations
TOLERANCE = 1e-3  # largest relative difference between a model in a pack and the same alone
KINDS = 3  # structures that are tried


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether models train together, and what may differ between them.

    Attributes:
        why: for the user, where they do not; or what keeps many of them apart.
    """

    fuses: bool
    lifting: Lifting = dataclasses.field(default_factory=Lifting)
    why: str = ""


class _Failed(Exception):
    """The trial failed: where, and why."""

    def __init__(self, where: str, error: BaseException | str) -> None:
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        super().__init__(f"{where} cannot be trained in a pack ({first_line(text)})")


def examine(learner: Describes, data: Data, configs: Sequence[Config]) -> Verdict:
    """Trains two models each of a few structures together and alone, on a few examples on the CPU.

    Numbers that differ from model to model are tried as tensors; those that are refused as such become
    part of the structure.

    Args:
        configs: some of the search's configurations, at least one.

    Raises:
        whatever the learner's own methods raise for a model alone.
    """
    small = _few(data)
    pairs = _pairs(learner, configs)
    attributes = frozenset().union(*(_numbers_of(learner, pair) for pair in pairs))
    numbers = frozenset(k for c in configs for k, v in c.items() if is_number(v))
    tries = [Lifting(attributes), Lifting(), Lifting(attributes, numbers), Lifting(frozenset(), numbers)]
    first: _Failed | None = None
    for lifting in dict.fromkeys(tries):
        try:
            for pair in pairs:
                _try(learner, small, pair, lifting)
            return Verdict(True, lifting, _remark(lifting, tries[0], _parting(learner, pairs)))
        except _Failed as failed:
            first = first or failed
    return Verdict(False, why=f"models are trained one at a time: {first}")


def _remark(found: Lifting, hoped: Lifting, parting: frozenset[Attribute]) -> str:
    attributes = (hoped.attributes - found.attributes) | parting
    apart = sorted(f"{kind.__name__}.{name}" for kind, name in attributes)
    apart += ["the configuration's numbers in loss"] if found.refused else []
    if not apart:
        return ""
    return f"models train together only where they agree in {', '.join(apart)}, which cannot be a tensor"


def _pairs(learner: Describes, configs: Sequence[Config]) -> list[tuple[Config, Config]]:
    """Two configurations of a structure, for some structures: with other numbers where there are such."""
    groups: dict[Any, list[Config]] = {}
    for config in configs:
        settled = structure_of(fresh(learner, config, 0), member(learner, config, 0), Lifting()).key
        shapes = settled[0] if isinstance(settled, tuple) else settled
        groups.setdefault((shapes, member(learner, config, 0).rule.kind), []).append(config)
    largest = sorted(groups.values(), key=len, reverse=True)[:KINDS]
    return [(group[0], group[-1]) for group in largest]


def _numbers_of(learner: Describes, pair: tuple[Config, Config]) -> frozenset[Attribute]:
    return frozenset(differing(*(fresh(learner, config, 0) for config in pair)))


def _parting(learner: Describes, pairs: Sequence[tuple[Config, Config]]) -> frozenset[Attribute]:
    """What modules keep of a configuration besides numbers, as one does that keeps all of it."""
    models = [[fresh(learner, config, 0) for config in pair] for pair in pairs if pair[0] != pair[1]]
    return frozenset().union(*(parting(*pair) for pair in models))


def _few(data: Data) -> Data:
    train = part_of(data.train, 0, min(EXAMPLES, data.train_size))
    validation = part_of(data.validation, 0, min(EXAMPLES, data.validation_size))
    return Data(train, validation).to(torch.device("cpu"))


@dataclass(frozen=True)
class _Brief:
    """The learner with short iterations."""

    learner: Any
    steps: int = 2

    def batch_size_of(self, config: Config) -> int:
        return min(EXAMPLES // 2, int(self.learner.batch_size_of(config)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.learner, name)


def _try(learner: Describes, data: Data, pair: tuple[Config, Config], lifting: Lifting) -> None:
    """Raises _Failed unless a pack of two gives what both give alone."""
    brief: Any = _Brief(learner)
    cpu = torch.device("cpu")
    ones = [Alone(brief, data, cpu, config, seed) for seed, config in enumerate(pair)]
    models = [fresh(learner, config, seed) for seed, config in enumerate(pair)]
    structures = [structure_of(m, o.member, lifting) for m, o in zip(models, ones, strict=True)]
    if structures[0] != structures[1]:  # then the pair was no pair under this lifting: the first one twice
        pair = (pair[0], pair[0])
        ones[1] = Alone(brief, data, cpu, pair[1], 1)
        models[1] = fresh(learner, pair[1], 1)
    form = fresh(learner, pair[0], 2)
    pack = Pack(brief, data, cpu, form, structures[0], ones[0].member, lifting)
    together: list[Any] | Exception = []
    for config, seed, model in zip(pair, range(2), models, strict=True):  # the second one is younger
        pack.join(member(brief, config, seed), pack.layout.row_of(model), lifted_values(model, structures[0]))
        with _watched(form) as at:
            together = pack.strictly()
        if isinstance(together, Exception):
            raise _Failed(at(), together)
    ones[0].iterate()
    assert not isinstance(together, Exception)
    _compare(ones, pack, together)


def _compare(ones: Sequence[Alone], pack: Pack, together: Sequence[Any]) -> None:
    for one, row, report in zip(ones, pack.take([0, 1]), together, strict=True):
        alone = one.iterate()
        mine = one.row()
        if _distance(mine.parameters, row.parameters) > TOLERANCE:
            raise _Failed(
                "this model", "its weights come out different there; does it keep state of its own?"
            )
        for name, value in mine.kept.items():
            if value.is_floating_point() and _distance(value, row.kept[name]) > TOLERANCE:
                raise _Failed(f"the buffer {name}", "its values come out different there")
        for name, number in alone.items():
            if isinstance(number, float) and abs(number - report[name]) > TOLERANCE * (1 + abs(number)):
                raise _Failed(
                    "this model", f"{name} comes out as {report[name]:g} there, and {number:g} alone"
                )


def _distance(one: Tensor, other: Tensor) -> float:
    """Relative to the larger norm; NaN in both is no distance."""
    if torch.equal(torch.isfinite(one), torch.isfinite(other)) and not torch.isfinite(one).all():
        return 0.0
    scale = max(one.norm().item(), other.norm().item(), 1e-12)
    return float((one - other).norm().item() / scale)


@contextlib.contextmanager
def _watched(form: nn.Module) -> Iterator[Any]:
    """Notes which submodule is at work; what is yielded says where it stopped, in words."""
    stack: list[str] = []
    names = {module: name for name, module in form.named_modules()}

    def enter(module: nn.Module, args: Any) -> None:
        stack.append(f"{names[module] or 'the model'} ({type(module).__name__})")

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        stack.pop()

    hooks = [m.register_forward_pre_hook(enter) for m in form.modules()]
    hooks += [m.register_forward_hook(leave) for m in form.modules()]
    try:
        yield lambda: f"module {stack[-1]}" if stack else "the loss or a metric"
    finally:
        for hook in hooks:
            hook.remove()


def first_line(text: str) -> str:
    """The first line of an error's text, cut where it is long."""
    line = text.strip().splitlines()[0] if text.strip() else "no reason given"
    return line if len(line) <= 200 else f"{line[:200]}..."
