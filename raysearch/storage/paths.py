"""Every file name of a run.

RUN/
  spec.yaml               the resolved spec
  origin                  only where RUN mirrors a run at a store: its address (storage/mirror.py)
  report.html             what `raysearch report` writes
  coordinate_check.json   what `CoordinateCheck.save` wrote, for `raysearch transfer`
  target.yaml             the spec at the target of `scale`, and its settings in target-settings.yaml
  driver                  held by the process of launch or resume; names it (run/driver_lock.py)
  journal/                the one source of truth (storage/journal)
    lock                  held by the process that appends; names it
    log-FIRST.rsj         rows FIRST.. in the order written, appended to
    rows-FIRST-STOP.parquet   rows FIRST..STOP-1, compacted
  checkpoints/            (storage/checkpoints)
    tmp/                  being written or being deleted
    3f/12.3-TOKEN_DIGEST/ 256 folders, chosen by the hash of what stands before the digest
  logs/                   what trials print, a file a worker
  tracking/               what goes to W&B (raysearch.tracking)
    wandb.json            which rows it has
    wandb-report.json     the report as W&B takes it
    tables/               trials.parquet, segments.parquet, lineage.parquet, as they were last sent
    wandb/                the client's own scratch
    process.log           output of the tracking process
  orders/                 what people order while the run goes on (run/orders.py)
    NAME.json             waits; answered by NAME.answer
  tune/                   what Ray Tune itself writes
"""

from __future__ import annotations

import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

TMP_SUFFIX = ".tmp"
COORDINATE_CHECK = "coordinate_check.json"
CHECKPOINT_META = ".raysearch.json"  # in a checkpoint: after which iteration, under which configuration
CHECKPOINT_RANDOM = ".raysearch.random"  # in one written in the midst of a segment: the random generators
CHECKPOINT_RANKS = (
    ".raysearch.ranks"  # in one of several processes: what these wrote otherwise than the first
)
CHECKPOINT_DIGEST = re.compile(r"_([0-9a-f]{32})$")  # at the end of a name: of the checkpoint's files
CHECKPOINT_NAME = re.compile(r"\d+\.\d+-[A-Za-z0-9_]+")

_LOG = re.compile(r"log-(\d{12,})\.rsj")
_ROWS = re.compile(r"rows-(\d{12,})-(\d{12,})\.parquet")


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Where a run's files are; makes none of them."""

    root: Path

    def __init__(self, root: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "root", Path(root))

    @property
    def spec(self) -> Path:
        return self.root / "spec.yaml"

    @property
    def origin(self) -> Path:
        return self.root / "origin"

    @property
    def training_inline(self) -> Path:
        """Names the segment that a process trains inline; it stays where that process was ended.

        "3.0", or "3.0 apart" where the trial has processes of its own.
        """
        return self.root / "training_inline"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def driver(self) -> Path:
        return self.root / "driver"

    @property
    def tracking(self) -> Path:
        return self.root / "tracking"

    @property
    def tracking_state(self) -> Path:
        return self.tracking / "wandb.json"

    @property
    def tracking_tables(self) -> Path:
        return self.tracking / "tables"

    @property
    def wandb_report(self) -> Path:
        return self.tracking / "wandb-report.json"

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def orders(self) -> Path:
        return self.root / "orders"

    @property
    def tune(self) -> Path:
        return self.root / "tune"

    def log_of(self, worker: str) -> Path:
        """The file that holds what `worker` printed."""
        return self.logs / (re.sub(r"[^\w.-]", "_", worker) + ".log")


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a journal: rows `first` to `stop` - 1; `stop` is None in a log, which may still grow."""

    path: Path
    first: int
    stop: int | None = None


def log_name(first: int) -> str:
    """The name of a journal's log whose first row is number `first`."""
    return f"log-{first:012d}.rsj"


@dataclass(frozen=True, slots=True)
class JournalPaths:
    """Where a journal's files are; makes none of them."""

    root: Path

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    def log(self, first: int) -> Part:
        return Part(self.root / log_name(first), first)

    def rows(self, first: int, stop: int) -> Part:
        return Part(self.root / f"rows-{first:012d}-{stop:012d}.parquet", first, stop)

    def part(self, name: str) -> Part | None:
        """The part that a file of this name is; None for any other file."""
        if found := _LOG.fullmatch(name):
            return self.log(int(found[1]))
        if found := _ROWS.fullmatch(name):
            return self.rows(int(found[1]), int(found[2]))
        return None


@dataclass(frozen=True, slots=True)
class CheckpointPaths:
    """Where checkpoints are; makes none of them."""

    root: Path

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    def committed(self, name: str) -> Path:
        """Spread over 256 folders, so that none becomes slow to list; by the name without its digest."""
        saved_as = CHECKPOINT_DIGEST.sub("", name)
        return self.root / f"{zlib.crc32(saved_as.encode()) & 0xFF:02x}" / name
