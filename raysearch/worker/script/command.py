"""The call of a script for one configuration: W&B's macros, and values of one's own."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from raysearch.spec.program import Program

_ENV = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")
_NAME = re.compile(r"\$\{([^${}]+)\}")


def expanded(program: Program, config: Mapping[str, Any], length: Any, json_file: str) -> list[str]:
    """The words of the call.

    Args:
        config: the trial's; its entries become the arguments.
        length: of a training, for `${max_iterations}`.
        json_file: a file that holds the configuration, for `${args_json_file}`.
    """
    forms = _forms(config) | {"args_json_file": [json_file]}
    forms |= {"interpreter": [sys.executable], "program": [program.program], "env": ["/usr/bin/env"]}
    words: list[str] = []
    for word in program.words():
        form = forms.get(word[2:-1]) if word.startswith("${") and word.endswith("}") else None
        words += form if form is not None else [filled(word, config, length)]
    return words


def filled(text: str, config: Mapping[str, Any], length: Any) -> str:
    """The text with the trial's values in place of `${lr}`, and the environment's of `${envvar:HOME}`."""
    values = {"max_iterations": length, **config}
    text = _ENV.sub(lambda found: os.environ.get(found[1], found[1]), text)
    return _NAME.sub(lambda found: str(values.get(found[1], "")), text)


def _forms(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """All arguments, in each form that W&B's agents know."""
    plain = [f"{name}={value}" for name, value in config.items()]
    flags = [
        f"--{name}" if value is True else f"--{name}={value}"
        for name, value in config.items()
        if value is not False
    ]
    return {
        "args": [f"--{one}" for one in plain],
        "args_no_equals": [word for name, value in config.items() for word in (f"--{name}", str(value))],
        "args_no_hyphens": plain,
        "args_no_boolean_flags": flags,
        "args_json": [json.dumps(dict(config))],
        "args_append_hydra": [f"+{one}" for one in plain],
        "args_override_hydra": [f"++{one}" for one in plain],
    }
