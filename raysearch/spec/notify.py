"""What a spec says under `notify:`: whom to tell what of a search, and never a key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from raysearch.core import quantities
from raysearch.core.values import show
from raysearch.errors import LocatedError, SpecError, unknown

KINDS = ("finished", "failing", "stalled", "rolled_back", "budget", "refused")
FORMS = ("slack", "plain")
KEYS = ("webhook", "form", "command", "wandb", "on", "stalled_after")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_notify(value: Any) -> dict[str, Any]:
    """The settings under `notify:` as plain values.

        notify: {webhook: SLACK_URL, on: [finished, failing], stalled_after: 2h}

    `webhook` names the environment variable that holds the address, which is a key: whoever has it may post.

    Raises:
        SpecError: a field is unknown or wrong, an address stands in place of the variable's name, or nobody
            would be told.
    """
    if not isinstance(value, Mapping):
        raise SpecError(f"must be a mapping such as {{webhook: SLACK_URL}}, not {show(value)}")
    for key in value:
        if key not in KEYS:
            raise SpecError(unknown("field of notify", str(key), KEYS))
    found = {key: _READERS[key](each) for key, each in value.items() if each is not None}
    if found and not any(found.get(way) for way in ("webhook", "command", "wandb")):
        raise SpecError("says nobody to tell; give webhook, command or wandb: true")
    return found


def _webhook(value: Any) -> str:
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise LocatedError(
            "webhook",
            "is no name of an environment variable. The address of a webhook is a key, so it stands in a "
            "variable and not in a file: export SLACK_URL=https://..., and write webhook: SLACK_URL",
        )
    return value


def _form(value: Any) -> str:
    if value not in FORMS:
        raise LocatedError("form", unknown("form", str(value), FORMS))
    return str(value)


def _command(value: Any) -> list[str]:
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(v, str) and v for v in value):
        raise LocatedError("command", f"must be a list of texts such as [mail-me, --now], not {show(value)}")
    return list(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise LocatedError("wandb", f"must be true or false, not {show(value)}")
    return value


def _on(value: Any) -> list[str]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not listed:
        raise LocatedError("on", f"must be a list such as [finished, stalled], not {show(value)}")
    for kind in listed:
        if kind not in KINDS:
            raise LocatedError("on", unknown("kind of message", str(kind), KINDS))
    return list(dict.fromkeys(listed))


def _seconds(value: Any) -> float:
    try:
        return quantities.seconds(value)
    except SpecError as error:
        raise LocatedError("stalled_after", str(error)) from None


_READERS = {
    "webhook": _webhook,
    "form": _form,
    "command": _command,
    "wandb": _flag,
    "on": _on,
    "stalled_after": _seconds,
}
