"""Lines of text about a snapshot of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from raysearch.core.formatting import duration, number, rate, settings
from raysearch.core.segment import trial_name
from raysearch.engine.snapshot import BestSoFar, Latest, Snapshot
from raysearch.run.display.pace import Pace
from raysearch.storage.mirror import shown
from raysearch.strategies.base import abilities_of, cost_of
from raysearch.strategies.cost import PopulationCost, RungCost

if TYPE_CHECKING:
    from raysearch.spec.search_spec import SearchSpec

SILENT_S = 10.0  # the line of workers names one that was silent for so long
BUSY_FROM = 3  # segments that each worker must have ended before the busy fraction means anything


@dataclass(frozen=True, slots=True)
class About:
    """The fixed part of a display: run, strategy, metric, cost."""

    run: str
    strategy: str
    metric: str
    mode: str
    samples: int | None = None
    plan: RungCost | PopulationCost | None = None
    note: str = ""

    @property
    def better(self) -> str:
        """`lower is better` or `higher is better`; and `note`, what the value of one metric leaves out."""
        way = "lower is better" if self.mode == "min" else "higher is better"
        return f"{way}; {self.note}" if self.note else way


def about(root: Path, spec: SearchSpec) -> About:
    """The part of a search's display that its spec determines."""
    abilities = abilities_of(spec.strategy)
    variant = abilities.variant or "auto"
    return About(
        run=shown(root),
        strategy=spec.strategy.name if variant == "auto" else f"{spec.strategy.name} by {variant}",
        metric=spec.metric,
        mode=spec.mode,
        samples=abilities.samples,
        plan=cost_of(spec.strategy, spec.baseline is not None),
        note=spec.goals.note,
    )


def progress_line(status: Snapshot, about: About) -> str:
    """`iteration 490 of 600 · 512 of at most 750 trained · 71 segments · 0 failed`, or of trials."""
    if not isinstance(about.plan, PopulationCost):
        return trials_line(status, about, about.plan)
    latest, ended = status.latest, {k: n for k, n in status.segments.items() if k != "lost"}
    at = latest.iteration if latest is not None else 0
    parts = [
        f"iteration {at:,} of {about.plan.horizon:,}",
        f"{status.iterations:,} of at most {about.plan.iterations:,} trained",
        f"{sum(ended.values()):,} segments",
        *(f"{ended.get(s, 0):,} {s}" for s in ("diverged", "failed")),
    ]
    if lost := status.segments.get("lost", 0):
        parts.append(f"{lost:,} tried again")
    return " · ".join(parts)


def trials_line(status: Snapshot, about: About, plan: RungCost | None) -> str:
    """`312 of 400 · 9 at full length · 3 diverged · 0 failed · finish 3 of 12`."""
    of = f" of {about.samples:,}" if about.samples else ""
    ended = {s: status.ended.get(s, 0) for s in ("diverged", "failed")}
    parts = [f"{status.trials:,}{of}"]
    if plan is not None:
        full = [r.counts.get("completed", 0) for r in status.rungs if r.iteration >= plan.horizon]
        parts.append(f"{sum(full):,} at full length")
    parts += [f"{ended['diverged']:,} diverged", f"{ended['failed']:,} failed"]
    if lost := status.segments.get("lost", 0):
        parts.append(f"{lost:,} tried again")
    if done := status.finals:
        planned = plan.finals if plan else 0
        parts.append(f"finish {done:,} of {planned:,}" if done <= planned else f"finish {done:,}")
    return " · ".join(parts)


def workers_line(status: Snapshot) -> str:
    """`2 of 2 training · 97% busy · worker-1 silent for 22s`."""
    workers = status.live.workers
    if not workers:
        return "none has started yet"
    parts = [f"{status.live.running} of {len(workers)} training"]
    if (busy := _busy_share(status)) is not None:
        parts.append(f"{busy:.0%} busy")
    restarts = sum(max(0, w.lives - 1) for w in workers.values())
    if restarts:
        parts.append(f"{restarts} restarted")
    silent = {name: w.silent_s for name, w in workers.items() if w.silent_s > SILENT_S and w.leases}
    if silent:
        name = max(silent, key=lambda name: silent[name])
        more = f" (and {len(silent) - 1} more)" if len(silent) > 1 else ""
        parts.append(f"{name} silent for {duration(silent[name])}{more}")
    return " · ".join(parts)


def best_line(best: BestSoFar, metric: str) -> Text:
    """`val_loss 0.08123 at iteration 81, trial 245`."""
    return Text.assemble(
        f"{metric} ",
        (number(best.value), "bold green"),
        f" at iteration {best.iteration:,}, trial {trial_name(best.trial, ',')}",
    )


def latest_line(latest: Latest, metric: str) -> str:
    """`val_loss 0.3308 at iteration 229, trial 23: lr 0.003162`."""
    value, config = number(latest.value), config_line(latest.config)
    trial = trial_name(latest.trial, ",")
    return f"{metric} {value} at iteration {latest.iteration:,}, trial {trial}: {config}"


def config_line(config: Mapping[str, Any]) -> str:
    """`lr 0.003162, optimizer adamw`; no line breaks between a name and its value."""
    return ", ".join(f"{name}\N{NO-BREAK SPACE}{value}" for name, value in settings(config).items())


def decision_line(text: str) -> str:
    """`12.3: rung 27: rank 1 of 9, promoted`; without the long trial number of the finish."""
    name, _, reason = text.partition(": ")
    return reason if len(name) > 13 else text


def ending_line(status: Snapshot) -> str:
    """Why the search ends, and what its workers do meanwhile."""
    live, ending = status.live, status.ending
    if not ending:
        return f"{live.winding}: what is in training ends first"
    if live.failed or status.is_complete or not live.running:
        return ending
    return f"{ending}: finishing the iterations that are running. Ctrl-C again ends at once"


def plain_line(status: Snapshot, about: About, pace: Pace) -> str:
    """A snapshot in one line."""
    parts = [f"[{duration(status.live.seconds)}] {progress_line(status, about)}"]
    if (per_s := pace.per_s) is not None:
        parts.append(rate(per_s, pace.unit))
    if (best := status.best) is not None:
        trial = trial_name(best.trial)
        parts.append(f"best {number(best.value)} (trial {trial}, iteration {best.iteration})")
    if status.live.workers:
        parts.append(f"{status.live.running} of {len(status.live.workers)} workers training")
    if (left := pace.seconds_left) is not None and not status.ending:
        parts.append(f"about {duration(left)} left, by iterations")
    return " · ".join(parts)


def _busy_share(status: Snapshot) -> float | None:
    """Fraction of their time in which workers trained; None until each has ended BUSY_FROM segments."""
    workers, life_s = status.live.workers.values(), status.live.life_s
    if not workers or life_s <= 0 or any(w.segments < BUSY_FROM for w in workers):
        return None
    share = sum(w.busy_s for w in workers) / (len(workers) * life_s)
    return float(min(1.0, share))
