"""Versions of Python, Ray and raysearch here, and what it means where another machine has others."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version

from raysearch.version import __version__

VARIABLE = "RAYSEARCH_SUBMITTED_WITH"  # in a submitted job: the versions of the machine that submitted it


def ray_version() -> str:
    """The version of Ray that is installed here; Ray itself is not imported."""
    return version("ray")


def versions() -> dict[str, str]:
    """Name -> version of what has to fit together."""
    return {"raysearch": __version__, "ray": ray_version(), "python": platform.python_version()}


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """`Ray 2.50.0 there, 2.60.0 here`, for what both name and differ in; Python's patch level counts not."""
    said = {"raysearch": "raysearch", "ray": "Ray", "python": "Python"}
    return [
        f"{said.get(name, name)} {there[name]} there, {here[name]} here"
        for name in here
        if name in there and _level(name, there[name]) != _level(name, here[name])
    ]


def submitted_note(environment: Mapping[str, str] = os.environ) -> str | None:
    """In a submitted job: what differs from the machine that submitted it, in a sentence; else None."""
    text = environment.get(VARIABLE)
    if not text:
        return None
    found = differences(json.loads(text), versions())
    if not found:
        return None
    return (
        f"the cluster has other versions than the machine that submitted this ({'; '.join(found)}, here "
        "being the cluster). The search runs with the cluster's"
    )


def _level(name: str, text: str) -> str:
    return ".".join(text.split(".")[:2]) if name == "python" else text
