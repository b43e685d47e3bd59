"""What a search came to, in words and as plain values: the end of a launch, `raysearch best`, and --json."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from raysearch.cli.output import command, console, print_json
from raysearch.core.formatting import column, number, settings
from raysearch.core.segment import trial_name
from raysearch.core.terminal_text import escaped
from raysearch.engine.wind_down import Ended, more_of
from raysearch.errors import RunError, SpecError
from raysearch.storage.mirror import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raysearch.results import Best, Results
    from raysearch.results.verdict import Contender, Verdict
    from raysearch.run.display.safe_console import SafeConsole

DIGITS = 6  # of the winner's configuration; the exact values come from export


def summary(results: Results, ending: str | None = None) -> dict[str, Any]:
    """The result of a run as plain values; `best` is None, with `why`, if no trial ended well."""
    said: dict[str, Any] = {"run": shown(results.path), "metric": results.metric, "mode": results.mode}
    said |= goals_said(results)
    if ending is not None:
        said["ending"] = ending
    try:
        said["best"] = dataclasses.asdict(results.best)
    except RunError as error:
        return {**said, "best": None, "why": str(error)}
    return {**said, "verdict": _verdict_values(results.verdict())}


def goals_said(results: Results) -> dict[str, Any]:
    """The objectives, limits and front of a run as plain values; nothing for one metric alone."""
    goals = results.goals
    if goals.is_plain:
        return {}
    limits = [limit.text for limit in goals.limits]
    front = [dataclasses.asdict(member) for member in results.front]
    return {"objectives": dict(goals.modes), "limits": limits, "front": front}


def show_picked(results: Results, where: str | None, weights: str | None, as_json: bool) -> None:
    """Prints the member of the front that a condition and weights pick."""
    from raysearch.space.names import dotted

    member = results.front.pick(where, weights_of(weights))
    if as_json:
        print_json(dataclasses.asdict(member))
        return
    out, goals = console(), results.goals
    said = ", ".join(
        f"{dotted(name)} {member.estimates.get(name, number(v, 5))}" for name, v in member.values.items()
    )
    seeds = f", on {member.seeds} fresh seeds" if member.estimates else ", in the search"
    rows = {"taken": f"{member.name}: {said}{seeds}"}
    rows |= settings(member.config, DIGITS)
    run = shown(results.path)
    take = ("--baseline",) if member.is_baseline else ("--trial", trial_name(member.trial))
    rows["take it"] = command("export", run, *take, "--config", "-o", "taken.yaml")
    if not goals.several:
        rows["note"] = "one objective: the front is the best within the limits"
    out.print(facts(rows), soft_wrap=True)


def weights_of(text: str | None) -> dict[str, float] | None:
    """Objective -> weight, of `loss=2,latency=1`. Raises SpecError for anything else."""
    if text is None:
        return None
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        try:
            weight = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise SpecError(f"--weights {text!r} is not of the form NAME=WEIGHT,..., such as val_loss=2")
        if name.strip() in found:
            raise SpecError(f"--weights: {name.strip()} is given twice")
        found[name.strip()] = weight
    return found


def show_end(
    out: SafeConsole, results: Results, ended: Ended | None, flags: Sequence[str], spent: str = ""
) -> None:
    """Prints the result of a search, its folder, and the next commands."""
    is_done = ended is not None and ended.is_done
    try:
        winner: Best | None = results.best
    except RunError as error:
        out.print(str(error), soft_wrap=True)
        winner = None
    if winner is not None:
        show_best(out, results, winner)
        if is_done:
            out.print()
            out.print(str(results.verdict()))
        failed, first_error = results.failures()
        if failed:
            trials = "1 trial" if failed == 1 else f"{failed:,} trials"
            out.print(f"\n{trials} failed; the first: {first_error}", soft_wrap=True, markup=False)
    run = shown(results.path)
    rows = {"run": f"{run} ({ended.words})" if ended is not None else run}
    if spent:
        rows["spent"] = spent
    if is_done and winner is None:
        rows["next"] = _after_failure(results, run, flags)
    elif is_done:
        rows["next"] = command("best", run)
        more = more_of(ended)
        rows[""] = command("resume", run, *more, *flags) if more else _larger(results, run, flags)
    else:
        rows["go on"] = command("resume", run, *more_of(ended), *flags)
    out.print()
    out.print(facts(rows), soft_wrap=True)


def has_winner(results: Results) -> bool:
    """Whether any trial ended well."""
    try:
        return bool(results.best)
    except RunError:
        return False


def show_best(out: SafeConsole, results: Results, winner: Best) -> None:
    """Prints the value and the configuration of the winner."""
    from rich.table import Table
    from rich.text import Text

    from raysearch.run.display.safe_console import safe_text

    out.print(
        Text.assemble(
            ("best ", "dim"),
            f"{escaped(results.metric)} ",
            (number(winner.value, 5), "bold green"),
            f" at iteration {winner.reach}, trial {trial_name(winner.trial, ',')}",
        )
    )
    if line := goal_line(results, winner):
        out.print(Text(escaped(line)), soft_wrap=True)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for name, value in settings(winner.config, DIGITS).items():
        grid.add_row(safe_text(f"     {name}"), safe_text(value))
    out.print_table(grid)


def goal_line(results: Results, winner: Best) -> str:
    """What counts besides the leading objective, of the winner; empty for one metric alone."""
    from raysearch.space.names import dotted

    goals = results.goals
    if goals.is_plain:
        return ""
    if results.raised is not None:
        return f"     {goals.leading} {goals.note}"
    member = next((m for m in results.front if m.trial == winner.trial), None)
    values = {} if member is None else member.values
    others = [f"{dotted(n)} {number(v, 5)}" for n, v in values.items() if n != goals.leading]
    how = [f"{dotted(goals.leading)} leads {len(goals.modes)} objectives"] if goals.several else []
    if member is not None and goals.several:
        how.append(f"one of {len(results.front)} on the front")
    how += ["within the limits"] if goals.limits and member is not None else []
    seeds = f" on {member.seeds} fresh seeds" if member is not None and member.estimates else ""
    return f"     {', '.join(others)}{seeds if others else ''}{'; ' if others else ''}{', '.join(how)}"


def finish_table(results: Results, verdict: Verdict) -> Any:
    """A rich table of the configurations that the finish trained again, with every objective."""
    from rich.table import Table

    if results.goals.is_plain or results.raised is not None:
        return contender_table(verdict.contenders, results.metric)
    from raysearch.results.goal_table import goal_header, goal_rows

    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", show_edge=False)
    for at, name in enumerate(goal_header(results.goals)):
        table.add_column(escaped(name), justify="right" if at else "left")
    for row in goal_rows(results):
        table.add_row(*map(escaped, row))
    return table


def contender_table(contenders: Sequence[Contender], metric: str) -> Any:
    """A rich table of the configurations that the finish trained again, each once."""
    from rich.table import Table

    from raysearch.results.verdict import once_each

    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", show_edge=False)
    table.add_column("on fresh seeds")
    for name in (f"mean {metric}", "95% interval", "seeds", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    named = once_each(contenders)
    estimates = [c.estimate for _, c in named]
    figures = column([x for e in estimates for x in (e.mean, e.low, e.high)], 5)
    for i, (name, contender) in enumerate(named):
        mean, low, high = figures[3 * i : 3 * i + 3]
        interval = "-" if low == "-" else f"{low} to {high}"
        table.add_row(name, mean, interval, str(estimates[i].n), str(contender.failed))
    return table


def facts(rows: dict[str, str]) -> Any:
    """Lines of `label  text`; not a table, which would break paths and commands."""
    from rich.text import Text

    width = max(map(len, rows))
    lines = [Text.assemble((f"{label:<{width}}  ", "dim"), escaped(text)) for label, text in rows.items()]
    return Text("\n").join(lines)


# ---- inside


def _larger(results: Results, run: str, flags: Sequence[str]) -> str:
    """The command that enlarges a complete run."""
    strategy = results.spec.get("strategy", {})
    if "samples" in strategy:
        return command("resume", run, "--samples", f"+{strategy['samples']}", *flags)
    return command("lineage", run)


def _after_failure(results: Results, run: str, flags: Sequence[str]) -> str:
    """The advice for a complete run in which no trial ended well; a resume does not repeat failed trials."""
    strategy = results.spec.get("strategy", {})
    if "samples" in strategy:
        more = command("resume", run, "--samples", f"+{strategy['samples']}", *flags)
        return f"mend the trainable, then try new trials: {more}"
    return "mend the trainable, then launch it again under another name (--name)"


def _verdict_values(verdict: Verdict) -> dict[str, Any]:
    return {
        "text": str(verdict),
        "significant": verdict.significant,
        "baseline_won": verdict.baseline_won,
        "seeds_matter": verdict.seeds_matter,
        "effects": list(verdict.effects),
        "gain": dataclasses.asdict(verdict.gain) if verdict.gain else None,
        "contenders": [
            {
                "name": contender.name,
                "role": contender.role,
                "trial": contender.source,
                "config": contender.config,
                "failed": contender.failed,
                "values": contender.values,
                **dataclasses.asdict(contender.estimate),
            }
            for contender in verdict.contenders
        ],
    }
