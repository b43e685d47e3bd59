"""Whether a Learner's models can be trained together, found out by trying; if not, which module is why."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from raysearch.core.values import is_number
from raysearch.errors import TrainableError, first_line
from raysearch.fused.contract import Config, Describes
from raysearch.fused.data import Data, mapped, part_of
from raysearch.fused.member import member
from raysearch.fused.optimizers import NAMES, SGD, Rule
from raysearch.fused.pack import Pack
from raysearch.fused.single import Alone, form_of, fresh
from raysearch.fused.structure import Attribute, Lifting, differing, lifted_values, parting, structure_of

EXAMPLES = 16  # of the training and the validation examples, for a trial of two iterations
RATE = 1e-2  # of plain steps by which gradients are compared
TOLERANCE = 1e-3  # largest relative difference between a model in a pack and the same alone
KINDS = 3  # structures that are tried


@dataclass(frozen=True, slots=True)
class FusionVerdict:
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


class _Different(_Failed):
    """Weights are others than those of the same model alone."""


def examine(learner: Describes, data: Data, configs: Sequence[Config]) -> FusionVerdict:
    """Trains two models each of a few structures together and alone, on a few examples on the CPU.

    Numbers that differ from model to model are tried as tensors; those that are refused as such become
    part of the structure.

    Args:
        configs: some of the search's configurations, at least one.

    Raises:
        whatever the learner's own methods raise for a model alone.
    """
    small = _few(data)
    configs = _sound(learner, configs)
    _check_apart(learner, configs[0])
    pairs = _pairs(learner, configs)
    attributes = frozenset().union(*(_numbers_of(learner, pair) for pair in pairs))
    numbers = frozenset(k for c in configs for k, v in c.items() if is_number(v))
    tries = [Lifting(attributes), Lifting(), Lifting(attributes, numbers), Lifting(frozenset(), numbers)]
    first: _Failed | None = None
    for lifting in dict.fromkeys(tries):
        try:
            _try_all(learner, small, pairs, lifting)
        except _Failed as failed:
            first = first or failed
            continue
        if why := _unlike(learner, configs[0], lifting):
            return FusionVerdict(False, why=f"models are trained one at a time: {why}")
        lifting = _fewest(learner, small, pairs, lifting)
        return FusionVerdict(True, lifting, _remark(lifting, tries[0], _parting(learner, pairs)))
    return FusionVerdict(False, why=f"models are trained one at a time: {first}")


def _sound(learner: Describes, configs: Sequence[Config]) -> list[Config]:
    """Those of which a model can be made; raises what the first one raises where there is none."""
    sound, first = list[Config](), None
    for config in configs:
        try:
            fresh(learner, config, 0), member(learner, config, 0)
            sound.append(config)
        except Exception as error:  # noqa: BLE001  (the user's methods may raise anything: that trial fails)
            first = first or error
    if first is not None and not sound:
        raise first
    return sound


def _check_apart(learner: Describes, config: Config) -> None:
    """Raises TrainableError where two models have weights in common."""
    one, other = ([p for p in fresh(learner, config, 0).parameters() if p.requires_grad] for _ in range(2))
    if {id(p) for p in one} & {id(p) for p in other}:
        raise TrainableError(
            "model returned weights that another model has too, so that training one changes both: make new "
            "modules in every call, or copy.deepcopy those that are kept"
        )


def _unlike(learner: Describes, config: Config, lifting: Lifting) -> str:
    """What differs between two models of one configuration, in words: then no pack would have a second."""
    one, other = (fresh(learner, config, 0) for _ in range(2))
    mine = member(learner, config, 0)
    if structure_of(one, mine, lifting) == structure_of(other, mine, lifting):
        return ""
    pairs = list(zip(one.named_modules(), other.modules(), strict=False))
    for (name, module), twin in reversed(pairs):  # what is inside comes first
        at = f"module {name or 'the model'} ({type(module).__name__})"
        if type(module) is not type(twin):
            return f"{at} has a class of its own in every model, as one has that is made inside of model"
        if apart := parting(module, twin):
            names = ", ".join(sorted(attribute for _, attribute in apart))
            return f"{at} keeps another {names} in every model, which cannot be compared"
    return "model gives models of different structure for the same configuration"


def _try_all(
    learner: Describes, data: Data, pairs: Sequence[tuple[Config, Config]], lifting: Lifting
) -> None:
    for pair in pairs:
        _try(learner, data, pair, lifting)


def _fewest(
    learner: Describes, data: Data, pairs: Sequence[tuple[Config, Config]], found: Lifting
) -> Lifting:
    """With no more numbers refused than need be."""
    for name in sorted(found.refused):
        fewer = dataclasses.replace(found, refused=found.refused - {name})
        with contextlib.suppress(_Failed):
            _try_all(learner, data, pairs, fewer)
            found = fewer
    return found


def _remark(found: Lifting, hoped: Lifting, parting: frozenset[Attribute]) -> str:
    attributes = (hoped.attributes - found.attributes) | parting
    apart = sorted(f"{kind.__name__}.{name}" for kind, name in attributes)
    apart += [f"{name} of the configuration" for name in sorted(found.refused)]
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
    return Data(*(mapped(lambda t: t.cpu().clone(), part) for part in (train, validation)))


@dataclass(frozen=True)
class _Brief:
    """The learner with short iterations, and with another rule where one is given."""

    learner: Any
    steps: int = 2
    rule: Rule | None = None

    def optimizer(self, config: Config) -> Rule:
        rule: Rule = self.rule or self.learner.optimizer(config)
        return rule

    def batch_size_of(self, config: Config) -> int:
        return min(EXAMPLES // 2, int(self.learner.batch_size_of(config)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.learner, name)


def _try(learner: Describes, data: Data, pair: tuple[Config, Config], lifting: Lifting) -> None:
    """Raises _Failed unless a pack of two gives what both give alone.

    A gradient that is 0 but for rounding, as that of a bias before a batch norm, is a step of full length to
    Adam and Lion. So where weights differ by one of those rules, the gradients themselves are compared.
    """
    try:
        _train_both(_Brief(learner), data, pair, lifting)
    except _Different:
        if type(learner.optimizer(pair[0])) not in NAMES.values():
            raise
        _train_both(_Brief(learner, rule=SGD(lr=RATE)), data, pair, lifting)


def _train_both(brief: Any, data: Data, pair: tuple[Config, Config], lifting: Lifting) -> None:
    learner = brief.learner
    cpu = torch.device("cpu")
    ones = [Alone(brief, data, cpu, config, seed) for seed, config in enumerate(pair)]
    models = [fresh(learner, config, seed) for seed, config in enumerate(pair)]
    structures = [structure_of(m, o.member, lifting) for m, o in zip(models, ones, strict=True)]
    if structures[0] != structures[1]:  # then the pair was no pair under this lifting: the first one twice
        pair = (pair[0], pair[0])
        ones[1] = Alone(brief, data, cpu, pair[1], 1)
        models[1] = fresh(learner, pair[1], 1)
    form = form_of(learner, pair[0])
    pack = Pack(brief, data, cpu, form, structures[0], ones[0].member, lifting)
    starts = [one.row().parameters for one in ones]
    together: list[Any] | Exception = []
    for config, seed, model in zip(pair, range(2), models, strict=True):  # the second one is younger
        pack.join(member(brief, config, seed), pack.layout.row_of(model), lifted_values(model, structures[0]))
        with _watched(form) as at:
            together = pack.strictly()
        if isinstance(together, Exception):
            raise _Failed(at(), together)
    ones[0].iterate()
    assert not isinstance(together, Exception)
    starts = starts if brief.rule is not None else [torch.zeros_like(start) for start in starts]
    _compare(ones, pack, together, starts)


def _compare(ones: Sequence[Alone], pack: Pack, together: Sequence[Any], starts: Sequence[Tensor]) -> None:
    for one, row, report, start in zip(ones, pack.take([0, 1]), together, starts, strict=True):
        alone = one.iterate()
        mine = one.row()
        if _distance(mine.parameters - start, row.parameters - start) > TOLERANCE:
            raise _Different(
                "this model",
                "its weights come out different there; does it keep state of its own, or has the rule a sum "
                "over models?",
            )
        for name, value in mine.kept.items():
            if _distance(value.double(), row.kept[name].double()) > TOLERANCE:
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
