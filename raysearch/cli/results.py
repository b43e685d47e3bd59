"""Commands that read a run: best, trials, export, report."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.cli import options
from raysearch.cli.opened_run import opened
from raysearch.cli.output import command, console, print_json, print_raw, tell, writing
from raysearch.cli.result_text import facts, finish_table, show_best, show_picked, summary
from raysearch.core.segment import trial_name
from raysearch.errors import CheckpointError, RunError, SpecError
from raysearch.storage.checkpoints import digest
from raysearch.storage.mirror import mirror_at, shown
from raysearch.storage.paths import RunPaths

if TYPE_CHECKING:
    from raysearch.results import Best, Results
    from raysearch.results.model import Model
    from raysearch.results.verdict import Verdict

ONLY_SOME = "only those that a trial may go on from and the best's are"

LEFT = "lines of raised models; probes that lost and what was taken back: --all, or {}"


def best(
    run: options.Run,
    where: options.OfFront = None,
    weights: options.Weights = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the best configuration, and the verdict with its evidence; of several objectives, the front."""
    results = opened(run)
    if where is not None or weights is not None:
        show_picked(results, where, weights, as_json)
        return
    if as_json:
        print_json(summary(results))
        return
    out = console()
    winner = results.best
    show_best(out, results, winner)
    verdict = results.verdict()
    if verdict.contenders:
        out.print()
        out.print_table(finish_table(results, verdict))
    out.print()
    out.print(str(verdict))
    out.print()
    out.print(facts(_places(results, winner, verdict)), soft_wrap=True)


def trials(
    run: options.Run,
    where: options.Where = None,
    sort: options.Sort = None,
    limit: options.Limit = None,
    every: options.EveryTrial = False,
    csv: options.Csv = None,
    parquet: options.Parquet = None,
    as_json: options.AsJson = False,
) -> None:
    """List trials, or the lines of raised models, the best first; filter them, or write them to a file."""
    from raysearch.cli import trial_table

    results = opened(run)
    frame = trial_table.select(results, where, sort, every)
    total = len(frame)
    to_screen = not (csv or parquet or as_json)
    if limit is None and to_screen:
        limit = trial_table.ROWS_SHOWN
    frame = frame if limit is None else frame.head(limit)
    if csv is not None:
        trial_table.write_csv(frame, csv)
    if parquet is not None:
        trial_table.write_parquet(frame, parquet)
    if as_json:
        print_json(frame.astype(object).where(frame.notna(), None).to_dict("records"))
    if to_screen:
        trial_table.show(console(), frame, total)
        if results.raised is not None and not every:
            tell(LEFT.format(command("lineage", run)))


def export(
    run: options.Run,
    config: options.Config = False,
    schedule: options.Schedule = False,
    output: options.Output = None,
    checkpoint: options.Checkpoint = None,
    trial: options.Trial = None,
    baseline: options.OfBaseline = False,
) -> None:
    """Write the configuration, schedule or checkpoint of the best trial, or of another, to a file."""
    results = opened(run)
    if schedule and config:
        raise SpecError("--config and --schedule: give one of them; a schedule holds every configuration")
    if baseline and (schedule or trial is not None):
        raise SpecError("--baseline: it stands without --schedule and --trial, which name another")
    number_, found, model, why_none = _baseline(results) if baseline else _trial(results, trial)
    if checkpoint is not None:
        _copy_checkpoint(number_, model, why_none, checkpoint)
        words = f": {model.words(results.metric)}" if model is not None else ""
        tell(f"checkpoint of trial {trial_name(number_)} copied to {checkpoint}{words}")
    if trial is None and not baseline and results.verdict().keeps_baseline:
        tell(f"the verdict holds the baseline for as good a choice: {command('export', run, '--baseline')}")
    if checkpoint is not None and not (config or schedule) and output is None:
        return
    what = "schedule" if schedule else "configuration"
    text = _schedule_text(results, trial, output) if schedule else _config_text(found, output)
    if output is None:
        print_raw(text)
        return
    with writing(output, "-o") as file:
        file.write_text(text, encoding="utf-8")
    tell(f"{what} of trial {trial_name(number_)} written to {output}")


