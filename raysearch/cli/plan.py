"""`raysearch plan`: measures a trainable for seconds, and recommends a strategy for the time available."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from raysearch.cli import options
from raysearch.cli.opened_run import opened
from raysearch.cli.option_groups import Where, grouped, load, spec_file
from raysearch.cli.output import command, console, print_json, say
from raysearch.core.formatting import duration, number
from raysearch.errors import SpecError

if TYPE_CHECKING:
    from raysearch.spec.search_spec import SearchSpec
    from raysearch.workflows.plan import Plan

Deadline = Annotated[str | None, Option(metavar="TIME", help="Time until the model is needed: 3d, 12h, 90m.")]
GpuHours = Annotated[float | None, Option(metavar="H", min=0, help="GPU-hours that the search may spend.")]
Seconds = Annotated[float, Option("--seconds", metavar="S", min=0.1, help="Measure for about S seconds.")]
Like = Annotated[
    str | None, Option(metavar="RUN", help="Earlier run that shows how well early ranks predict late ones.")
]
Moving = Annotated[
    bool, Option("--moving", help="Assume that the best settings change during a training, as in RL.")
]
Write = Annotated[bool, Option("--write", help="Write the strategy into the spec.")]


@grouped
def plan(
    spec: options.Spec,
    deadline: Deadline = None,
    gpu_hours: GpuHours = None,
    seconds: Seconds = 10.0,
    workers: options.Workers = None,
    sets: options.Sets = None,
    like: Like = None,
    moving: Moving = False,
    write: Write = False,
    *,
    where: Where,
    as_json: options.AsJson = False,
) -> None:
    """Train for a few seconds to measure the trainable, and recommend a strategy for the time available."""
    from raysearch.core.quantities import seconds as seconds_of
    from raysearch.workflows.plan import make_plan

    how = where.how()
    search = load(spec, workers, sets)
    try:
        hours = None if deadline is None else seconds_of(deadline) / 3600
    except SpecError as error:
        raise SpecError(f"--deadline {error}") from None
    found = make_plan(
        search,
        how,
        hours=hours,
        gpu_hours=gpu_hours,
        limit_s=seconds,
        ranks=_ranks(like, search),
        moves=moving,
    )
    if as_json:
        print_json(_plain(found))
    else:
        _show(found, search)
    if write:
        _write(spec_file(spec), found.spec(search))
    elif not as_json and found.advice.strategy != "none":
        console().print(f"\nput it into the spec  {command('plan', spec, '--write')}", soft_wrap=True)


def _ranks(run: str | None, spec: SearchSpec) -> float | None:
    """How far early ranks agree with late ones in an earlier run."""
    if run is None:
        return None
    from raysearch.results.rung_scores import scores_of

    found = scores_of(opened(run), spec.space).early_ranks()
    if found is None:
        say(f"note: too few trials of {run} came to the end to tell how far early ranks hold")
    return found


def _show(found: Plan, spec: SearchSpec) -> None:
    from rich.table import Table

    advice, measured, out = found.advice, found.measured, console()
    settings = ", ".join(f"{k}: {v}" for k, v in advice.settings.items())
    name = "nothing fits" if advice.strategy == "none" else f"{advice.strategy} ({settings})"
    out.print(f"{spec.name}: {name}\n", soft_wrap=True)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(ratio=1)
    cost = (
        f"{advice.trainings:.1f} whole trainings, {advice.trials:,} trials, {duration(advice.hours * 3600)}"
    )
    gpu = f", {number(advice.gpu_hours, 3)} GPU-hours" if advice.gpu_hours else ""
    grid.add_row("cost", f"{cost} on {found.situation.workers} workers{gpu}")
    for label, texts in (("because", advice.reasons), ("would change", advice.flips)):
        for n, text in enumerate(texts):
            grid.add_row(label if not n else "", text)
    grid.add_row("measured", _measured(measured, found))
    out.print(grid)


def _measured(m: Any, found: Plan) -> str:
    text = f"{number(m.seconds, 3)} s an iteration, {number(m.start_s, 2)} s to start, "
    text += f"{m.memory_bytes / 1e9:.2f} GB of memory"
    if m.checkpoint_bytes:
        text += f"; a checkpoint {m.checkpoint_bytes / 1e6:.2f} MB and {number(m.switch_s, 2)} s a switch"
    if m.gpu_bytes:
        text += f"; {m.gpu_bytes / 1e9:.2f} GB of GPU memory" + (
            f", {found.per_gpu} fit on one" if found.per_gpu else ""
        )
    return text + (f"; over {m.iterations} iterations" + ("; it fuses" if found.fuses else ""))


def _plain(found: Plan) -> dict[str, Any]:
    return {
        "advice": dataclasses.asdict(found.advice),
        "measured": dataclasses.asdict(found.measured),
        "situation": dataclasses.asdict(found.situation),
        "fuses": found.fuses,
        "per_gpu": found.per_gpu,
    }


def _write(file: Path, spec: SearchSpec) -> None:
    """Replaces the `strategy:` of a spec's file, and nothing else in it."""
    from raysearch.storage.atomic import replace_text
    from raysearch.workflows.plan import written_into

    replace_text(file, written_into(file, spec))
    console().print(f"\nwritten to {file}", soft_wrap=True)
