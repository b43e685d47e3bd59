"""`raysearch init`: a search of one's own that runs here as it is, made of what lies in the folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from raysearch.cli.output import command
from raysearch.core.user_paths import entries
from raysearch.errors import LocatedError, SpecError

MODEL, SPEC = "my_model.py", "search.yaml"
TEMPLATES = {"lightning": "lightning", "huggingface": "huggingface", "function": "function"}
IMPORTS = {
    "lightning": r"^\s*(import|from) (pytorch_)?lightning\b",
    "huggingface": r"^\s*(import|from) transformers\b",
}
SIZES = {"strategy.max_iterations": 27, "strategy.samples": 50}  # of a sweep that does not say its own

Lightning = Annotated[bool, typer.Option("--lightning", help="A Lightning module to begin with.")]
HuggingFace = Annotated[bool, typer.Option("--huggingface", help="A transformers Trainer to begin with.")]
Script = Annotated[str | None, typer.Option("--script", metavar="FILE", help="Search a script as it is.")]
Sweep = Annotated[str | None, typer.Option("--sweep", metavar="FILE", help="Begin with a W&B sweep file.")]


def init(
    lightning: Lightning = False, huggingface: HuggingFace = False, script: Script = None, sweep: Sweep = None
) -> None:
    """Write a search that runs here: search.yaml, and my_model.py unless there is a script.

    Without an option it looks for a sweep file, a script with argparse, Lightning and transformers in the
    current folder, in this order.
    """
    chosen = [lightning, huggingface, script is not None, sweep is not None]
    if sum(chosen) > 1:
        raise SpecError("init: give one of --lightning, --huggingface, --script and --sweep")
    if not any(chosen):
        lightning, huggingface, script, sweep = _seen(Path.cwd())
    if sweep is not None:
        written = {SPEC: _of_sweep(Path(sweep))}
    elif script is not None:
        from raysearch.cli.script_spec import spec_of

        written = {SPEC: spec_of(Path(script), _workers())}
    else:
        written = _of_example("lightning" if lightning else "huggingface" if huggingface else "function")
    for name in written:
        if Path(name).exists():
            raise SpecError(f"{name} is here already: move it away, or run raysearch init in another folder")
    for name, text in written.items():
        Path(name).write_text(text, encoding="utf-8")
        print(f"wrote {name}")
    print(f"next  {command('launch', SPEC)}")


def _seen(folder: Path) -> tuple[bool, bool, str | None, str | None]:
    """What a folder holds: (Lightning, transformers, a script with argparse, a sweep file)."""
    from raysearch.core.yaml_io import read_yaml
    from raysearch.interop.wandb_sweep import is_sweep

    for file in entries(folder, "*.y*ml"):
        try:
            settings = read_yaml(file.read_text(encoding="utf-8", errors="replace"), file.name)
        except SpecError:  # somebody else's file
            continue
        if isinstance(settings, dict) and is_sweep(settings):
            return False, False, None, file.name
    texts = {f.name: f.read_text(encoding="utf-8", errors="replace") for f in entries(folder, "*.py")}
    script = next((name for name, text in texts.items() if "add_argument(" in text), None)
    if script is not None:
        return False, False, script, None
    found = {
        name: any(re.search(pattern, text, re.MULTILINE) for text in texts.values())
        for name, pattern in IMPORTS.items()
    }
    return found["lightning"], found["huggingface"], None, None


def _of_example(kind: str) -> dict[str, str]:
    """The model and the spec of an example, as files of one's own."""
    from raysearch import examples

    file = examples.path(TEMPLATES[kind])
    spec = re.sub(
        r"trainable: \S+:(\w+)( *#.*)?", rf"trainable: {MODEL}:\1", file.read_text(encoding="utf-8")
    )
    spec = re.sub(rf"^name: {kind}", "name: my-search", spec, flags=re.MULTILINE)
    spec = re.sub(rf"raysearch launch {kind}\b", f"raysearch launch {SPEC}", spec)
    if not re.search("^workers:", spec, re.MULTILINE) or "gpu" in _workers():
        spec = re.sub(r"^workers:.*\n", "", spec, flags=re.MULTILINE) + _workers()
    return {MODEL: file.with_suffix(".py").read_text(encoding="utf-8"), SPEC: spec}


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
