"""Versions of Python, Ray and raysearch here, and notes where another machine has others."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from raysearch.core.version import __version__

# What raysearch was tried with, from the oldest (`make floors`, as pyproject.toml declares) to the newest.
TRIED = {"python": ("3.10", "3.13"), "ray": ("2.44", "2.60"), "torch": ("2.4", "2.13")}
NAMES = {"raysearch": "raysearch", "ray": "Ray", "python": "Python", "torch": "torch"}
VARIABLE = "RAYSEARCH_SUBMITTED_WITH"  # in a submitted job: the versions of the machine that submitted it


def ray_version() -> str:
    """The version of Ray that is installed here; Ray itself is not imported."""
    return version("ray")


def versions() -> dict[str, str]:
    """Name -> version of the packages that must match between machines."""
    return {"raysearch": __version__, "ray": ray_version(), "python": platform.python_version()}


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> dict[str, str]:
    """name -> `Ray 2.50.0 there, 2.60.0 here`, for what both name and differ in.

    Python's patch level makes no difference.
    """
    return {
        name: f"{NAMES.get(name, name)} {there[name]} there, {here[name]} here"
        for name in here
        if name in there and _level(name, there[name]) != _level(name, here[name])
    }


def installed() -> dict[str, str]:
    """Name -> version of what TRIED names and is installed here; nothing of it is imported."""
    found = {"python": platform.python_version()}
    for name in ("ray", "torch"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def untried_note(here: Mapping[str, str]) -> str | None:
    """What of `here` is older or newer than anything raysearch was tried with, in a sentence; else None."""
    found = []
    for name, (oldest, newest) in TRIED.items():
        if name in here and not _minor(oldest) <= _minor(here[name]) <= _minor(newest):
            found.append(f"{NAMES[name]} {here[name]} (tried: {oldest} to {newest})")
    if not found:
        return None
    return f"raysearch was not tried with {', '.join(found)}; it goes on, and may meet what it does not know"


def submitted_note(environment: Mapping[str, str] = os.environ) -> str | None:
    """In a submitted job: what differs from the machine that submitted it, in a sentence; else None."""
    text = environment.get(VARIABLE)
    if not text:
        return None
    found = differences(json.loads(text), versions())
    if not found:
        return None
    texts = "; ".join(found.values())
    return (
        f"the cluster has other versions than the machine that submitted this ({texts}, here "
        "being the cluster). The search runs with the cluster's"
    )


def _level(name: str, text: str) -> str:
    return ".".join(text.split(".")[:2]) if name == "python" else text


def _minor(text: str) -> tuple[int, ...]:
    """(2, 13) of 2.13.0+cpu, 2.13.0rc1 or 2.13."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])
