"""`raysearch bench chaos`: searches on a cluster of several nodes under constant faults.

Three nodes in network namespaces (see `machines`), the run on a small disk of its own. At random moments
something is killed, frozen, cut off or filled (see `faults`); a node that is gone is replaced, and a driver
that was killed is followed by `raysearch resume`, as a batch system would. Afterwards an independent reader
(see `audit`) compares the journal with the outcomes that workers saw acknowledged, and with a search without
faults.
Needs Linux, root, iproute2 and util-linux.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from raysearch.bench import support
from raysearch.bench.support import audit
from raysearch.bench.support.contest import BenchError, show
from raysearch.bench.support.faults import FAULTS, Scene, Undo
from raysearch.bench.support.machines import Machines, mounted, why_not
from raysearch.bench.support.tally import FaultTally, row, summarise

CPUS = (1, 2, 2)  # logical ones of the head and of the other nodes
PATIENCE_S = 600.0  # a search that does not end within so long after its last fault is stuck
GONE_S = 90.0  # the command says that the cluster is gone within so long
TICK_S = 0.05
GROUP_CPUS = (2, 2, 2)  # where a worker has several processes
OF_RANKS = ("kill rank", "freeze rank")
NOTES = "notes"  # links to the folder of the search under way
RANKS = "witnessed_ranks:WitnessedRanks"
ON_DISK = ("full disk", "disk out of reach")
BEGAN = re.compile(r"^\[[^]\n]+\] (iteration )?[\d,]+ of ", re.MULTILINE)  # how far a search is
REFUSED = 2  # the command's exit code for an error that it can explain
HANDS = 10  # times that a person would have been needed, after which a search is given up
AGAIN_S = 1.0  # until a command that was refused is started again


class Chaos:
    """One search among faults."""

    def __init__(self, scene_folder: Path, machines: Machines, disk: Path, seed: int, o: Any) -> None:
        self.tally = FaultTally(seed, "caviar" if _is_halving(seed, o) else "panda")
        self._folder, self._machines, self._disk, self._o = scene_folder, machines, disk, o
        self._rng = random.Random(seed)
        self._run = disk / f"run-{seed}"
        self._spec = scene_folder / f"spec-{seed}.yaml"
        self._log = scene_folder / f"driver-{seed}.log"
        self._undo: list[tuple[float, str, Undo]] = []
        self._started_at = self._hit_at = 0.0
        self._disk_was_bad_until = -math.inf
        self._told = 0  # characters of the log that commands before this one have written
        self._scene: Scene

    def play(self, faults: int) -> FaultTally:
        """Runs the search with up to so many faults, and the audit."""
        witnessed = self._folder / f"witnessed-{self.tally.seed}"
        witnessed.mkdir()
        (self._folder / NOTES).unlink(missing_ok=True)
        (self._folder / NOTES).symlink_to(witnessed)
        self._spec.write_text(spec_of(self._run, self.tally.seed, witnessed, self._o))
        calm = in_peace(self._spec, self._folder)
        began = time.monotonic()
        self._scene = Scene(self._machines, self._disk, self._rng, self._start("launch", self._spec))
        try:
            self._suffer(faults)
        finally:
            self._mend(float("inf"))
        self.tally.seconds = time.monotonic() - began
        kept = _is_halving(self.tally.seed, self._o)
        found = audit.audit(self._run / "journal", witnessed, calm / "journal", trials_keep_configs=kept)
        self.tally.findings = found
        return self.tally

    def _suffer(self, faults: int) -> None:
        fault_at = last = time.monotonic() + self._rng.uniform(*self._o.gap)
        while True:
            now = time.monotonic()
            self._mend(now)
            if self._tend():
                return
            if now >= fault_at and sum(self.tally.faults.values()) < faults:
                self._hit()
                last = time.monotonic()
                fault_at = last + self._rng.uniform(*self._o.gap)
            if now - last > PATIENCE_S + self._o.gap[1]:
                raise BenchError(f"the search got stuck: see {self._log} and {self._run}")
            time.sleep(TICK_S)

    def _hit(self) -> None:
        names = [name for name in FAULTS if self._o.only is None or name in self._o.only]
        if self._o.processes == 1:
            names = [name for name in names if name not in OF_RANKS]
        name = self._rng.choices(names, [FAULTS[name][0] for name in names])[0]
        done = FAULTS[name][1](self._scene) if self._is_there() else None
        if done is None:
            return
        self._hit_at = time.monotonic()
        self.tally.faults[name] = self.tally.faults.get(name, 0) + 1
        self._say(f"{name}: {done.to}" + (f" for {done.seconds:.1f} s" if done.undo else ""))
        if done.undo is not None:
            self._undo.append((time.monotonic() + done.seconds, name, done.undo))
            if name in ON_DISK:
                self._disk_was_bad_until = math.inf

    def _mend(self, now: float) -> None:
        for entry in [entry for entry in self._undo if entry[0] <= now]:
            self._undo.remove(entry)
            entry[2]()
            if entry[1] in ON_DISK:
                self._disk_was_bad_until = time.monotonic()

    def _tend(self) -> bool:
        """Replaces dead nodes, and resumes after a killed driver or head; True if the search is complete."""
        scene = self._scene
        if scene.head_is_dead:
            self._new_cluster()
        for node in self._machines.nodes[1:]:
            if not node.is_alive:
                self._machines.remove(node)
                self._machines.start(cpus_of(self._o)[1])
        if scene.driver.poll() is None:
            return False
        if scene.driver.returncode == 0:
            self.tally.is_complete = True
            return True
        if not scene.driver_was_killed:
            self._note_end()
        self._resume()
        return False

    def _note_end(self) -> None:
        """The command ended of itself: because a fault kept it from its search, or because of a defect."""
        said = _last_line(self._log)
        disk_is_bad = self._disk_was_bad_until > self._started_at
        was_hit = disk_is_bad or self._undo or self._hit_at > self._started_at
        self._say(f"the command ended: {said}")
        if was_hit and not has_begun(self._said()) and self._scene.driver.returncode == REFUSED:
            self.tally.refused += 1
            time.sleep(AGAIN_S)
        else:
            self.tally.hands.append(said)
            self._mend(float("inf"))
        if len(self.tally.hands) > HANDS:
            raise BenchError(f"the command ended {len(self.tally.hands)} times without a fault: {said}")

    def _said(self) -> str:
        """What the command that was started last has printed."""
        return self._log.read_text(errors="replace")[self._told :]

    def _is_there(self) -> bool:
        return (self._run / "spec.yaml").exists()

    def _new_cluster(self) -> None:
        """Waits for the command to say that the cluster is gone, and makes a new one."""
        scene = self._scene
        with contextlib.suppress(Exception):
            scene.driver.wait(GONE_S)
        said = _last_line(self._log)
        if scene.driver.returncode != 0 and f"raysearch resume {self._run}" not in self._said():
            if not has_begun(self._said()) and scene.driver.returncode == REFUSED:
                self.tally.refused += 1
            else:
                self.tally.hands.append(f"the head was killed, and the command said: {said}")
            scene.driver.kill()
            scene.driver.wait()
        self._mend(float("inf"))
        head, *others = cpus_of(self._o)
        self._machines.replace_head(head)
        for cpus in others:
            self._machines.start(cpus)
        scene.head_is_dead, scene.driver_was_killed = False, True

    def _resume(self) -> None:
        self.tally.resumes += 1
        self._scene.driver_was_killed = False
        again = ("resume", self._run) if self._is_there() else ("launch", self._spec)
        self._scene.driver = self._start(*again)

    def _start(self, verb: str, what: Path) -> Any:
        self._started_at = time.monotonic()
        self._told = len(self._log.read_text(errors="replace")) if self._log.exists() else 0
        words = [verb, str(what), "--address", self._machines.address]
        command = [sys.executable, "-m", "raysearch.cli", *words]
        return self._machines.popen(command, self._log)

    def _say(self, text: str) -> None:
        if self._o.verbose:
            print(f"{time.strftime('%X')} [{self.tally.seed}] {text}", file=sys.stderr, flush=True)


def has_begun(said: str) -> bool:
    """Whether the command that printed this has come to search; before that it may refuse.

    >>> has_begun("[0s] importing the trainable and starting the workers")
    False
    """
    return BEGAN.search(said) is not None


def main(argv: list[str]) -> int:
    """Runs searches until so many faults were done, and prints the tally; 1 if anything was lost."""
    o = parser().parse_args(argv)
    if why := why_not():
        raise BenchError(f"no cluster of several nodes can be made here: {why}")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # nodes and mounts go
    tallies = run(o)
    summary = summarise(tallies)
    show("chaos", [row(tally) for tally in tallies], [json.dumps(summary)], o.json)
    return 0 if summary["is_clean"] else 1


def run(o: Any) -> list[FaultTally]:
    """The tallies of as many searches as it takes, with seeds counted up from the first."""
    tallies: list[FaultTally] = []
    with stage(o) as (folder, machines, disk):
        while (left := o.faults - sum(sum(t.faults.values()) for t in tallies)) > 0:
            chaos = Chaos(folder, machines, disk, o.seed + len(tallies), o)
            tallies.append(chaos.play(left))
            print(f"{row(tallies[-1])}", file=sys.stderr, flush=True)
            if o.keep:
                keep(Path(o.keep), tallies)
            shutil.rmtree(disk / f"run-{o.seed + len(tallies) - 1}", ignore_errors=not o.verbose)
    return tallies


def keep(path: Path, tallies: list[FaultTally]) -> None:
    """Writes all of it as JSON."""
    rows = [dataclasses.asdict(tally) for tally in tallies]
    path.write_text(json.dumps({"bench": "chaos", **summarise(tallies), "searches": rows}, indent=1) + "\n")


@contextlib.contextmanager
def stage(o: Any) -> Iterator[tuple[Path, Machines, Path]]:
    """A cluster of three nodes, a folder for what is to be looked at afterwards, and a small disk."""
    folder = Path(tempfile.mkdtemp(prefix="rs4-", dir="/tmp"))  # short: Ray's sockets are in it
    try:
        with mounted(folder / "disk", o.disk) as disk, Machines(folder, _environment(folder, o)) as machines:
            for cpus in cpus_of(o):
                machines.add(cpus)
            yield folder, machines, disk
    finally:
        if not o.verbose:
            shutil.rmtree(folder, ignore_errors=True)


def cpus_of(o: Any) -> tuple[int, ...]:
    """Logical CPUs of the head and of the other nodes."""
    return CPUS if o.processes == 1 else GROUP_CPUS


def _environment(folder: Path, o: Any) -> dict[str, str]:
    """Has workers of several processes note what was acknowledged, in a folder that each search makes."""
    if o.processes == 1:
        return {}
    paths = [str(Path(support.__file__).with_name("noting")), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "RAYSEARCH_BENCH_WITNESS": str(folder / NOTES),
    }


def spec_of(run: Path, seed: int, witnessed: Path, o: Any) -> str:
    """The YAML of a search whose workers leave notes in `witnessed`."""
    halving = {"name": "caviar", "samples": o.samples, "max_iterations": 9, "min_iterations": 1}
    raising = {"name": "panda", "max_iterations": 27, "population": 2, "nudge": ["lr"]}
    is_halving = _is_halving(seed, o)
    strategy = {**halving, "sampler": "sobol", "finish": None} if is_halving else raising
    alone = o.processes == 1
    group = {"count": 2, "processes": o.processes, **({"nodes": 2} if seed // 2 % 2 else {})}
    fields = {
        "name": run.name,
        "storage": str(run.parent),
        "trainable": f"raysearch.bench.support.{'witnessed:Witnessed' if alone else RANKS}",
        "space": {"lr": {"uniform": [0.01, 0.9]}},
        "config": {"seconds": o.seconds, "kilobytes": 50, "witness": str(witnessed) if alone else None},
        "metric": "loss",
        "mode": "min",
        "strategy": strategy,
        **({} if is_halving else {"baseline": {"lr": 0.02}}),
        "workers": sum(CPUS) if alone else group,
        "seed": seed,
        "wandb": "off",
    }
    return yaml.safe_dump(fields)


def _is_halving(seed: int, o: Any) -> bool:
    """Whether a search is one by successive halving; else it raises three models together."""
    return bool({"caviar": True, "panda": False, "both": seed % 2 == 0}[o.strategy])


def in_peace(spec: Path, folder: Path) -> Path:
    """The folder of the same search, in this process and undisturbed."""
    from raysearch.launch import launch
    from raysearch.run.options import How
    from raysearch.spec.search_spec import load_spec

    sets = [f"name=calm-{spec.stem}", f"storage={folder}", "config.seconds=0", "config.witness=null"]
    launch(load_spec(spec, sets), How(executor="inline"))
    return folder / f"calm-{spec.stem}"


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "(nothing)"


def parser() -> argparse.ArgumentParser:
    """The options with their defaults."""
    made = argparse.ArgumentParser(prog="raysearch bench chaos", description=__doc__)
    made.add_argument("--seed", type=int, default=0, help="of the first search; the next ones count up")
    made.add_argument("--faults", type=int, default=200)
    made.add_argument("--samples", type=int, default=60, help="trials of a search")
    made.add_argument(
        "--strategy", choices=("both", "caviar", "panda"), default="both", help="by turns, or one of them"
    )
    made.add_argument(
        "--processes", type=int, default=1, help="of a worker; two or more: half of the searches on two nodes"
    )
    made.add_argument("--seconds", type=float, default=0.5, help="an iteration")
    made.add_argument("--gap", type=float, nargs=2, default=(2.0, 5.0), help="seconds between two faults")
    made.add_argument("--disk", type=int, default=64, help="MB of the disk that the run lies on")
    made.add_argument("--only", nargs="*", choices=sorted(FAULTS), help="some kinds of faults")
    made.add_argument("--keep", help="a file for the whole tally, as JSON")
    made.add_argument("--verbose", action="store_true", help="say each fault, and leave logs and runs there")
    made.add_argument("--json", action="store_true")
    return made
