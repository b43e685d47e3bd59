"""`raysearch launch --dry-run`: what a search would do and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raysearch.cli.output import console, print_json
from raysearch.core.formatting import duration, number
from raysearch.storage.mirror import mirror_at, shown
from raysearch.storage.paths import RunPaths
from raysearch.strategies.base import abilities_of, cost_of
from raysearch.strategies.cost import PopulationCost, RungCost

if TYPE_CHECKING:
    from raysearch.spec.search_spec import SearchSpec


def show_estimate(spec: SearchSpec, seconds_per_iteration: float | None, as_json: bool) -> None:
    """Prints the plan of a search; the trainable is imported, nothing is started.

    Raises:
        TrainableError: it cannot be imported.
    """
    found = estimate(spec, seconds_per_iteration)
    if as_json:
        print_json(found)
        return
    from rich.table import Table

    out = console()
    out.print(f"{found['name']}: {found['strategy']}, {_goals(found)}\n")
    if found["rungs"]:
        out.print(_rung_table(found))
        out.print()
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(ratio=1)
    for label, text in _remarks(found):
        grid.add_row(label, text)
    out.print(grid)


def estimate(spec: SearchSpec, seconds_per_iteration: float | None) -> dict[str, Any]:
    """The same as plain values."""
    from raysearch.run.location import run_folder
    from raysearch.spec.trainables import load_trainable

    variant, why = variant_of(spec, load_trainable(spec.trainable))
    folder = run_folder(spec)
    mirror = mirror_at(folder)
    plan = cost_of(spec.strategy, spec.baseline is not None)
    count = spec.workers.count
    return {
        "name": spec.name,
        "run": shown(folder),
        "exists": mirror.store.has(RunPaths(folder).spec.name) if mirror is not None else folder.exists(),
        "strategy": spec.strategy.name,
        "metric": spec.metric,
        "mode": spec.mode,
        **({"objectives": dict(spec.objectives)} if spec.objectives else {}),
        **({"limits": [limit.text for limit in spec.limits]} if spec.limits else {}),
        "variant": variant,
        "variant_why": why,
        "workers": count,
        "rungs": [
            {"iteration": s.iteration, "trials": s.trials, "iterations": s.iterations} for s in plan.steps
        ]
        if isinstance(plan, RungCost)
        else [],
        **(_cost(plan, seconds_per_iteration, count) if plan else {}),
    }


def _goals(found: dict[str, Any]) -> str:
    """`loss (min)`; of several `loss (min), latency (min), loss leads; within latency <= 20`."""
    modes = found.get("objectives") or {found["metric"]: found["mode"]}
    words = ", ".join(f"{name} ({mode})" for name, mode in modes.items())
    leads = f", {found['metric']} leads" if len(modes) > 1 else ""
    limits = "; ".join(found.get("limits", ()))
    return f"{words}{leads}{f'; within {limits}' if limits else ''}"


def variant_of(spec: SearchSpec, trainable: Any) -> tuple[str | None, str]:
    """Promotion or stopping, and why; (None, "") for a strategy without the choice."""
    from raysearch.spec.trainables import begins_from_checkpoints, can_pause

    variant = abilities_of(spec.strategy).variant
    if variant != "auto":
        return variant, "so set in the spec" if variant else ""
    name = getattr(trainable, "__name__", str(trainable))
    shows = "shows no checkpoints"
    if can_pause(trainable):
        if begins_from_checkpoints(trainable):
            waits = "so a trial can wait at a rung and be trained on later"
            return "promotion", f"{name} writes checkpoints, {waits}"
        shows = "saves checkpoints and never begins from one"
    return "stopping", f"{name} {shows}, so a trial is trained on at once or never"


def _cost(plan: RungCost | PopulationCost, seconds: float | None, workers: int | str) -> dict[str, Any]:
    hours = plan.iterations * seconds / 3600 if seconds else None
    least = plan.horizon * seconds / 3600 if seconds else 0.0  # a model is trained one step after the other
    only: dict[str, Any] = {"members": plan.members} if isinstance(plan, PopulationCost) else _plan_cost(plan)
    return {
        **only,
        "max_iterations": plan.horizon,
        "iterations": plan.iterations,
        "full_trainings": plan.full_trainings,
        "seconds_per_iteration": seconds,
        "worker_hours": hours,
        "hours": max(hours / workers, least) if hours is not None and isinstance(workers, int) else None,
    }


def _plan_cost(plan: RungCost) -> dict[str, Any]:
    return {
        "samples": plan.samples,
        "finish": {"trainings": plan.finals, "iterations": plan.finals * plan.horizon},
        "share_of_training_all": plan.share,
    }


def _rung_table(found: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", show_edge=False)
    for name in ("rung", "trials", "iterations", "of all"):
        table.add_column(name, justify="right")
    total = found["iterations"]
    rows = [(f"{r['iteration']:,}", r["trials"], r["iterations"]) for r in found["rungs"]]
    if found["finish"]["trainings"]:
        rows.append(("finish", found["finish"]["trainings"], found["finish"]["iterations"]))
    for label, trials, iterations in rows:
        table.add_row(label, f"{trials:,}", f"{iterations:,}", f"{iterations / total:.1%}")
    table.add_row("all", "", f"{total:,}", "", style="bold")
    return table


def _remarks(found: dict[str, Any]) -> list[tuple[str, str]]:
    remarks = []
    if found["variant"]:
        remarks.append(("variant", f"{found['variant']}: {found['variant_why']}"))
    if found["rungs"]:
        remarks += [("cost", _cost_text(found)), ("time", _time(found))]
        top = found["rungs"][-1]
        if not top["trials"]:
            text = f"too few samples for so many rungs: none is sure to reach iteration {top['iteration']:,}"
            remarks.append(("note", f"{text}. More samples or a higher min_iterations would change that"))
    elif "members" in found:
        remarks += [("cost", _course_text(found)), ("time", _time(found))]
    else:
        remarks.append(("cost", f"the strategy {found['strategy']} does not say beforehand"))
    there = " (exists already: choose another --name, or resume it)" if found["exists"] else ""
    remarks.append(("run", f"{found['run']}{there}"))
    return remarks


def _cost_text(found: dict[str, Any]) -> str:
    return (
        f"about {number(found['full_trainings'], 3)} full trainings of {found['max_iterations']:,} iterations"
        f", {found['share_of_training_all']:.1%} of training all {found['samples']:,} samples to the end. "
        "A search that learns promotes some more than this"
    )


def _course_text(found: dict[str, Any]) -> str:
    models = "one model" if found["members"] == 1 else f"{found['members']} models"
    return (
        f"{models} over {found['max_iterations']:,} iterations: at most {found['iterations']:,} with all "
        f"probes, as many as {number(found['full_trainings'], 3)} trainings of one model"
    )


def _time(found: dict[str, Any]) -> str:
    if found["worker_hours"] is None:
        return "give --seconds-per-iteration for an estimate in hours"
    text = f"about {duration(found['worker_hours'] * 3600)} of one worker"
    if found["hours"] is not None and found["workers"] > 1:
        text += f", {duration(found['hours'] * 3600)} on {found['workers']}"
    return text
