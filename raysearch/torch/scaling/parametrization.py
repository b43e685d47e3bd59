"""What becomes of initial weights, rates and weight decay in a model of another size than its base."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from raysearch.errors import SpecError, unknown
from raysearch.torch.scaling.modules import Branch, Readout
from raysearch.torch.scaling.multipliers import KEY, install
from raysearch.torch.scaling.shapes import Role, Shape, check_ties, form, owned, shapes_of

if TYPE_CHECKING:
    import pandas as pd

ADAM = (
    "adam",
    "adamw",
    "adamax",
    "nadam",
    "radam",
    "lion",
)  # steps as large as the rate, whatever the gradient
KINDS = ("sgd", *ADAM)
MANY = 1000  # numbers whose root mean square is known to 2%
HALF = (
    0.5  # initial weights of fewer are taken to go with a whole multiple of it as the exponent of the width
)


@dataclass(frozen=True, slots=True)
class ScaledParameter:
    """A parameter of a model, and what is done to it.

    Attributes:
        grows_in, grows_out: how many times as many inputs and outputs it has as in the base.
        depth: how many times as many blocks the model has as the base, of a parameter in a `Branch`; else 1.
        init: what its initial values are multiplied by.
        lr, weight_decay, eps: what the optimizer's values are multiplied by during a step.
    """

    name: str
    role: Role
    grows_in: float
    grows_out: float
    depth: float
    init: float
    lr: float
    weight_decay: float
    eps: float


@dataclass(frozen=True)
class ScalingRules:
    """The rules of a model. `initialise` it once, and give its `groups` to the optimizer.

    Attributes:
        optimizer: "sgd" or one of Adam's kind.
        parameters: in the order of the model's own.
        remarks: where the rules may not hold, in words; empty where nothing is known against them.
    """

    optimizer: str
    parameters: tuple[ScaledParameter, ...]
    remarks: tuple[str, ...]
    branches: Mapping[str, float]
    readouts: Mapping[str, float]

    def initialise(self, model: nn.Module) -> None:
        """Rescales a fresh model's initial values, and sets the multipliers of its `Readout` and `Branch`.

        Call it once, before training or loading a checkpoint; a second call would rescale again.

        Raises:
            SpecError: it is another model than the one the rules are for.
        """
        params = self._params(model)
        with torch.no_grad():
            for one in self.parameters:
                if one.init != 1.0:
                    params[one.name].mul_(one.init)
        for path, module in model.named_modules():
            if path in self.branches and isinstance(module, Branch):
                module.multiplier = self.branches[path]
            if path in self.readouts and isinstance(module, Readout):
                module.multiplier = self.readouts[path]

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Parameter groups for `self.optimizer`; each with the same multipliers is one.

        The groups hold the base's rate, so schedulers, `raysearch.torch.apply` and what a search records
        speak of that. It is multiplied by the group's number while the optimizer steps, at no other time.

        Raises:
            SpecError: it is another model than the one the rules are for.
        """
        params = self._params(model)
        install()
        found: dict[tuple[float, float, float], list[Tensor]] = {}
        for one in self.parameters:
            found.setdefault((one.lr, one.weight_decay, one.eps), []).append(params[one.name])
        return [
            {"params": group, KEY: {"lr": lr, "weight_decay": decay, "eps": eps}}
            for (lr, decay, eps), group in found.items()
        ]

    def frame(self) -> pd.DataFrame:
        """One row a parameter: name, role, how it grows, and its multipliers."""
        import pandas as pd

        columns = list(ScaledParameter.__dataclass_fields__)
        rows = [[getattr(one, c) for c in columns] for one in self.parameters]
        table = pd.DataFrame(rows, columns=columns)
        table["role"] = [one.role.value for one in self.parameters]
        return table

    def _params(self, model: nn.Module) -> dict[str, Tensor]:
        params = {name: one.param for name, one in owned(model).items()}
        if [*params] != [one.name for one in self.parameters]:
            names = {one.name for one in self.parameters}
            odd = next(iter(sorted(names ^ set(params))), "their order")
            raise SpecError(f"these rules are for another model; the first difference: {odd}")
        return params


