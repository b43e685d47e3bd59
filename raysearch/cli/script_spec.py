"""The spec of a script, made of its own arguments: what argparse is told, and what it logs."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysearch.cli.script_metric import metric_of
from raysearch.errors import SpecError

NO_HYPERPARAMETERS = ("epoch", "step", "iter", "device", "gpu", "workers", "port", "log", "save", "interval")
RATES = 10.0  # a rate is searched from a tenth of its default to ten times


@dataclass(frozen=True, slots=True)
class Argument:
    """An option of a script: its name, default and, if there are, choices; the subcommand that takes it."""

    name: str
    default: Any
    choices: tuple[Any, ...] = ()
    subcommand: str = ""

    def domain(self) -> str | None:
        """The domain to search it in, in a spec's form; None for what is no hyper-parameter."""
        if self.choices:
            return f"{{choice: [{', '.join(map(str, self.choices))}]}}"
        if isinstance(self.default, bool) or not isinstance(self.default, (int, float)):
            return None
        if any(part in self.name.lower() for part in (*NO_HYPERPARAMETERS, "seed")):
            return None
        if isinstance(self.default, int):
            if self.default <= 0:
                return f"{{randint: [{2 * self.default}, {1 if self.default == 0 else self.default // 2}]}}"
            low, high = max(1, self.default // 2), max(2, 2 * self.default)
            return f"{{randint: [{low}, {high}]}}"
        if self.default < 0:
            return f"{{uniform: [{_exact(2 * self.default)}, 0.0]}}"
        if self.default == 0:
            return "{uniform: [0.0, 0.5]}"
        if self.name.lower() in ("dropout", "momentum") or self.default > 0.4:
            return f"{{uniform: [0.0, {0.99 if self.default <= 0.99 else _exact(2 * self.default)}]}}"
        return f"{{loguniform: [{_exact(self.default / RATES)}, {_exact(self.default * RATES)}]}}"


def parsed(script: Path, option: str) -> ast.Module:
    """The code of a script that `option` names.

    Raises:
        SpecError: it is not there, or is no Python.
    """
    try:
        return ast.parse(script.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{option} {script}: {error.strerror}") from None
    except SyntaxError as error:
        raise SpecError(f"{option} {script}: is no Python: {error.msg} (line {error.lineno})") from None


def spec_of(script: Path, workers: str) -> str:
    """The text of a spec that searches the script.

    Raises:
        SpecError: it is not there, is no Python, or has no argument that could be searched.
    """
    tree = parsed(script, "--script")
    names = _subcommands(tree)
    options = [*_options(tree, names)]
    subcommand = _trains(options, names)
    options = [one for one in options if one.subcommand in ("", subcommand)]
    searched = [(one, domain) for one in options if (domain := one.domain()) is not None]
    if not searched:
        raise SpecError(
            f"--script {script}: it has no argument with a number or choices as its default; write them into "
            "`space:` yourself, as in `raysearch launch script`"
        )
    baseline = ", ".join(f"{one.name}: {_exact(one.default)}" for one, _ in searched)
    seed = next((one for one in options if "seed" in one.name.lower()), None)
    lines = [
        f"# {script.name}, a process a trial     raysearch launch search.yaml",
        f"program: {script}   # python {script.name} --{searched[0][0].name}=..., in this folder",
        *([_call(subcommand, searched, seed, names)] if subcommand else []),
        *metric_of(tree).lines(script.name),
        "space:   # of the script's arguments, around their defaults",
        *(f"  {one.name}: {domain}" for one, domain in searched),
        f"baseline: {{{baseline}}}   # its defaults: the verdict compares with them",
        "strategy: {name: caviar, samples: 50, max_iterations: 27}   # a third of each rung goes on",
        *([f"seed_as: {seed.name}   # it comes as --{seed.name}=..."] if seed else []),
    ]
    return "\n".join(lines) + "\n" + workers


def _options(tree: ast.AST, subcommands: Mapping[str, str]) -> Iterator[Argument]:
    """The options that calls of `add_argument` define."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") != "add_argument":
            continue
        words = [_value(word) for word in node.args]
        name = next((str(word)[2:] for word in words if str(word).startswith("--")), None)
        told = {one.arg: _value(one.value) for one in node.keywords if one.arg}
        choices = told.get("choices")
        default = told.get("default")
        if name is None or default is None:
            continue
        if any(getattr(one.value, "id", "") == "float" for one in node.keywords if one.arg == "type"):
            default = float(default)
        owner = getattr(getattr(node.func, "value", None), "id", "")
        listed = tuple(choices) if isinstance(choices, (list, tuple)) else ()
        yield Argument(name, default, listed, subcommands.get(owner, ""))


def _subcommands(tree: ast.AST) -> dict[str, str]:
    """Name of a variable -> the subcommand whose parser, or a group of it, it holds."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):  # groups are made of parsers that were made before
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        made, words = node.value.func, [_value(word) for word in node.value.args]
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        if not isinstance(made, ast.Attribute):
            continue
        if made.attr == "add_parser" and words and isinstance(words[0], str):
            found |= dict.fromkeys(names, words[0])
        elif made.attr.endswith("_group") and (owner := getattr(made.value, "id", "")) in found:
            found |= dict.fromkeys(names, found[owner])
    return found


def _trains(options: Sequence[Argument], subcommands: Mapping[str, str]) -> str:
    """The subcommand that trains: by its name, else the one with most to search; "" where there is none."""
    known = [*dict.fromkeys(subcommands.values())]
    by_name = [name for name in known if name.lower() in ("train", "fit")]
    searched = {
        name: sum(one.subcommand == name and one.domain() is not None for one in options) for name in known
    }
    return by_name[0] if by_name else max(known, key=lambda name: searched[name], default="")


def _call(
    subcommand: str,
    searched: Sequence[tuple[Argument, str]],
    seed: Argument | None,
    subcommands: Mapping[str, str],
) -> str:
    """The line of a spec that calls a subcommand, with the script's own options before it."""
    options = [*([seed] if seed is not None else []), *(one for one, _ in searched)]
    words = {
        own: [f'"--{o.name}=${{{o.name}}}"' for o in options if bool(o.subcommand) is own]
        for own in (False, True)
    }
    others = [name for name in dict.fromkeys(subcommands.values()) if name != subcommand]
    more = f"; there is {', '.join(others)} too" if others else ""
    call = ", ".join([*words[False], subcommand, *words[True]])
    return f"args: [{call}]   # its subcommand {subcommand}{more}"


def _value(node: ast.AST) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _exact(value: Any) -> str:
    """A number as YAML reads it back: 0.0001, not 1e-4, which would be text."""
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return text if "e" not in text or not isinstance(value, float) else f"{value:.1e}"
