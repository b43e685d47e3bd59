"""`raysearch retest` and `raysearch due`: are stored settings still good, and which are due?"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from raysearch.cli import options
from raysearch.cli.follow import follow
from raysearch.cli.option_groups import Where, grouped, with_workers
from raysearch.cli.output import command, console, print_json, say
from raysearch.core.user_paths import user_path
from raysearch.errors import RunError
from raysearch.storage.exports import read_config

if TYPE_CHECKING:
    from raysearch.run.options import How
    from raysearch.spec.search_spec import SearchSpec
    from raysearch.workflows.retest.records import RetestVerdict

EXIT = {"fresh": 0, "stale": 3, "inconclusive": 4}
DUE = 3
DAMAGED = 2

Challengers = Annotated[int, Option(metavar="K", min=1, max=8, help="Number of other settings to try.")]
Settings = Annotated[
    Path | None,
    Option("--config", metavar="FILE", help="File with the settings in use, if not the run's best."),
]
Screen = Annotated[
    int | None, Option(metavar="N", min=0, help="Compare after N iterations; 0 compares whole trainings.")
]
Eps = Annotated[
    float, Option(metavar="GAIN", min=0, help="Smallest gain that matters, in units of the metric.")
]
Margin = Annotated[
    float,
    Option(metavar="SDS", min=0, help="Smallest gain that matters, in standard deviations of a difference."),
]
Alpha = Annotated[float, Option(metavar="P", help="Probability of replacing settings that are the best.")]
Pairs = Annotated[int, Option(metavar="N", help="Most pairs to train.")]
Metric = Annotated[
    str | None, Option(metavar="NAME", help="Objective to test, of several. Default: the leading one.")
]
IfDue = Annotated[bool, Option("--if-due", help="Start only if the settings are due.")]
Storage = Annotated[str, Argument(metavar="[DIR]", show_default=True, help="Folder of the runs.")]


@grouped
def retest(
    run: options.Run,
    challengers: Challengers = 4,
    config: Settings = None,
    screen: Screen = None,
    eps: Eps = 0.0,
    margin: Margin = 1.0,
    alpha: Alpha = 0.05,
    pairs: Pairs = 10,
    if_due: IfDue = False,
    metric: Metric = None,
    memory: options.Memory = None,
    workers: options.Workers = None,
    *,
    where: Where,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Show what the retest would try; start nothing.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Test whether a run's settings are still good. Exit code 0: fresh, 3: stale, 4: inconclusive.

    A retest that was interrupted continues where it stopped.
    """
    from raysearch.run.location import existing_run
    from raysearch.workflows.retest.due import due_of
    from raysearch.workflows.retest.records import unfinished

    how, root = where.how(), existing_run(run)
    going = unfinished(root)
    if if_due and going is None and not (standing := due_of(root, time.time())):
        raise RunError(f"{run}: its search has not ended, so there are no settings to test yet")
    if if_due and going is None and standing and not standing.reasons:
        _say_not_due(run, standing, as_json)
        return
    rules = {"eps": eps, "margin": margin, "alpha": alpha, "pairs": pairs}
    spec, folder = _spec(root, going, challengers, config, screen, memory, workers, metric, rules)
    if dry_run:
        _show_plan(spec, as_json)
        return
    verdict = _run(folder, spec, how, going is not None, as_json)
    _show(verdict, run, as_json)
    raise typer.Exit(EXIT[verdict.word])


def due(storage: Storage = "runs", as_json: options.AsJson = False) -> None:
    """List settings due for a retest, by date or by changed data, code or machine. Exit code 3 if any.

    It names runs that it cannot read too; then the exit code is 2 if no other run is due.
    """
    from raysearch.workflows.retest.due import due_in

    folder = user_path(storage)
    if not folder.is_dir():
        raise RunError(f"{storage!r} is no folder: give the one that runs are kept in")
    found, damaged = due_in(folder, time.time())
    for bad in damaged:
        say(f"warning: {bad.run} cannot be read ({bad.error}); restore it, or move it out of {folder}")
    if as_json:
        print_json([_plain(one) for one in found])
    elif not found:
        console().print(f"no finished search in {folder}")
    else:
        _show_due(found)
    raise typer.Exit(DUE if any(one.reasons for one in found) else DAMAGED if damaged else 0)


# ---- inside


