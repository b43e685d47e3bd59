"""A trainable that is a program: a script as it is, started once a trial.

    trainable: {program: train.py}                          # --lr=0.01 --layers=2, as W&B's agents call it
    trainable: {program: train.py, args: [--lr, "${lr}"], metrics: {val_loss: "loss=(.*)"}}
    trainable: {program: ./train.sh, env: {LR: "${lr}"}}

The same keys may stand at the top of a spec, where a W&B sweep file has `program` and `command`.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysearch.core.trial_config import LENGTH
from raysearch.errors import LocatedError, SpecError, located, unknown

KEYS = ("program", "command", "args", "env", "metrics", "folder")
FORMS = (  # of all arguments, as W&B's agents build them
    *("args", "args_no_equals", "args_no_hyphens", "args_no_boolean_flags", "args_json", "args_json_file"),
    *("args_append_hydra", "args_override_hydra"),
)
ALL = "${args}"
_MACRO = re.compile(r"\$\{([^${}]+)\}")


@dataclass(frozen=True, slots=True)
class Program:
    """A script and how it is called; `${lr}` in its arguments and environment is the trial's value.

    Attributes:
        program: the script's file.
        command: the words of the call; empty for the default, which is `python train.py --lr=0.01 ...`.
        env: environment variables.
        metrics: metric -> regular expression whose first group is its value, for lines that the script
            prints; lines of JSON, `wandb.log` and `raysearch.report` need none.
        folder: the working folder in which the script runs.
        metric: the one of the search; an iteration ends when it is reported.
    """

    program: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    metric: str = ""

    def __call__(self, config: Mapping[str, Any]) -> None:
        """Runs the script to its end; what a worker calls is `raysearch.worker.script`'s own function."""
        raise TypeError("a Program is started by a worker: give it to raysearch.search as the trainable")

    @property
    def name(self) -> str:
        """The file's name."""
        return Path(self.program).name

    def words(self) -> tuple[str, ...]:
        """The call, with `${...}` still in it."""
        if self.command:
            return self.command
        start = ("${interpreter}", "${program}") if self.program.endswith(".py") else ("${program}",)
        return start if self.env else (*start, ALL)

    def anchored(self, folder: Path) -> Program:
        """The same, found from anywhere: the script's file below `folder`, in which it will run."""
        if self.folder:
            return self
        beside = (folder / Path(self.program).expanduser()).absolute()
        if not beside.exists() and (Path.cwd() / self.program).exists():
            folder, beside = Path.cwd(), (Path.cwd() / self.program).absolute()
        return dataclasses.replace(self, program=str(beside), folder=str(folder.absolute()))

    def for_search(self, metric: str, names: Collection[str]) -> Program:
        """The same for a search of that metric, over hyper-parameters of these names.

        Raises:
            LocatedError: a `${name}` is none of them.
        """
        known = {*names, *FORMS, LENGTH, "program", "interpreter", "env"}
        places = [("command", word) for word in self.command] + [(f"env.{k}", v) for k, v in self.env.items()]
        for place, text in places:
            for macro in _MACRO.findall(text):
                if macro not in known and not macro.startswith("envvar:"):
                    raise LocatedError(f"trainable.{place}", f"${{{macro}}}: {unknown('name', macro, known)}")
        return dataclasses.replace(self, metric=metric)

    def to_dict(self) -> dict[str, Any]:
        """The form that `read_program` takes; what is not set is left out."""
        form = {"program": self.program, "command": [*self.command], "env": {**self.env}}
        form |= {"metrics": {**self.metrics}, "folder": self.folder}
        return {key: value for key, value in form.items() if value}


def read_program(value: Mapping[str, Any]) -> Program:
    """The program that a mapping describes.

    Raises:
        LocatedError: a key is unknown or its value wrong; names it.
    """
    for key in value:
        if key not in KEYS:
            raise LocatedError(f"trainable.{key}", unknown("key", key, KEYS))
    program = value.get("program")
    if not isinstance(program, str) or not program:
        raise LocatedError("trainable.program", f"must be a file such as train.py, not {program!r}")
    command, args = _words(value, "command"), _words(value, "args")
    if args is not None:
        if command is not None:
            raise LocatedError("trainable.args", "stand in `command` already: leave one of them out")
        command = ("${interpreter}", "${program}") if program.endswith(".py") else ("${program}",)
        command += args
    folder = value.get("folder") or ""
    return Program(program, command or (), _texts(value, "env"), _patterns(value), str(folder))


def form_of(trainable: Any) -> dict[str, Any]:
    """The form of a program; empty for any other trainable."""
    return trainable.to_dict() if isinstance(trainable, Program) else {}


def taken_from(settings: dict[str, Any]) -> list[str]:
    """Moves the keys of a program at the top of a spec into `trainable`, in place.

    Returns:
        Keys that have no effect, in words: the spec has another trainable.
    """
    given = {key: settings.pop(key) for key in KEYS if key in settings}
    if not given:
        return []
    if settings.get("trainable") is not None:
        return [f"{key}: {value!r} is ignored: the trainable is what trains" for key, value in given.items()]
    if "program" not in given:
        key = next(iter(given))
        raise LocatedError(key, "belongs to a program: give `program: train.py` too")
    settings["trainable"] = given
    return []


def _words(value: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    words = value.get(key)
    if words is None:
        return None
    if isinstance(words, str):
        return tuple(shlex.split(words))
    if not isinstance(words, Sequence):
        raise LocatedError(f"trainable.{key}", f'must be a list such as [--lr, "${{lr}}"], not {words!r}')
    return tuple(map(str, words))


def _texts(value: Mapping[str, Any], key: str) -> dict[str, str]:
    texts = value.get(key) or {}
    if not isinstance(texts, Mapping):
        raise LocatedError(f"trainable.{key}", f'must be a mapping such as {{LR: "${{lr}}"}}, not {texts!r}')
    return {str(name): str(text) for name, text in texts.items()}


def _patterns(value: Mapping[str, Any]) -> dict[str, str]:
    patterns = _texts(value, "metrics")
    for name, text in patterns.items():
        with located(f"trainable.metrics.{name}"):
            try:
                groups = re.compile(text).groups
            except re.error as error:
                raise SpecError(f"{text!r} is no regular expression: {error}") from None
            if not groups:
                raise SpecError(f"{text!r} has no group for the value, such as in 'loss=(.*)'")
    return patterns
