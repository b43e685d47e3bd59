"""The texts of a layout, checked: what lands in a script, in YAML or a comment says nothing further there."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from raysearch.core.terminal_text import escaped
from raysearch.errors import SpecError
from raysearch.storage.object_store import is_address, keyless, parse_address

_OPTIONS = {"instance": "--instance-type", "labels": "--node-label", "spec": "the spec"}
_ID = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"), "lower case letters, digits, - and ."
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@+,-]*"), "letters, digits and _ . : / @ + , -"
_ALLOWED: Mapping[
    str, tuple[re.Pattern[str], str]
] = {  # by the layout's field: what it must be, in words too
    "name": (
        re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?"),
        "up to 40 lower case letters, digits and -, beginning with a letter",
    ),
    "memory": (re.compile(r"[0-9]+(\.[0-9]+)?([KMGTPkmgtp]i?B?)?"), "a size, such as 64Gi or 64G"),
    "time": (
        re.compile(r"([0-9]+-)?[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?|[0-9]+"),
        "minutes, HH:MM:SS or D-HH:MM:SS, as Slurm takes it",
    ),
    "labels": (re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9._-]+=[A-Za-z0-9._-]*"), "KEY=VALUE"),
    "hosts": (re.compile(r"[A-Za-z0-9_\[:][A-Za-z0-9_.:%\[\]-]*"), "names or addresses of machines"),
    "claim": _ID,
    "secret": _ID,
    **dict.fromkeys(
        (
            "instance",
            "accelerator",
            "image",
            "region",
            "zone",
            "project",
            "partition",
            "account",
            "user",
        ),
        _WORD,
    ),
}


def check_texts(fields: Mapping[str, Any]) -> None:
    """Raises SpecError for a text that its place in a cluster's file could not hold as it is.

    Args:
        fields: of a layout, by their names; numbers and None are passed over.
    """
    for name, value in fields.items():
        option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str | os.PathLike):
                _check(name, option, str(text))


def check_line(option: str, text: str) -> None:
    """Raises SpecError for a text that is empty, or more than one line, or has control characters."""
    if not text.strip():
        raise SpecError(f"{option}: is empty; leave it out, or write what is meant")
    shown = escaped(text).replace("\n", "\\n").replace("\t", "\\t")
    if shown != text:
        raise SpecError(
            f"{option} '{shown}': has a line's end, a tab or a control character; write one line of text"
        )


def _check(name: str, option: str, text: str) -> None:
    if name == "storage" and is_address(text):
        keyless(text)  # first, for the other messages repeat the text
    check_line(option, text)
    if name not in ("setup", "install") and text.startswith("-"):
        raise SpecError(f"{option} {text}: begins with -, which programs on the cluster take for an option")
    if name in _ALLOWED:
        pattern, words = _ALLOWED[name]
        if not pattern.fullmatch(text):
            raise SpecError(f"{option} {text}: write {words}")
    if name == "storage" and is_address(text):
        parse_address(text)
