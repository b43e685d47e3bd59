"""Whether a trainable took the new values of its hyper-parameters, as far as its torch optimizers show."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any


def ignored(trainable: Any, before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """name -> in words, for each changed value that an optimizer still holds as it was before.

    Looked at are the trainable's attributes and theirs. A name that some parameter group holds at its
    new value, or at neither (a schedule moves it), counts as applied.
    """
    changed = {k: v for k, v in now.items() if _is_number(v) and _is_number(before.get(k)) and v != before[k]}
    found: dict[str, str] = {}
    groups = [group for optimizer in _optimizers(trainable) for group in optimizer.param_groups]
    for name, value in changed.items():
        held = [group[name] for group in groups if _is_number(group.get(name))]
        is_old = any(math.isclose(h, before[name], rel_tol=1e-9) for h in held)
        if is_old and not any(math.isclose(h, value, rel_tol=1e-9) for h in held):
            found[name] = (
                f"{name} = {value:g} was not applied: after load_checkpoint the optimizer still has "
                f"{before[name]:g}; call raysearch.torch.apply(self.optimizer, self.config) at its end, "
                "or define apply_config"
            )
    return found


def _optimizers(trainable: Any) -> Iterator[Any]:
    torch = sys.modules.get("torch")
    optimizer = getattr(getattr(torch, "optim", None), "Optimizer", None)
    if optimizer is None:
        return
    for value in list(vars(trainable).values()):
        inner = value if isinstance(value, (list, tuple)) else list(getattr(value, "__dict__", {}).values())
        yield from (v for v in (value, *inner) if isinstance(v, optimizer))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
