"""`raysearch bench startup`: from the command to the first outcome, imports and Ray's start included.

`raysearch launch --local` of a trivial spec against a script that does nothing but `Tuner.fit`; the
trainable itself notes the time at the end of its first iteration. In turn, several rounds, medians.
`--profile` shows one launch instead: when each of its processes reached which point, and a bar for the time
since the point before.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from raysearch.bench.support.contest import BenchError, show
from raysearch.storage.marks import VARIABLE, Phase, phases

BAR = 40  # characters of the longest bar

SPEC = """
trainable: raysearch.bench.support.trivial:Trivial
name: startup
metric: loss
mode: min
space: {{x: {{uniform: [0.0, 1.0]}}}}
config: {{stamp: "{stamp}"}}
strategy: {{name: caviar, samples: 1, max_iterations: 1, finish: "off"}}
workers: {{count: 1}}
storage: "{folder}"
"""

SCRIPT = """
import ray
from ray import tune
from raysearch.bench.support.trivial import Trivial
ray.init(include_dashboard=False, log_to_driver=False)
tune.Tuner(
    Trivial,
    param_space={{"x": tune.uniform(0.0, 1.0), "stamp": "{stamp}"}},
    tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=1),
    run_config=tune.RunConfig(storage_path="{folder}", stop={{"training_iteration": 1}}, verbose=0),
).fit()
"""

HELP = [sys.executable, "-m", "raysearch.cli", "--help"]
IMPORT = [sys.executable, "-c", "import raysearch"]


def main(argv: list[str]) -> int:
    """Runs the rounds and prints the medians."""
    parser = argparse.ArgumentParser(prog="raysearch bench startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="the phases of one launch")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    if options.profile:
        print("\n".join(bars(_phases())))
        return 0
    ours, bare, ratio, helps, imports = [], [], [], [], []
    for _ in range(options.rounds):
        ours.append(_first_outcome(SPEC, "spec.yaml"))
        bare.append(_first_outcome(SCRIPT, "bare.py"))
        ratio.append(ours[-1] / bare[-1])
        helps.append(_whole(HELP))
        imports.append(_whole(IMPORT) - _whole([sys.executable, "-c", "pass"]))
    rows = [
        {"contender": "raysearch launch", "first_outcome_s": statistics.median(ours)},
        {"contender": "bare Tuner.fit", "first_outcome_s": statistics.median(bare)},
        {"contender": "raysearch --help", "whole_s": statistics.median(helps)},
        {"contender": "import raysearch", "whole_s": statistics.median(imports)},
    ]
    note = f"launch / Tuner.fit, paired: median {statistics.median(ratio):.2f}x of {options.rounds} rounds"
    show("startup", rows, [note], options.json)
    return 0


def _phases() -> list[Phase]:
    """The phases of one launch."""
    with tempfile.TemporaryDirectory(prefix="raysearch-bench-") as folder:
        file = Path(folder, "marks")
        began = time.time()
        seconds = _first_outcome(SPEC, "spec.yaml", {VARIABLE: str(file)})
        lines = [*file.read_text(encoding="utf-8").splitlines(), f"{began + seconds:.6f} first outcome"]
        return phases(lines, began)


def bars(found: list[Phase]) -> list[str]:
    """A line for each phase: when it ended, how long it took, a bar of that, and what was reached."""
    longest = max((phase.seconds for phase in found), default=0.0) or 1.0
    drawn = ("#" * round(BAR * phase.seconds / longest) for phase in found)
    return [
        f"{phase.at:7.2f} s {phase.seconds:7.2f} s {bar:<{BAR}} {phase.point}"
        for phase, bar in zip(found, drawn, strict=True)
    ]


def _first_outcome(template: str, name: str, extra: Mapping[str, str] = MappingProxyType({})) -> float:
    """Seconds from starting the process to the end of the first iteration."""
    with tempfile.TemporaryDirectory(prefix="raysearch-bench-") as folder:
        stamp, file = Path(folder, "stamp"), Path(folder, name)
        file.write_text(template.format(stamp=stamp, folder=folder))
        launch = [sys.executable, "-m", "raysearch.cli", "launch", str(file), "--local"]
        command = launch if name.endswith(".yaml") else [sys.executable, str(file)]
        began = time.time()
        done = subprocess.run(
            command, capture_output=True, text=True, env={**_environment(), **extra}, check=False
        )
        if done.returncode or not stamp.exists():
            raise BenchError(f"{name} failed:\n{(done.stdout + done.stderr)[-2000:]}")
        return float(stamp.read_text()) - began


def _whole(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, env=_environment(), check=True)
    return time.perf_counter() - began


def _environment() -> dict[str, str]:
    return {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