def _spec(
    root: Path,
    going: Path | None,
    challengers: int,
    config: Path | None,
    screen: int | None,
    memory: str | None,
    workers: int | None,
    metric: str | None,
    rules: dict[str, Any],
) -> tuple[SearchSpec, Path]:
    from raysearch.results.results import Results
    from raysearch.spec.search_spec import load_spec
    from raysearch.workflows.retest.calendar import day_of
    from raysearch.workflows.retest.retest import retest_spec

    if going is not None:
        return load_spec(going / "spec.yaml"), going
    spec = retest_spec(
        Results(root),
        day=day_of(time.time()),
        challengers=challengers,
        incumbent=None if config is None else _incumbent(config),
        screen="auto" if screen is None else screen or None,
        weights=_elsewhere(memory),
        metric=metric,
        **rules,
    )
    spec = with_workers(spec, workers)
    return spec, root.parent / spec.name


def _incumbent(file: Path) -> dict[str, Any]:
    config, remark = read_config(file, "--config")
    if remark:
        say(f"note: {remark}")
    return config


def _elsewhere(memory: str | None) -> dict[str, float]:
    """How much each hyper-parameter mattered in the tasks of a memory."""
    if memory is None:
        return {}
    from raysearch.workflows.memory.recall import importance_everywhere
    from raysearch.workflows.memory.store import Memory

    return importance_everywhere(Memory(memory).records().good)


def _run(folder: Path, spec: SearchSpec, how: How, goes_on: bool, as_json: bool) -> RetestVerdict:
    from raysearch.launch import launch, resume
    from raysearch.workflows.retest.verdict import judged, record

    out = console(stderr=as_json)
    if goes_on:
        out.print(f"going on with {folder.name}, which has no verdict yet")
    start = (lambda h: resume(folder, h)) if goes_on else (lambda h: launch(spec, h))
    _, ending = follow(folder, spec, how, start, as_json)
    judgement = judged(folder)
    if judgement is None:
        raise RunError(
            f"{folder}: the retest ended before its verdict: {ending}; run the command again to go on"
        )
    return record(folder, judgement, time.time())


def _show(verdict: RetestVerdict, run: str, as_json: bool) -> None:
    if as_json:
        print_json(_plain(verdict))
        return
    out = console()
    out.print()
    out.print(verdict.text, soft_wrap=True)
    out.print(f"\n{verdict.runs} trainings. Next retest: {verdict.due}, in {verdict.interval} months.")
    out.print(f"all  {command('trials', str(verdict.run))}", soft_wrap=True)
    if verdict.word == "stale" and not verdict.changed:
        out.print(f"next {command('launch', str(Path(run) / 'spec.yaml'), '--name', 'NAME')}", soft_wrap=True)


def _show_plan(spec: SearchSpec, as_json: bool) -> None:
    recipe: Any = spec.strategy
    if as_json:
        print_json(spec.to_dict())
        return
    out = console()
    out.print(f"{spec.name}: the settings in use against {len(recipe.challengers)} others\n")
    for one in recipe.challengers:
        out.print(f"  {one['why']}", soft_wrap=True)
    least = recipe.population * recipe.rules.looks[0][0]
    length = recipe.test_iterations
    out.print(
        f"\n{least} to {recipe.population * recipe.pairs} trainings of {length} iterations"
        + (
            f", compared early: ranks there agree with those at {recipe.max_iterations}"
            if length < recipe.max_iterations
            else ""
        )
        + f"; {2 * recipe.confirm} more of {recipe.max_iterations} if one is found better."
    )


def _say_not_due(run: str, standing: Any, as_json: bool) -> None:
    if as_json:
        print_json(_plain(standing))
        return
    console().print(f"{run}: not due before {standing.due}; {standing.last} since {standing.since}")


def _show_due(found: list[Any]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", show_edge=False)
    for name in ("run", "last verdict", "since", "next", "due because"):
        table.add_column(name)
    for one in found:
        why = "; ".join(one.reasons) or "-"
        table.add_row(str(one.run), one.last, str(one.since), str(one.due), why)
    out = console()
    out.print_table(table)
    for one in found:
        for note in one.notes:
            out.print(f"{one.run}: {note}", soft_wrap=True)
    due_now = [one for one in found if one.reasons]
    if due_now:
        out.print(f"\n{command('retest', str(due_now[0].run))}", soft_wrap=True)


def _plain(one: Any) -> dict[str, Any]:
    return {f.name: getattr(one, f.name) for f in dataclasses.fields(one)}
