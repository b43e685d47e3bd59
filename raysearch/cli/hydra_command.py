"""The command that searches a Hydra application, made of its own configuration."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from raysearch.cli.script_spec import Argument, parsed
from raysearch.core.nested import flat_names
from raysearch.core.yaml_io import read_mapping, read_yaml
from raysearch.errors import SpecError

COMMAND = "search.sh"
FORMS = {  # kind of a domain -> how Hydra writes it
    "uniform": "interval({}, {})",
    "loguniform": "tag(log, interval({}, {}))",
    "randint": "int(interval({}, {}))",
}


def is_application(text: str) -> bool:
    """Whether Python code decorates a function with `@hydra.main`."""
    try:
        return _decorator(ast.parse(text)) is not None
    except SyntaxError:
        return False


def command_of(script: Path) -> str:
    """The text of a shell script that searches the application around its configuration.

    Raises:
        SpecError: it is not there, is no Hydra application, or its configuration has nothing to search.
    """
    found = _decorator(parsed(script, "--hydra"))
    if found is None:
        raise SpecError(f"--hydra {script}: no function in it is decorated with @hydra.main")
    function, folder, name = found
    sweeps = [*_sweeps(script.parent / folder, name)]
    if not sweeps:
        raise SpecError(
            f"--hydra {script}: {Path(folder, name)}.yaml has no number and no group of several files; write "
            f"a sweep yourself: python {script} --multirun hydra/sweeper=raysearch 'lr=interval(0.001, 0.1)'"
        )
    returns = any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(function))
    what = "what it returns is compared" if returns else "IT RETURNS NOTHING: have it return its loss"
    lines = [
        "#!/bin/sh",
        f"# {script.name} as it is, a job a trial     sh {COMMAND}     ({what}; the lowest is best)",
        "# Its values are searched around those of its configuration, and each group among all its files.",
        "# One that reports each epoch, raysearch.report(val_loss=loss), is stopped where it falls behind,",
        "# by hydra.sweeper.metric=val_loss hydra.sweeper.max_iterations=27. More arguments are passed on.",
        f"exec python {shlex.quote(str(script))} --multirun hydra/sweeper=raysearch \\",
        *(f"    {shlex.quote(sweep)} \\" for sweep in sweeps),
        '    hydra.sweeper.samples=50 "$@"',
    ]
    return "\n".join(lines) + "\n"


def _decorator(tree: ast.AST) -> tuple[ast.FunctionDef, str, str] | None:
    """(the function under `@hydra.main`, its config_path, its config_name)."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func) in ("hydra.main", "main"):
                told = dict(zip(("config_path", "config_name"), call.args, strict=False))
                told |= {one.arg: one.value for one in call.keywords if one.arg}
                path, name = (_text(told.get(key)) for key in ("config_path", "config_name"))
                return node, path, name.removesuffix(".yaml") or "config"
    return None


def _text(node: ast.AST | None) -> str:
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) else ""


def _sweeps(folder: Path, name: str) -> Iterator[str]:
    """The overrides that search the groups and numbers of a configuration."""
    file = folder / f"{name}.yaml"
    settings = read_mapping(file, "the application's configuration", "a mapping") if file.is_file() else {}
    chosen = {
        str(group): str(option)
        for entry in settings.get("defaults") or ()
        if isinstance(entry, Mapping)
        for group, option in entry.items()
        if not str(group).startswith(("hydra", "override"))
    }
    values = {key: value for key, value in settings.items() if key not in ("defaults", "hydra")}
    for group in chosen:
        options = sorted((folder / group).glob("*.yaml"))
        if len(options) > 1:
            yield f"{group}={','.join(option.stem for option in options)}"
        read = [read_yaml(option.read_text("utf-8"), option.name) for option in options]
        shared = [one for one in read if isinstance(one, dict)]
        if shared:
            common = {key: shared[0][key] for key in shared[0] if all(key in one for one in shared)}
            values[group.replace("/", ".")] = {**common, **(values.get(group) or {})}
    for key, value in flat_names(values, ".").items():
        domain = Argument(key, value).domain()
        if domain is not None:
            ((kind, (low, high)),) = read_yaml(domain, key).items()
            yield f"{key}={FORMS[kind].format(low, high)}"
