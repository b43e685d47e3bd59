"""A script as a function trainable: each report of the search's metric is an iteration.

The script waits while the search decides: a report by `raysearch.report` or `wandb.log` returns when it may
go on, and after a printed line its processes are stopped (SIGSTOP) meanwhile. Files that it writes into the
folder RAYSEARCH_CHECKPOINT_DIR are its checkpoint; there it finds them when the trial goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune

from raysearch.core.trial_config import LENGTH
from raysearch.errors import TrainableError
from raysearch.spec.program import Program
from raysearch.worker.child_steps import STEPS
from raysearch.worker.script.command import expanded, filled
from raysearch.worker.script.lines import numbers_in
from raysearch.worker.script.process import Message, ScriptProcess
from raysearch.worker.script.restored import Restored

SHIM = Path(__file__).parent / "shim"
CHECKPOINT_DIR = "RAYSEARCH_CHECKPOINT_DIR"
SAVES = (CHECKPOINT_DIR, "checkpoint=")  # a script's text that shows that it writes checkpoints
SAID = 200  # characters of a script's last line, in an error
FLAG = "ignored explicit argument"  # of argparse, where a flag is given a value
WORDS = {126: "may not be executed", 127: "a command was not found"}


def trainable_of(program: Program) -> Callable[[dict[str, Any]], None]:
    """The function trainable that runs the script.

    Raises:
        TrainableError: there is no such file.
    """
    file = Path(program.program)
    if not file.is_file():
        raise TrainableError(
            f"program: no file {program.program!r} (looked in {program.folder or Path.cwd()})"
        )

    def train(config: dict[str, Any]) -> None:
        Trial(program, config).run()

    train.__name__ = train.__qualname__ = program.name
    text = file.read_text(encoding="utf-8", errors="replace")
    train.saves_checkpoints = any(mark in text for mark in SAVES)  # type: ignore[attr-defined]
    train.source_file = str(file)  # type: ignore[attr-defined]
    return train


class Trial:
    """One start of the script, from a fresh model or a checkpoint to its end or the search's word."""

    def __init__(self, program: Program, config: Mapping[str, Any]) -> None:
        self._program = program
        self._length = config.get(LENGTH)
        self._config = dict(config)
        self._metrics: dict[str, float] = {}  # since the last report
        self._seen: set[str] = set()
        self._summary: dict[str, float] = {}
        self._reports = 0
        self._saved: tuple[Any, ...] = ()
        self._is_printed: bool | None = (
            None  # whether the metric comes in printed lines; None before the first
        )

    def run(self) -> None:
        """Runs the script, and reports as it does.

        Raises:
            TrainableError: it failed, was killed, or never reported the metric.
            SystemExit: the trial is over.
        """
        with tempfile.TemporaryDirectory(prefix="rs-") as name:
            folder = Path(name)
            checkpoint = folder / "checkpoint"
            checkpoint.mkdir()
            if (before := tune.get_checkpoint()) is not None:
                shutil.copytree(before.path, checkpoint, dirs_exist_ok=True)
            self._saved, self._restored = _state(checkpoint), Restored(checkpoint)
            config_file = folder / "config.json"
            config_file.write_text(json.dumps(self._config), encoding="utf-8")
            words = expanded(self._program, self._config, self._length, str(config_file))
            process = ScriptProcess(words, self._env(folder), self._program.folder, folder / "s")
            try:
                for message in process.messages():
                    self._take(message, process, checkpoint)
                self._end(process)
            finally:
                process.end()

    def _env(self, folder: Path) -> dict[str, str]:
        paths = [str(SHIM), os.environ.get("PYTHONPATH", "")]
        own = {name: filled(text, self._config, self._length) for name, text in self._program.env.items()}
        return {
            **{name: text for name, text in os.environ.items() if name != STEPS},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONUNBUFFERED": "1",
            CHECKPOINT_DIR: str(folder / "checkpoint"),
            "RAYSEARCH_CONFIG": str(folder / "config.json"),
            "RAYSEARCH_TRIAL_DIR": os.getcwd(),
            "RAYSEARCH_MAX_ITERATIONS": str(self._length or ""),
            **own,
        }

    def _take(self, message: Message, process: ScriptProcess, checkpoint: Path) -> None:
        """A message of the script; with the metric in it, it is an iteration."""
        if message.line:
            print(message.line)
        fresh = self._fresh(message)
        self._seen |= set(fresh)
        if message.is_summary:
            self._summary |= fresh
        else:
            self._metrics |= fresh
        if message.is_summary or self._program.metric not in fresh:
            message.answer()
            return
        self._restored.check(self._program.name)
        if message.sender is None:
            process.hold()
        is_behind = message.sender is None and any(map(self._has_metric, process.waiting()))
        self._report(Path(message.checkpoint) if message.checkpoint else checkpoint, is_behind)
        message.answer()
        if message.sender is None:
            process.go_on()

    def _fresh(self, message: Message) -> dict[str, float]:
        """The metrics in a message. The search's counts by the way on which it came first.

        A script that prints what it logs would else have two iterations of each.
        """
        fresh = message.metrics or numbers_in(message.line, self._program.metrics)
        if self._program.metric in fresh and not message.is_summary:
            is_printed = message.sender is None
            if self._is_printed is None:
                self._is_printed = is_printed
            elif self._is_printed != is_printed:
                del fresh[self._program.metric]
        return fresh

    def _has_metric(self, message: Message) -> bool:
        return self._program.metric in numbers_in(message.line, self._program.metrics)

    def _report(self, folder: Path, is_behind: bool) -> None:
        """Reports an iteration, with the folder's files where they are new and of this iteration."""
        metrics, self._metrics = self._metrics, {}
        self._reports += 1
        state = _state(folder)
        if is_behind or not state or state == self._saved:
            tune.report(metrics)
            return
        self._saved = state
        tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(str(folder)))

    def _end(self, process: ScriptProcess) -> None:
        """After the script's end. Raises TrainableError where it did not end well, or reported nothing."""
        name, metric = self._program.name, self._program.metric
        last = next((line.strip()[:SAID] for line in reversed(process.tail) if line.strip()), "")
        if code := process.code:
            flag = '. A flag without a value: args: ["${args_no_boolean_flags}"]' if FLAG in last else ""
            raise TrainableError(f"{name} {_how(code)}" + (f": {last}{flag}" if last else ""))
        if not self._reports and metric in self._summary:
            tune.report(self._summary)
        elif not self._reports:
            seen = f"seen were: {', '.join(sorted(self._seen))}" if self._seen else "no metric was seen"
            raise TrainableError(
                f"{name} ended and never reported {metric!r}; {seen}. It may print a line of JSON such as "
                f'{{"{metric}": 0.5}}, call raysearch.report or wandb.log, or print lines that '
                f"`metrics: {{{metric}: ...}}` finds" + (f"; its last line: {last}" if last else "")
            )


def _how(code: int) -> str:
    """How a script ended that did not end well."""
    if code > 0:
        return f"ended with exit code {code}" + (f" ({WORDS[code]})" if code in WORDS else "")
    name, words = signal.Signals(-code).name, signal.strsignal(-code)
    often = "; often because memory ran out" if -code == signal.SIGKILL else ""
    return f"was ended by {name} ({words}{often})"


def _state(folder: Path) -> tuple[Any, ...]:
    """What is in a folder, so that a change shows; empty if nothing is."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return tuple((str(f.relative_to(folder)), f.stat().st_mtime_ns, f.stat().st_size) for f in files)
