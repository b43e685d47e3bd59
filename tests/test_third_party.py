"""A strategy and a sampler of another package: installed, held to the contracts, and searched with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PACKAGE = HERE / "third_party"
TRAINABLE = """
from ray import tune

class Bowl(tune.Trainable):
    def setup(self, config):
        self.lr, self.t = config["lr"], 0

    def step(self):
        self.t += 1
        return {"loss": abs(self.lr - 0.3) + 1 / self.t}

    def save_checkpoint(self, folder):
        open(f"{folder}/t", "w").write(str(self.t))

    def load_checkpoint(self, folder):
        self.t = int(open(f"{folder}/t").read())
"""
SEARCH = """
import raysearch
from raysearch_first_past_the_post import Echo

fields = dict(trainable="bowl.py:Bowl", metric="loss", mode="min", storage="runs", seed=1,
              space={"lr": {"uniform": [0.0, 1.0]}})
found = raysearch.search(name="theirs", executor="inline", **fields,
                         strategy={"name": "first_past_the_post", "samples": 6, "max_iterations": 4})
print(len(found.trials()), found.best.iteration, found.lineage()["event"].tolist()[-1])
ours = raysearch.search(name="ours", executor="inline", **fields,
                        strategy=raysearch.Caviar(samples=6, max_iterations=3, sampler=Echo(), finish=None))
print(len(ours.trials()), ours.segments()["reason"].iloc[0])
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package is installed, beside nothing else."""
    folder = tmp_path_factory.mktemp("third_party")
    source, target = folder / "source", folder / "site"
    shutil.copytree(PACKAGE, source)  # which building writes into
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--target", str(target))
    run(sys.executable, "-m", "pip", "install", *options, str(source), cwd=folder)
    return target


def run(*command: str, cwd: Path, path: Path | None = None) -> str:
    """What a process prints. Fails with all of its output if it does."""
    paths = [str(p) for p in (path, HERE.parent) if p is not None]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_keeps_the_contracts(installed: Path, tmp_path: Path) -> None:
    shutil.copy(PACKAGE / "contract.py", tmp_path)
    options = ("-q", "-p", "no:cacheprovider", "-W", "error::pytest.PytestWarning")
    said = run(sys.executable, "-m", "pytest", *options, "contract.py", cwd=tmp_path, path=installed)
    assert "failed" not in said
    assert int(said.split(" passed")[0].split()[-1]) > 50


def test_a_search_goes_by_its_name_and_with_its_sampler(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "bowl.py").write_text(TRAINABLE)
    printed = run(sys.executable, "-c", SEARCH, cwd=tmp_path, path=installed).splitlines()
    assert printed[-2:] == ["6 4 promotion", "6 new trial from sampler Echo"]