def rules_for(
    model: nn.Module,
    *,
    base: nn.Module,
    delta: nn.Module,
    optimizer: str = "adamw",
    roles: Mapping[str, str | Role] | None = None,
) -> ScalingRules:
    """The rules by which `model` trains like `base`: muP for its width, CompleteP for its depth.

    >>> make = lambda width: torch.nn.Sequential(
    ...     torch.nn.Linear(8, width), torch.nn.ReLU(), torch.nn.Linear(width, width), torch.nn.ReLU(),
    ...     torch.nn.Linear(width, 2))
    >>> rules = scaling.rules_for(make(256), base=make(64), delta=make(128), optimizer="adamw")
    >>> [(one.name, one.role.value, one.lr) for one in rules.parameters if "weight" in one.name]
    [('0.weight', 'input', 1.0), ('2.weight', 'hidden', 0.25), ('4.weight', 'output', 0.25)]

    Args:
        model: freshly made, with its initial values.
        base: of the width at which settings are searched, freshly made in the same way; its initial values
            are those that the model's are made to be like.
        delta: the base in any other width, which shows what grows; may lie on the device "meta".
        optimizer: name of a torch optimizer: sgd, or adam, adamw and others of its kind.
        roles: parameter -> role, where the parameter of a module of one's own has another than it seems to.

    Rates are those of Tensor Programs V, table 3 (table 8 for a `Readout`), with the base's width as unit.
    Weight decay is multiplied by the inverse of the rate's multiplier, so that their product stays (Dey et
    al. 2025, table 1), and Adam's eps falls as the gradients do. Initial values: standard deviations of
    hidden weights fall with the root of their inputs, those of output layers with their inputs, others stay.

    Raises:
        SpecError: the models differ in more than width and number of blocks, the optimizer is none that the
            rules are for, or its depth differs and it is not of Adam's kind.
    """
    kind = optimizer.lower()
    if kind not in KINDS:
        raise SpecError(unknown("optimizer", optimizer, KINDS))
    check_ties(model)
    shapes = shapes_of(model, base, delta, {name: _role(name, role) for name, role in (roles or {}).items()})
    branches = _branches(model, base)
    if kind == "sgd" and any(depth != 1.0 for depth in branches.values()):
        raise SpecError(
            "the model has another depth than its base: CompleteP's rules are for adamw and its like, not sgd"
        )
    here, there = owned(model), owned(base)
    scaled = tuple(
        _scaled(s, _depth(s.name, branches), kind, here[s.name].param, there[s.base].param) for s in shapes
    )
    multipliers, remarks = {path: 1.0 / n for path, n in branches.items()}, _remarks(shapes, branches, scaled)
    return ScalingRules(kind, scaled, tuple(remarks), multipliers, _readouts(model, base))


def _scaled(shape: Shape, depth: float, kind: str, param: Tensor, base: Tensor) -> ScaledParameter:
    rate, eps = (_sgd(shape), 1.0) if kind == "sgd" else _adam(shape, depth)
    init = _init(shape, param, base)
    return ScaledParameter(
        shape.name, shape.role, shape.grows_in, shape.grows_out, depth, init, rate, 1.0 / rate, eps
    )


def _adam(shape: Shape, depth: float) -> tuple[float, float]:
    """(multiplier of the rate, of eps): Tensor Programs V, table 3; eps: Dey et al. 2025, table 1."""
    is_matrix = shape.role in (Role.HIDDEN, Role.OUTPUT)
    rate = 1.0 / shape.grows_in if is_matrix else 1.0
    gradient = {  # how gradients of one number fall as the model grows
        Role.HIDDEN: shape.grows_out,
        Role.INPUT: shape.grows_out,
        Role.VECTOR: shape.grows_out,
        Role.READOUT: shape.grows_in,
    }.get(shape.role, 1.0)
    return rate, 1.0 / (gradient * depth)


