"""`raysearch memory import`: what other tools found, remembered for new searches."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from raysearch.cli import options
from raysearch.cli.option_groups import grouped
from raysearch.cli.output import console, print_json, say

if TYPE_CHECKING:
    from raysearch.core.segment import Mode
    from raysearch.interop.history import Past
    from raysearch.spec.search_spec import SearchSpec
    from raysearch.workflows.memory.importing import Meaning

Source = Annotated[
    str,
    Argument(
        metavar="SOURCE",
        help="Optuna's SQLite or journal file, Ray Tune's folder, W&B runs (JSON lines, Parquet, "
        "wandb:ENTITY/PROJECT), CSV.",
    ),
]
Pairs = list[str] | None


@dataclass(frozen=True, slots=True)
class WhatItHolds:
    """What the source does not say for itself, or says in names of its own."""

    kind: Annotated[
        str | None,
        Option("--from", metavar="KIND", help="optuna, ray, wandb, table. Default: as its content."),
    ] = None
    metric: Annotated[
        str | None, Option(metavar="NAME", help="The metric, as the source calls it. Default: the spec's.")
    ] = None
    mode: Annotated[str | None, Option(metavar="min|max", help="Which direction of it is better.")] = None
    study: Annotated[str | None, Option(metavar="NAME", help="Of several Optuna studies.")] = None
    trial: Annotated[
        str | None, Option(metavar="COLUMN", help="Of a table with a row a report: the trial's name.")
    ] = None
    iteration: Annotated[str | None, Option(metavar="COLUMN", help="What says how far a training was.")] = (
        None
    )
    steps_per_iteration: Annotated[
        float | None, Option(metavar="N", help="How many of those make one iteration of the new search.")
    ] = None


@dataclass(frozen=True, slots=True)
class WhatItMeans:
    """How the source's hyper-parameters become those of the new search."""

    spec: Annotated[
        str | None, Option(metavar="FILE", help="Spec of the new search: its space, metric and mode.")
    ] = None
    rename: Annotated[
        Pairs, Option(metavar="THEIRS=OURS", help="A hyper-parameter with another name. Repeatable.")
    ] = None
    scale: Annotated[
        Pairs, Option(metavar="NAME=FACTOR", help="One in another unit: times so much. Repeatable.")
    ] = None
    constant: Annotated[
        Pairs, Option(metavar="NAME=VALUE", help="One that the source kept constant. Repeatable.")
    ] = None


@grouped
def import_(
    source: Source,
    holds: WhatItHolds,
    means: WhatItMeans,
    memory: Annotated[
        str,
        Option("--memory", metavar="DIR", envvar="RAYSEARCH_MEMORY", help="Folder or URL of the memory."),
    ] = "memory",
    task: Annotated[
        str | None, Option(metavar="NAME", help="Name of the task. Default: the study's or file's.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Remember what another tool found: Optuna, Ray Tune, W&B, or a table."""
    from raysearch.workflows.memory.importing import record_from
    from raysearch.workflows.memory.store import Memory

    spec = _spec(means.spec)
    past = _past(source, holds, spec)
    found = record_from(
        past,
        _meaning(holds, means, spec),
        task=task or re.sub(r"[^A-Za-z0-9_.\-]+", "-", past.name).strip("-.") or "imported",
        source=source if "://" in source or source.startswith("wandb:") else str(Path(source).absolute()),
        now=time.time(),
    )
    name = Memory(memory).add(found.record)
    record = found.record
    if as_json:
        shown = {"task": record.task, "file": name, "trials": len(record.configs), "metric": record.metric}
        print_json({**shown, "mode": record.mode, "curves": bool(record.curves), "notes": found.notes})
        return
    curves = ", with their learning curves" if record.curves else ""
    console().print(
        f"remembered {record.task}: {len(record.configs):,} trials{curves}, {record.metric} ({record.mode}), "
        f"in {os.path.join(memory, name)}",
        soft_wrap=True,
    )
    for note in found.notes:
        say(f"note: {note}")


# ---- inside


def _past(source: str, holds: WhatItHolds, spec: SearchSpec | None) -> Past:
    """The history in the source, which is fetched first where it lies at W&B."""
    from raysearch.core.user_paths import user_path
    from raysearch.interop.history import Asked, read_past

    metric = holds.metric
    with _fetched(source, holds, metric or (spec.metric if spec is not None else None)) as file:
        path = user_path(source) if file is None else file
        asked = Asked(metric, holds.study, holds.iteration, holds.trial)
        if metric is None and spec is not None and not _names_its_own(path):
            asked = Asked(spec.metric, holds.study, holds.iteration, holds.trial)
        return read_past(path, asked, holds.kind)


def _names_its_own(path: Path) -> bool:
    """Whether a source may know a single metric, under any name: a study of Optuna's."""
    from raysearch.interop.history.reading import is_study

    return is_study(path)


@contextlib.contextmanager
def _fetched(source: str, holds: WhatItHolds, metric: str | None) -> Iterator[Path | None]:
    from raysearch.errors import SpecError
    from raysearch.tracking.past_runs import SCHEME, fetch_runs

    if not source.startswith(SCHEME):
        yield None
        return
    if metric is None:
        raise SpecError(f"{source}: say which number of its runs is to be improved: --metric NAME")
    keys = [metric] if holds.iteration is None else [metric, holds.iteration]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{source.removeprefix(SCHEME).rpartition('/')[2]}.jsonl"
        fetch_runs(source, file, keys)
        yield file


def _spec(file: str | None) -> SearchSpec | None:
    from raysearch.cli.option_groups import spec_file
    from raysearch.spec.search_spec import load_spec

    return None if file is None else load_spec(spec_file(file))


def _meaning(holds: WhatItHolds, means: WhatItMeans, spec: SearchSpec | None) -> Meaning:
    from raysearch.core.values import as_number
    from raysearch.core.yaml_io import read_yaml
    from raysearch.errors import SpecError
    from raysearch.workflows.memory.importing import Meaning

    mode = _mode(holds.mode)
    if spec is not None and mode is not None and mode != spec.mode:
        raise SpecError(f"--mode {mode}: the spec says that {spec.metric} is better as {spec.mode}")
    return Meaning(
        metric=spec.metric if spec is not None else holds.metric,
        mode=spec.mode if spec is not None else mode,
        space=spec.space if spec is not None else None,
        renamed=dict(_pairs("--rename", means.rename)),
        scaled={n: as_number(read_yaml(v, n), f"--scale {n}") for n, v in _pairs("--scale", means.scale)},
        constants={n: read_yaml(v, f"--constant {n}") for n, v in _pairs("--constant", means.constant)},
        steps_per_iteration=holds.steps_per_iteration,
    )


def _mode(text: str | None) -> Mode | None:
    from raysearch.errors import SpecError

    if text in (None, "min", "max"):
        return text  # type: ignore[return-value]
    raise SpecError(f"--mode {text}: is neither min nor max")


def _pairs(option: str, texts: Sequence[str] | None) -> list[tuple[str, Any]]:
    from raysearch.errors import SpecError

    found = []
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise SpecError(f"{option} {text!r} is not NAME=VALUE")
        found.append((name.strip(), value.strip()))
    return found
