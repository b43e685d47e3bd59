"""`raysearch replay`: a schedule trained again from scratch, on fresh seeds, beside constants."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from raysearch.cli import options
from raysearch.cli.follow import follow
from raysearch.cli.option_groups import Where, grouped, with_workers
from raysearch.cli.output import command, console, print_json, say
from raysearch.core.formatting import column

if TYPE_CHECKING:
    from raysearch.workflows.replay import Comparison

SHORT = 5


@grouped
def replay(
    run: options.Run,
    seeds: options.ReplaySeeds = 3,
    constants: options.Constants = 3,
    schedule: options.ScheduleFile = None,
    trial: options.Trial = None,
    name: options.Name = None,
    workers: options.Workers = None,
    *,
    where: Where,
    as_json: options.AsJson = False,
) -> None:
    """Train the winner's schedule again on fresh seeds; compare it with the original and with constants."""
    from raysearch import schedule as schedules
    from raysearch.launch import launch
    from raysearch.results.results import Results
    from raysearch.run.location import existing_run, run_folder
    from raysearch.spec.search_spec import load_spec
    from raysearch.storage.mirror import storage_of
    from raysearch.workflows.replay import compare, effects_of, replay_spec, schedule_of

    how = where.how()
    root = existing_run(run)
    searched = Results(root)
    found, remark = schedules.read(schedule) if schedule is not None else (schedule_of(searched, trial), "")
    if remark:
        say(f"note: {remark}")
    spec = load_spec(root / "spec.yaml")
    spec = dataclasses.replace(replay_spec(spec, found, seeds, constants), storage=storage_of(root))
    if name is not None:
        spec = dataclasses.replace(spec, name=name)
    spec = with_workers(spec, workers)
    folder = run_folder(spec)
    results, _ = follow(folder, spec, how, lambda how: launch(spec, how), as_json)
    comparison = compare(results, found, effects_of(searched, found))
    if as_json:
        print_json(_plain(comparison))
        return
    out = console()
    out.print_table(_table(comparison))
    out.print()
    out.print(str(comparison), soft_wrap=True)
    out.print(f"\nrun  {folder}\nall  {command('trials', str(folder))}", soft_wrap=True)


def _table(comparison: Comparison) -> Any:
    from rich.table import Table

    from raysearch.space.names import dotted

    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", show_edge=False)
    table.add_column(f"{comparison.iterations:,} iterations on fresh seeds")
    for title in (f"mean {comparison.metric}", "95% interval", "seeds"):
        table.add_column(title, justify="right", no_wrap=True)
    rows = [comparison.schedule, *comparison.constants]
    further = [*comparison.schedule.further]
    for metric in further:
        table.add_column(f"mean {dotted(metric)}", justify="right", no_wrap=True)
    if comparison.has_limits:
        table.add_column("limits")
    means = [column([row.further[metric].mean for row in rows], SHORT) for metric in further]
    estimates = [row.estimate for row in rows]
    figures = column([x for e in estimates for x in (e.mean, e.low, e.high)], SHORT)
    for i, row in enumerate(rows):
        mean, low, high = figures[3 * i : 3 * i + 3]
        interval = "-" if low == "-" else f"{low} to {high}"
        name = row.name if i == 0 else f"constant {row.name}"
        limits = ["beyond" if row.beyond else "within"] * comparison.has_limits
        seeds = f"{estimates[i].n} of {len(row.values)}"
        table.add_row(name, mean, interval, seeds, *(cells[i] for cells in means), *limits)
    return table


def _plain(comparison: Comparison) -> dict[str, Any]:
    from raysearch.space.names import dotted

    def one(row: Any) -> dict[str, Any]:
        return {
            "name": row.name,
            "config": row.config,
            "values": row.values,
            **dataclasses.asdict(row.estimate),
            "further": {dotted(metric): dataclasses.asdict(mean) for metric, mean in row.further.items()},
            **({"beyond": row.beyond} if comparison.has_limits else {}),
        }

    best = comparison.best_constant
    return {
        "metric": comparison.metric,
        "mode": comparison.mode,
        "iterations": comparison.iterations,
        "schedule": one(comparison.schedule),
        "constants": [one(row) for row in comparison.constants],
        "best_constant": best.name if best else None,
        "original": comparison.original,
        "gap": comparison.gap,
        "gain": dataclasses.asdict(comparison.gain) if comparison.gain else None,
        "baseline": comparison.baseline.name if comparison.baseline else None,
        "baseline_gain": dataclasses.asdict(comparison.baseline_gain) if comparison.baseline_gain else None,
        "effects": list(comparison.effects),
        "text": str(comparison),
    }