def _sgd(shape: Shape) -> float:
    """Multiplier of the rate: Tensor Programs V, table 3, and table 8 for a `Readout`."""
    return {
        Role.INPUT: shape.grows_out,
        Role.VECTOR: shape.grows_out,
        Role.HIDDEN: shape.grows_out / shape.grows_in,
        Role.OUTPUT: 1.0 / shape.grows_in,
        Role.READOUT: shape.grows_in,
    }.get(shape.role, 1.0)


def _init(shape: Shape, param: Tensor, base: Tensor) -> float:
    """What initial values are multiplied by, whatever the code that drew them makes of the width.

    That is seen in their root mean square; where they are few, as the nearest power of the width.
    """
    growth = max(shape.grows_in, shape.grows_out)
    wanted = {Role.HIDDEN: shape.grows_in**-HALF, Role.OUTPUT: 1.0 / shape.grows_in}.get(shape.role, 1.0)
    if growth == 1.0 or param.device.type == "meta" or base.device.type == "meta":
        return 1.0
    now, before = _rms(param), _rms(base)
    if not now or not before:
        return 1.0
    has = now / before
    if min(param.numel(), base.numel()) < MANY:
        has = growth ** (round(math.log(has) / math.log(growth) / HALF) * HALF)
    change = wanted / has
    return 1.0 if math.isclose(change, 1.0, rel_tol=0.05) else change


def _rms(values: Tensor) -> float:
    return float(values.detach().double().square().mean().sqrt()) if values.numel() else 0.0


def _branches(model: nn.Module, base: nn.Module) -> dict[str, float]:
    """Path of each `Branch` -> how many times as many of its kind the model has as the base."""
    here = [path for path, module in model.named_modules() if isinstance(module, Branch)]
    there = [form(path) for path, module in base.named_modules() if isinstance(module, Branch)]
    found = {}
    for path in here:
        kind = form(path)
        if kind not in there:
            raise SpecError(f"{path} is a Branch of the model, and the base has none like it")
        found[path] = sum(form(other) == kind for other in here) / there.count(kind)
    return found


def _depth(name: str, branches: Mapping[str, float]) -> float:
    return next((depth for path, depth in branches.items() if name.startswith(f"{path}.")), 1.0)


def _readouts(model: nn.Module, base: nn.Module) -> dict[str, float]:
    """Path of each `Readout` -> its multiplier."""
    there, found = dict(base.named_modules()), {}
    for path, module in model.named_modules():
        if isinstance(module, Readout):
            old = there.get(path)
            if not isinstance(old, Readout):
                raise SpecError(f"{path} is a Readout of the model, and not of the base: make it one of both")
            found[path] = old.in_features / module.in_features
    return found


def _role(name: str, role: str | Role) -> Role:
    try:
        return Role(role)
    except ValueError:
        raise SpecError(f"roles[{name!r}]: {unknown('role', str(role), [r.value for r in Role])}") from None


def _remarks(
    shapes: Sequence[Shape], branches: Mapping[str, float], scaled: Sequence[ScaledParameter]
) -> list[str]:
    remarks = []
    deeper = [s.name for s in shapes if s.count != 1.0]
    if deeper and not any(depth != 1.0 for depth in branches.values()):
        remarks.append(
            f"the model has another depth than its base ({form(deeper[0])}), and none of what is repeated "
            "lies in a raysearch.torch.scaling.Branch: no rule makes rates transfer across such a depth"
        )
    roles = {one.role for one in scaled}
    if not roles & {Role.OUTPUT, Role.READOUT} and roles != {Role.FIXED}:
        remarks.append(
            "no parameter goes from the width to a fixed size: give `roles` if the output layer is a "
            "parameter of a module of your own"
        )
    return remarks
