"""Settings of a small model for a big one: muP and CompleteP for torch modules, by the shapes of parameters.

    from raysearch.torch import scaling

    model = Net(config["width"])
    rules = scaling.rules_for(model, base=Net(64), delta=Net(128), optimizer="adamw")
    rules.initialise(model)
    optimizer = torch.optim.AdamW(rules.groups(model), lr=config["lr"], weight_decay=config["weight_decay"])

The model of width 64 trains as it would without these lines; those of other widths so that the settings that
are best for it are nearly best for them. `coordinate_check` says, in seconds, whether that can be believed.

Papers: muP is Yang et al. 2022, "Tensor Programs V" (arXiv 2203.03466), tables 3 and 8; CompleteP is Dey et
al. 2025, "Don't be lazy: CompleteP enables compute-efficient deep transformers" (arXiv 2505.01618), table 1.
"""

from __future__ import annotations

from raysearch.torch.scaling.coordinates import CoordinateCheck, coordinate_check
from raysearch.torch.scaling.modules import Branch, Readout, attention_scale
from raysearch.torch.scaling.parametrization import ScaledParameter, ScalingRules, rules_for
from raysearch.torch.scaling.shapes import Role

__all__ = [
    "Branch",
    "CoordinateCheck",
    "Readout",
    "Role",
    "ScaledParameter",
    "ScalingRules",
    "attention_scale",
    "coordinate_check",
    "rules_for",
]
