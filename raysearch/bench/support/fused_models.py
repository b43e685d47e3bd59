"""The example models of `raysearch bench fused`: as Learners, as ordinary trainables, and in packs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODELS: Mapping[str, Mapping[str, Any]] = {
    "mlp": {"optimizer": "sgd", "dropout": 0.0, "layers": 1, "hidden": 32, "batch_size": 32},
    "cnn": {"optimizer": "sgd", "dropout": 0.0, "channels": 8, "batch_size": 32},
    "transformer": {"optimizer": "sgd", "dropout": 0.0, "width": 32, "layers": 1, "batch_size": 16},
}


def learner(kind: str, compiles: bool = False) -> type[Any]:
    """The example's Learner."""
    from raysearch.examples.digits import Digits
    from raysearch.examples.mnist import Mnist
    from raysearch.examples.transformer import Transformer

    found: Any = {"mlp": Digits, "cnn": Mnist, "transformer": Transformer}[kind]
    if not compiles:
        return found  # type: ignore[no-any-return]

    class Compiled(found):  # type: ignore[misc]
        compile = "auto"

    return Compiled


def problem_of(kind: str) -> Any:
    """What makes the example's data and model."""
    from raysearch.examples import digits, mnist, transformer

    return {"mlp": digits.problem, "cnn": mnist.problem, "transformer": transformer.problem}[kind]


def plain(kind: str) -> type[Any]:
    """A trainable of the same model and data in ordinary torch, for one process a trial."""
    from raysearch.examples.trainable import Example

    class Plain(Example):
        problem = staticmethod(problem_of(kind))

    return Plain


def pack_of(kind: str, config: Mapping[str, Any], width: int) -> Any:
    """A pack of so many of the example's models."""
    from raysearch.fused.member import member
    from raysearch.fused.pack import Pack
    from raysearch.fused.single import form_of, fresh
    from raysearch.fused.structure import Lifting, lifted_values, structure_of

    made = learner(kind)
    plain, (data, device) = made.plain(), made.prepared()
    form, first = form_of(plain, config), member(plain, config, 0)
    structure = structure_of(form, first, Lifting())
    pack = Pack(plain, data, device, form, structure, first, Lifting())
    for seed in range(width):
        model = fresh(plain, config, seed)
        pack.join(member(plain, config, seed), pack.layout.row_of(model), lifted_values(model, structure))
    return pack