def report(run: options.Run, output: options.ReportFile = None, wandb: options.ToWandb = False) -> None:
    """Write a report as one HTML file: verdict, figures, trials, failures, how to repeat it, decision."""
    from raysearch.report.report import write_report

    results = opened(run)
    if wandb:
        _save_at_wandb(results.path)
    path, text = output or RunPaths(results.path).report, write_report(results)
    with writing(path, "" if output is None else "-o") as file:
        file.write_text(text, encoding="utf-8")
    if output is None and (mirror := mirror_at(results.path)) is not None:
        mirror.push(path)
        tell(f"report written to {mirror.store.address.under(path.name)}, and here to {path}")
        return
    tell(f"report written to {path}")


# ---- inside


def _save_at_wandb(run: Path) -> None:
    from raysearch.tracking import supervisor
    from raysearch.tracking.wandb.api_key import VARIABLE, base_url, find_key

    key = find_key()
    if key is None:
        raise RunError(f"--wandb: there is no key for {base_url()}: set {VARIABLE}, or run `wandb login`")
    tell(f"W&B report: {supervisor.report(run, key)}")


def _places(results: Results, winner: Best, verdict: Verdict) -> dict[str, str]:
    run = shown(results.path)
    is_raised = results.raised is not None
    what = ("--schedule", "-o", "schedule.yaml") if is_raised else ("--config", "-o", "best.yaml")
    return {
        "run": run,
        "checkpoint": str(winner.model.path) if winner.model else winner.no_model,
        **({"model": winner.model.words(results.metric)} if winner.model else {}),
        "take it": command("export", run, *what),
        **({"baseline": command("export", run, "--baseline", *what[1:])} if verdict.keeps_baseline else {}),
        **_replay(results, run),
        "report": command("report", run),
    }


def _replay(results: Results, run: str) -> dict[str, str]:
    """The command that says what a raised model's schedule is worth."""
    from raysearch import schedule
    from raysearch.schedule import has_schedule, way_to_gain

    if results.raised is None or not has_schedule(results, schedule.of(results)):
        return {}
    if way_to_gain(results):
        return {"its gain": f"{command('replay', run)}   (schedule and baseline on fresh seeds)"}
    return {"try it": f"{command('replay', run)}   (on fresh seeds)"}


def _trial(results: Results, trial: int | None) -> tuple[int, dict[str, Any], Model | None, str]:
    """(number, configuration, model, why there is none) of the best trial, or of this one at its end."""
    if trial is None:
        winner = results.best
        return winner.trial, dict(winner.config), winner.model, winner.no_model
    config, model = results.end_of(trial)
    return trial, dict(config), model, ONLY_SOME


def _baseline(results: Results) -> tuple[int, dict[str, Any], Model | None, str]:
    """As `_trial`, of the baseline."""
    best = results.best
    found = best if results.verdict().baseline_won else best.baseline
    if found is None:
        raise RunError(f"--baseline: no finish of {shown(results.path)} trained a baseline to its end")
    return found.trial, dict(found.config), found.model, found.no_model


def _copy_checkpoint(trial: int, model: Model | None, why_none: str, target: Path) -> None:
    if model is None:
        raise CheckpointError(
            f"no checkpoint of trial {trial_name(trial)} is kept: {why_none}; its configuration can be "
            "exported and trained again"
        )
    source = model.path
    if target.exists():
        raise CheckpointError(f"--checkpoint {target}: exists already; name a folder that is to be made")
    beside = target.with_name(f".{os.getpid()}-{target.name}")
    try:
        digest.check(source.name, source)
        shutil.copytree(source, beside)
        beside.rename(target)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise CheckpointError(f"--checkpoint {target}: cannot be copied from {source}: {error}") from None


def _schedule_text(results: Results, trial: int | None, output: Path | None) -> str:
    from raysearch import schedule

    return schedule.of(results, trial).to_text(output is not None and output.suffix.lower() == ".json")


def _config_text(config: dict[str, Any], output: Path | None) -> str:
    if output is not None and output.suffix.lower() == ".json":
        return json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    from raysearch.storage.exports import config_text

    return config_text(config)
