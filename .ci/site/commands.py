"""The page of all commands and their options, from the command line itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_MARKUP = re.compile(r"\[/?[a-z ]+\]")


def commands_text() -> str:
    """Each command with its words, arguments and options, as Markdown sections."""
    import typer.main

    from raysearch.cli import app

    return "\n".join(_commands(typer.main.get_command(app), "raysearch"))


def _commands(group: Any, name: str) -> Iterator[str]:
    for sub, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _commands(command, f"{name} {sub}")
        else:
            yield from _command(command, f"{name} {sub}")


def _command(command: Any, name: str) -> Iterator[str]:
    named = [each for each in command.params if each.param_type_name == "argument"]
    arguments = [(each.metavar or each.name or "").upper() for each in named]
    yield f"## {name.removeprefix('raysearch ')}\n"
    yield f"```text\n{' '.join([name, *arguments])} [OPTIONS]\n```\n"
    yield f"{_plain(command.help or '')}\n"
    rows = [
        _row(each) for each in command.params if each.name != "help" and not getattr(each, "hidden", False)
    ]
    if rows:
        yield "\n".join(["| option | |", "|---|---|", *rows, ""])


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = (parameter.metavar or parameter.name or "").upper()
    else:
        names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    words = _plain(getattr(parameter, "help", "") or "").replace("\n", " ").replace("|", "\\|")
    return f"| `{names}` | {words} |"


def _plain(text: str) -> str:
    """Help without the markup of terminals, as Markdown that shows it as it stands."""
    plain = _MARKUP.sub("`", text.replace("\b", ""))
    return plain.replace("<", "&lt;").replace("*", "\\*").strip()
