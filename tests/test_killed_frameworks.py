"""A kill -9 in the midst of a framework's epoch: the curves are still those of its undisturbed training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import frameworks
import pytest
import test_integrations
import test_scripts

import raysearch

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
TRAINABLES = {"lightning": frameworks.lightning_killed, "huggingface": frameworks.huggingface_killed}
# The first trial trains 2 epochs of 4 steps and goes on; the kill is in the second epoch of those four.
STEP = 2 * 4 + 6
STRATEGY = {"name": "caviar", "samples": 3, "max_iterations": 6, "min_iterations": 2, "variant": "promotion"}
FROM_FILE = """
import json, sys
import frameworks, raysearch
given = json.load(open(sys.argv[2]))
raysearch.search(getattr(frameworks, sys.argv[1] + "_killed"), **given)
"""


def settings(name: str, tmp_path: Path, storage: Path) -> dict[str, Any]:
    return {
        "space": {"lr": {"loguniform": [1e-3, 1e-1]}},
        "config": {"root": str(tmp_path / "mine"), "kill_at": STEP, "killed": str(tmp_path / "killed")},
        "metric": test_integrations.FRAMEWORKS[name][2],
        "mode": "min",
        "strategy": {**STRATEGY, "finish": None, "eta": 3},
        "storage": str(storage),
        "name": "run",
    }


def check(name: str, results: raysearch.Results, tmp_path: Path) -> None:
    assert (tmp_path / "killed").exists()
    trials = results.trials()
    assert (len(trials), max(trials.iterations)) == (3, 6)
    for trial in trials.trial:
        assert set(test_integrations.check_path(name, results, trial, tmp_path / "mine")) == {1.0}


def start(tmp_path: Path, code: str, *words: str) -> int:
    """The exit code of a process that searches in its own."""
    tests = Path(__file__).parent
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path[:0] = [{str(tests)!r}, {str(tests.parent)!r}]" + code,
    ]
    ended = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode < 0, ended.stderr
    return ended.returncode


# One framework for each of the two: test_integrations.py has every one go on from a checkpoint.


def test_a_driver_that_was_killed_amid_an_epoch_is_resumed_to_the_same_curves(
    tmp_path: Path, storage: Path
) -> None:
    name = "lightning"
    file = tmp_path / "given.json"
    file.write_text(json.dumps({**settings(name, tmp_path, storage), "executor": "inline"}))
    assert start(tmp_path, FROM_FILE, name, str(file)) == -9
    before = raysearch.load(storage / "run")
    assert before.segments()[["start", "stop"]].values.tolist() == [[0, 2]]
    how = raysearch.How("inline", say=lambda line: None)
    check(name, raysearch.resume(storage / "run", how, trainable=TRAINABLES[name]), tmp_path)


def test_a_worker_that_was_killed_amid_an_epoch_is_started_again_to_the_same_curves(
    tmp_path: Path, storage: Path, ray_cluster: None
) -> None:
    name = "huggingface"
    given = settings(name, tmp_path, storage)
    results = raysearch.search(TRAINABLES[name], **given, workers=1, say=lambda line: None)
    check(name, results, tmp_path)


KILLS = """
        if epoch == 5 and not os.path.exists("killed"):
            open("killed", "w").close()
            os.kill(os.getppid(), 9)
            os.read(os.pipe()[0], 1)  # until the watchdog ends it
"""


def test_a_driver_that_was_killed_amid_a_scripts_segment_is_resumed_to_the_same_curves(
    tmp_path: Path, storage: Path
) -> None:
    report = test_scripts.REPORTS["report"]
    text = test_scripts.DESCENT.replace("        REPORT\n", KILLS + f"        {report}\n")
    script = test_scripts.script(tmp_path, text)
    spec = {
        "program": str(script), "space": {"lr": {"loguniform": [1e-3, 1e-1]}}, "metric": "loss",
        "mode": "min", "strategy": {**STRATEGY, "finish": None}, "storage": str(storage), "name": "run",
    }  # fmt: skip
    (tmp_path / "search.yaml").write_text(json.dumps(spec))
    launch = "\nfrom raysearch.cli import main\nmain(['launch', 'search.yaml', '--executor', 'inline'])"
    assert start(tmp_path, launch) == -9
    assert max(raysearch.load(storage / "run").trials().iterations) == 2
    results = raysearch.resume(storage / "run", raysearch.How("inline", say=lambda line: None))
    assert (len(results.trials()), max(results.trials().iterations)) == (3, 6)
    test_scripts.check(results)
