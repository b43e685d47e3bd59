"""Commands that list examples and strategies, and the one that runs benchmarks."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from typing import Any

import typer

from raysearch.cli import options
from raysearch.cli.output import console, print_json
from raysearch.errors import SpecError, unknown

BENCHES = {  # each a module of raysearch.bench with main(arguments) -> exit code
    "bookkeeping": "what the search costs beside trials that only wait",
    "coordinator": "exchanges a second, and how long one takes, with 256 simulated workers",
    "chaos": "what is lost when workers, nodes, the coordinator, the driver and the disk fail all the time",
    "digits": "a real model, beside Ray Tune",
    "fork": "what it takes to fork a checkpoint, beside copying its file",
    "groups": "trials of two processes each, beside Ray Tune with a TorchTrainer a trial",
    "fused": "many models in one step, beside one process a trial",
    "fuzz": "what becomes of inputs that nobody would write: tracebacks, hangs, other answers, code",
    "growth": "how rate, memory, disk and waiting grow with trials, workers, hyper-parameters and curves",
    "hydra": "how busy workers are with jobs of unequal length, beside Hydra's Optuna sweeper",
    "kills": "what a killed worker a minute costs a search of long segments",
    "observing": "what it costs to see what optimizers hold at their steps",
    "panda": "one model or four raised live, beside schedules and Ray Tune's populations",
    "plan": "how good the advice of raysearch plan is, on simulated situations",
    "report": "the HTML report of 10, 10,000 and 1,000,000 trials: time, memory, size",
    "resume": "from a process's start to the first new lease of a run of 1,000,000 segments",
    "retest": "how often a retest of stored settings errs",
    "scale": "10,000 workers under a virtual clock: cost of the coordinator, spot losses, stragglers",
    "script": "what a trial takes as a script, beyond the start of the script itself",
    "scaling": "settings of a small model at 64 times its compute, beside searches there",
    "schedules": "FILE: how well strategies choose among recorded schedules",
    "join": "from the moment a node joins to its first segment",
    "startup": "from the command to the first outcome, beside Tuner.fit",
    "objectives": "how well strategies search several objectives, and within limits",
    "stopping": "FILE: what stop_when saves and loses, and whether forecasts hold",
    "tables": "FILE: how well strategies search recorded learning curves",
    "tail": "when a search gets workers that another one has no work for any more",
    "throughput": "trials a second, beside Ray Tune and Optuna",
    "timing": "hours that a plan predicts, beside those of small real searches",
    "tracking": "what W&B costs a search, and how long sending takes",
    "transfer": "FILE: what remembered searches are worth to a new one",
}
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def examples(as_json: options.AsJson = False) -> None:
    """List the searches that come with the package; start one with [bold]raysearch launch NAME[/bold]."""
    from raysearch import examples as shipped

    found = {name: _first_line(shipped.path(name).read_text("utf-8")) for name in shipped.names()}
    if as_json:
        print_json(found)
        return
    from rich.table import Table

    table = Table.grid(padding=(0, 3, 0, 0))
    for name, line in found.items():
        table.add_row(name, line)
    console().print(table)


def strategies(as_json: options.AsJson = False) -> None:
    """List the strategies, their fields with defaults, and what each field means."""
    from raysearch.strategies import registry

    found = {name: describe(registry.recipe_class(name)) for name in registry.names()}
    if as_json:
        print_json(found)
        return
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    for name, about in found.items():
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(style="dim", overflow="fold", max_width=16)
        table.add_column(ratio=1)
        for field, one in about["fields"].items():
            default = "required" if one["required"] else one["default"]
            table.add_row(field, Text(default), Text(one["doc"]))
        console().print(Text.assemble((name, "bold"), "  ", about["doc"]))
        console().print(Padding(table, (0, 0, 1, 2)))


def bench(
    context: typer.Context,
    what: options.Bench = "",
) -> None:
    """Measure throughput, bookkeeping, start, a real model, or search quality on recorded curves."""
    if what in ("", "-h", "--help"):
        print("usage: raysearch bench NAME [OPTIONS]\n")
        for name, line in BENCHES.items():
            print(f"  {name:<12} {line}")
        print("\nraysearch bench NAME --help shows the options of one.")
        return
    if what not in BENCHES:
        raise SpecError(unknown("benchmark", what, BENCHES))
    code = importlib.import_module(f"raysearch.bench.{what}").main(context.args)
    raise typer.Exit(code or 0)


def describe(recipe: type[Any]) -> dict[str, Any]:
    """The first line of a recipe's docstring, and its fields with defaults and documentation."""
    text = inspect.cleandoc(recipe.__doc__ or "")  # Python keeps the indent up to 3.12 only
    docs = _attribute_docs(text)
    fields = {}
    for field in dataclasses.fields(recipe):
        if field.init:
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            fields[field.name] = {
                "required": required,
                "default": None if required else _default(field),
                "doc": docs.get(field.name, ""),
            }
    return {"doc": text.strip().split("\n")[0], "fields": fields}


def _default(field: dataclasses.Field[Any]) -> str:
    factory = field.default_factory
    value = field.default if factory is dataclasses.MISSING else factory()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ", ".join(f"{name}: {inner}" for name, inner in dataclasses.asdict(value).items())
    return str(value)


def _attribute_docs(text: str) -> dict[str, str]:
    """name -> text of the entries under `Attributes:` in a docstring."""
    _, _, listed = text.partition("Attributes:")
    docs: dict[str, str] = {}
    name = ""
    for line in listed.splitlines()[1:]:
        if begins := re.match(r" {4}(\w+): (.*)", line):
            name = begins[1]
            docs[name] = begins[2]
        elif name and line.startswith(" " * 8):
            docs[name] += " " + line.strip()
        elif not line.startswith(" " * 4):
            break
    return docs


def _first_line(yaml: str) -> str:
    """The first comment of an example, without its launch command."""
    line = yaml.partition("\n")[0].lstrip("# ")
    return re.sub(r"\s{2,}raysearch launch .*", "", line)
