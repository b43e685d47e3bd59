"""What a trainable asks for in Ray Tune's words: `tune.with_resources` and `default_resource_request`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from raysearch.core.segment import Config
from raysearch.core.values import show
from raysearch.errors import LocatedError, SpecError
from raysearch.spec.workers import Workers, read_workers

REQUESTS = 4  # configurations for which a trainable is asked what resources it needs


def requested(trainable: Any, configs: Sequence[Config]) -> list[dict[str, float]]:
    """The bundles that a trainable asks for, one for a plain request; empty where it asks for nothing.

    Args:
        configs: some configurations, for requests that depend on them.

    Raises:
        SpecError: the request cannot be computed, or differs between configurations.
    """
    found = [_bundles(trainable, config) for config in configs or [{}]]
    if any(bundles != found[0] for bundles in found):
        raise SpecError(
            f"{_name(trainable)} asks for other resources with other configurations ({found[0]} and "
            f"{next(b for b in found if b != found[0])}); all trials of a worker have the same: say in "
            "`workers` what the greatest needs"
        )
    return found[0]


def with_request(
    workers: Workers, trainable: Any, configs: Sequence[Config], is_said: bool
) -> tuple[Workers, str]:
    """The workers with what the trainable asks for, and a note; as they are where it asks for nothing.

    Args:
        is_said: `workers` says what a worker takes, which goes before the trainable's request.

    Raises:
        LocatedError: the request differs between configurations, or is none that a worker can have.
    """
    try:
        bundles = requested(trainable, configs)
    except SpecError as error:
        if is_said:
            return workers, f"workers: {error}. What `workers` says holds"
        raise LocatedError("workers", str(error)) from None
    if not bundles:
        return workers, ""
    asked = show(bundles[0] if len(bundles) == 1 else bundles)
    if is_said:
        note = f"workers: {asked}, which {_name(trainable)} asks for, is ignored: `workers` says otherwise"
        return workers, "" if _same(workers, bundles) else note
    form = _form(bundles)
    taken = read_workers({**{k: v for k, v in workers.to_dict().items() if k not in _SHARES}, **form})
    return taken, f"workers: each takes the resources {asked} that {_name(trainable)} asks for"


_SHARES = ("cpu", "gpu", "resources", "bundles", "memory", "accelerator_type", "train", "processes")


def says_share(form: Any) -> bool:
    """Whether what stands under `workers` says what a worker takes."""
    if isinstance(form, Workers):
        return any(getattr(form, n) != getattr(Workers(), n) for n in _SHARES if hasattr(form, n))
    return isinstance(form, Mapping) and any(form.get(name) is not None for name in _SHARES)


def _bundles(trainable: Any, config: Config) -> list[dict[str, float]]:
    ask = getattr(trainable, "default_resource_request", None)
    found = ask if ask is not None else getattr(trainable, "_resources", None)
    try:
        factory = found(dict(config)) if callable(found) and not hasattr(found, "bundles") else found
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise SpecError(f"the resources that {_name(trainable)} asks for cannot be had: {what}") from error
    if isinstance(factory, Mapping):
        return [
            {str(k).upper() if str(k) in ("cpu", "gpu") else str(k): float(v) for k, v in factory.items()}
        ]
    return [dict(bundle) for bundle in getattr(factory, "bundles", None) or []]


def _form(bundles: list[dict[str, float]]) -> dict[str, Any]:
    if len(bundles) > 1:
        return {"bundles": bundles}
    others = {name: amount for name, amount in bundles[0].items() if name not in ("CPU", "GPU")}
    form: dict[str, Any] = {"cpu": bundles[0].get("CPU", 0.0), "gpu": bundles[0].get("GPU", 0.0)}
    return {**form, "resources": others} if others else form


def _same(workers: Workers, bundles: list[dict[str, float]]) -> bool:
    try:
        asked = read_workers({**workers.to_dict(), **_form(bundles)})
    except SpecError:
        return False
    return dataclasses.replace(asked) == workers


def _name(trainable: Any) -> str:
    return str(getattr(trainable, "__name__", trainable))
