"""What people call from Python has an example in its docstring, and the example does what it shows."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune

import raysearch
from raysearch import launch, schedule, sources
from raysearch.results import Best
from raysearch.strategies import scale_laws
from raysearch.torch import scaling

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def members(kind: type) -> dict[str, Any]:
    """What a class offers under names of its own: methods, class methods and properties."""
    return {f"{kind.__name__}.{name}": one for name, one in vars(kind).items() if is_offered(name, one)}


def is_offered(name: str, one: Any) -> bool:
    return not name.startswith("_") and (callable(one) or hasattr(one, "__get__")) and bool(one.__doc__)


CALLED = {
    **{
        name: getattr(raysearch, name)
        for name in raysearch.__all__
        if name not in ("RaysearchError", "__version__")
    },
    "Best": Best,
    "launch.launch": launch.launch,
    "launch.more_samples": launch.more_samples,
    "launch.unfit": launch.unfit,
    "schedule.load": schedule.load,
    "schedule.from_dict": schedule.from_dict,
    "schedule.of": schedule.of,
    "Schedule": schedule.Schedule,
    "sources.from_optuna": sources.from_optuna,
    "sources.from_ray_searcher": sources.from_ray_searcher,
    "torch.Learner": raysearch.torch.Learner,
    "torch.TorchSchedule": raysearch.torch.TorchSchedule,
    "torch.apply": raysearch.torch.apply,
    "torch.parts": raysearch.torch.parts,
    "torch.scaling.Branch": scaling.Branch,
    "torch.scaling.Readout": scaling.Readout,
    "torch.scaling.attention_scale": scaling.attention_scale,
    "torch.scaling.rules_for": scaling.rules_for,
    "scale_laws.along": scale_laws.along,
    "scale_laws.kind_of": scale_laws.kind_of,
    **members(raysearch.Results),
    **members(schedule.Schedule),
}


class Curve(tune.Trainable):  # type: ignore[misc]
    """Its loss falls by a tenth of what is left in each iteration, towards its distance from lr = 0.3."""

    def setup(self, config: dict[str, Any]) -> None:
        self.lr, self.left = float(config["lr"]), 1.0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        self.left *= 0.9
        return {"loss": abs(self.lr - 0.3) + self.left}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "left").write_text(str(self.left))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.left = float(Path(checkpoint_dir, "left").read_text())


def run(root: Path, name: str, samples: int, **options: Any) -> None:
    raysearch.search(
        Curve,
        space={"lr": {"uniform": [0.0, 1.0]}},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(samples=samples, max_iterations=9, sampler="sobol", **options),
        baseline={"lr": 0.5},
        seed=1,
        name=name,
        storage=root / "runs",
        executor="inline",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with two finished runs: runs/digits, and runs/small for the example of resume."""
    root = tmp_path_factory.mktemp("examples")
    run(root, "digits", samples=8)
    run(root, "small", samples=3, finish=None)
    return root


@pytest.mark.parametrize("name", CALLED)
def test_what_people_call_has_an_example_that_does_what_it_shows(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = CALLED[name]
    monkeypatch.chdir(folder)
    known = {"raysearch": raysearch, "train": Curve, "torch": torch, "tune": tune, "scaling": scaling}
    known |= {name: getattr(scale_laws, name) for name in ("along", "kind_of")}
    known["results"] = raysearch.load("runs/digits")
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(one) or "", known, name, None, 0)
    assert test.examples, f"{name} has no example in its docstring"
    said: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=said.append)
    assert not said, "".join(said)
