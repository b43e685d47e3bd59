"""What a torch training needs to be searched well: a Learner, or parts for a trainable of your own.

class Mine(raysearch.torch.Learner): ...               # one model, trained alone or by the hundred
raysearch.torch.apply(self.optimizer, self.config)     # at the end of load_checkpoint
metrics["val_loss_parts"] = raysearch.torch.parts(losses)
raysearch.torch.scaling.rules_for(model, base=..., delta=...)   # settings of a small model for a big one
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from raysearch.fused.data import Data
from raysearch.fused.optimizers import SGD, Adam, AdamW, Lion, Rule
from raysearch.torch.optimizers import apply
from raysearch.torch.parts import parts
from raysearch.torch.schedules import TorchSchedule

if TYPE_CHECKING:
    from raysearch.torch import scaling as scaling
    from raysearch.torch.learner import Learner

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Data",
    "Learner",
    "Lion",
    "Rule",
    "TorchSchedule",
    "apply",
    "parts",
]


def __getattr__(name: str) -> Any:
    """Learner is a Ray trainable, and Ray is loaded when it is asked for; scaling is a package."""
    if name == "scaling":
        return importlib.import_module("raysearch.torch.scaling")
    if name == "Learner":
        from raysearch.torch.learner import Learner

        return Learner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
