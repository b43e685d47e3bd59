"""`raysearch init`: a search of one's own that runs here as it is, made of what lies in the folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from raysearch.cli.hydra_command import COMMAND, command_of, is_application
from raysearch.cli.output import command
from raysearch.cli.own_code import KINDS, file_of, what_to_change
from raysearch.cli.script_spec import spec_of
from raysearch.core.user_paths import entries
from raysearch.errors import LocatedError, SpecError

MODEL, SPEC = "my_model.py", "search.yaml"
SIZES = {"strategy.max_iterations": 27, "strategy.samples": 50}  # of a sweep that does not say its own

Lightning = Annotated[bool, typer.Option("--lightning", help="A Lightning module to begin with.")]
HuggingFace = Annotated[bool, typer.Option("--huggingface", help="A transformers Trainer to begin with.")]
Optuna = Annotated[bool, typer.Option("--optuna", help="An Optuna objective to begin with.")]
Script = Annotated[str | None, typer.Option("--script", metavar="FILE", help="Search a script as it is.")]
Hydra = Annotated[
    str | None, typer.Option("--hydra", metavar="FILE", help="Search an application under Hydra as it is.")
]
Sweep = Annotated[str | None, typer.Option("--sweep", metavar="FILE", help="Begin with a W&B sweep file.")]


def init(
    lightning: Lightning = False,
    huggingface: HuggingFace = False,
    optuna: Optuna = False,
    script: Script = None,
    hydra: Hydra = None,
    sweep: Sweep = None,
) -> None:
    """Write a search that runs here: search.yaml, and my_model.py unless there is a script.

    Without an option it looks for a sweep file, an application under Hydra, an Optuna objective, a script
    with argparse, Lightning and transformers in the current folder, in this order. Of an application it
    writes search.sh. my_model.py is an example: beside code of its kind, init says what to change there.
    """
    chosen = {"sweep": sweep, "hydra": hydra, "script": script}
    begins = {"lightning": lightning, "huggingface": huggingface, "optuna": optuna}
    begin = [kind for kind, given in begins.items() if given]
    files = {kind: file for kind, file in chosen.items() if file is not None}
    if len(files) + len(begin) > 1:
        raise SpecError("init: give one of --lightning, --huggingface, --optuna, --script, --hydra, --sweep")
    here = Path.cwd()
    kind, file = next(iter(files.items()), (begin[0], _own(begin[0], here)) if begin else _seen(here))
    written = _written(kind, Path(file))
    for name in written:
        if Path(name).exists():
            raise SpecError(f"{name} is here already: move it away, or run raysearch init in another folder")
    for name, text in written.items():
        Path(name).write_text(text, encoding="utf-8")
        print(f"wrote {name}")
    if kind in KINDS and file:
        print("\n".join(what_to_change(kind, file, MODEL)))
    print(f"next  sh {COMMAND}" if COMMAND in written else f"next  {command('launch', SPEC)}")


def _written(kind: str, file: Path) -> dict[str, str]:
    """The files that begin a search of this kind, by their names."""
    if kind == "sweep":
        return {SPEC: _of_sweep(file)}
    if kind == "hydra":
        return {COMMAND: command_of(file)}
    if kind == "script":
        return {SPEC: spec_of(file, _workers())}
    return _of_example(kind, file.name)


def _seen(folder: Path) -> tuple[str, str]:
    """What a folder holds, and the file that shows it: a sweep, an application, a script, or a framework."""
    from raysearch.core.yaml_io import read_yaml
    from raysearch.interop.wandb_sweep import is_sweep

    for file in entries(folder, "*.y*ml"):
        try:
            settings = read_yaml(file.read_text(encoding="utf-8", errors="replace"), file.name)
        except SpecError:  # somebody else's file
            continue
        if isinstance(settings, dict) and is_sweep(settings):
            return "sweep", file.name
    texts = _texts(folder)
    for name, text in texts.items():
        if is_application(text):
            return "hydra", name
    if name := file_of("optuna", texts):  # one with argparse too: it says how many trials there are
        return "optuna", name
    for name, text in texts.items():
        if "add_argument(" in text:
            return "script", name
    found = ((kind, name) for kind in KINDS if (name := file_of(kind, texts)))
    return next(found, ("function", ""))


def _own(kind: str, folder: Path) -> str:
    """The file of the folder that has code of this kind; empty where there is none."""
    return file_of(kind, _texts(folder))


def _texts(folder: Path) -> dict[str, str]:
    """The Python files of a folder, by their names."""
    return {f.name: f.read_text(encoding="utf-8", errors="replace") for f in entries(folder, "*.py")}


def _of_example(kind: str, own: str) -> dict[str, str]:
    """The model and the spec of an example; both say what to change in the file `own`, if there is one."""
    from raysearch import examples

    file = examples.path(kind)
    spec = re.sub(
        r"trainable: \S+:(\w+)( *#.*)?", rf"trainable: {MODEL}:\1", file.read_text(encoding="utf-8")
    )
    spec = re.sub(rf"^name: {kind}", "name: my-search", spec, flags=re.MULTILINE)
    spec = re.sub(rf"raysearch launch {kind}\b", f"raysearch launch {SPEC}", spec)
    if not re.search("^workers:", spec, re.MULTILINE) or "gpu" in _workers():
        spec = re.sub(r"^workers:.*\n", "", spec, flags=re.MULTILINE) + _workers()
    model = file.with_suffix(".py").read_text(encoding="utf-8").replace(f"for {kind}.yaml", f"for {SPEC}")
    heading = "".join(f"# {line}\n" for line in (what_to_change(kind, own, MODEL) if own else ()))
    written = {MODEL: model, SPEC: spec}
    return {
        name: heading + re.sub(r"python -m raysearch\.\S+", f"python {MODEL}", text)
        for name, text in written.items()
    }


def _of_sweep(file: Path) -> str:
    """The spec that a sweep file amounts to, in raysearch's own form."""
    from raysearch.spec.search_spec import load_spec

    missing: dict[str, int] = {}
    for name, value in (*SIZES.items(), ("", 0)):
        try:
            spec = load_spec(file, missing)
            break
        except SpecError as error:
            place = error.__cause__.place if isinstance(error.__cause__, LocatedError) else ""
            if place.partition(".")[0] != "strategy" or not name:
                raise
            missing[name] = value
    said = [f"# The sweep does not say {name}: {value} is a guess.\n" for name, value in missing.items()]
    heading = f"# {file.name} as raysearch reads it; it may be launched itself as well.\n"
    return "".join([heading, *said, spec.to_yaml()])


def _workers() -> str:
    """The line of the workers that fit this machine."""
    from raysearch.run.fingerprint import gpus

    kinds = gpus()
    if kinds is None:
        return "workers: {count: auto, cpu: 1}   # as many as there is room for, a core each\n"
    return f"workers: {{count: auto, cpu: 1, gpu: 1}}   # {kinds}; gpu: 0.25 puts four on each\n"
