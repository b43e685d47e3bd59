"""Trainables that save checkpoints and begin from none: each iteration is still the one of its number."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import trainables
from ray import tune
from ray.tune import get_checkpoint as begun_from
from test_cli import Shell, make_folder
from test_python_use import search

import raysearch
from raysearch.core.segment import Outcome, Segment, Status, segment_id
from raysearch.engine.checkpoint_index import Register
from raysearch.errors import SpecError
from raysearch.launch_checks import check
from raysearch.spec import make_spec
from raysearch.spec.trainables import begins_from_checkpoints, can_pause


def saved(epoch: int) -> Any:
    folder = tempfile.mkdtemp()
    Path(folder, "epoch").write_text(str(epoch))
    return tune.Checkpoint.from_directory(folder)


def never_asks(config: dict[str, Any]) -> None:
    """As under Ray Tune's ASHA, which never needs it to."""
    for epoch in range(1, 10):
        tune.report({"loss": config["rate"] / epoch, "epoch": epoch}, checkpoint=saved(epoch))


class Keeps(trainables.NoCheckpoint):
    """A class that saves and does not load."""

    def step(self) -> dict[str, Any]:
        return {**super().step(), "epoch": self.iteration + 1}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "epoch").write_text(str(self.iteration))


def asks_in_a_helper(config: dict[str, Any]) -> None:
    def inner() -> Any:
        return first_epoch()

    inner()


def first_epoch() -> Any:
    return tune.get_checkpoint()


def asks_under_another_name(config: dict[str, Any]) -> None:
    print(begun_from())


def mentions_it(config: dict[str, Any]) -> None:
    """Says get_checkpoint in its words alone."""
    tune.report({"loss": 1.0, "get_checkpoint": 1.0}, checkpoint=saved(1))


@pytest.mark.parametrize(
    ("trainable", "begins"),
    [
        (never_asks, False),
        (mentions_it, False),
        (Keeps, False),
        (trainables.NoCheckpoint, False),
        (asks_in_a_helper, True),
        (asks_under_another_name, True),
        (tune.with_parameters(asks_in_a_helper), True),
        (trainables.walk, True),
        (trainables.Walk, True),
    ],
)
def test_whether_a_trainable_begins_from_checkpoints_is_seen_from_its_code(
    trainable: Any, begins: bool
) -> None:
    assert begins_from_checkpoints(trainable) is begins


def spec(trainable: Any, strategy: Any) -> Any:
    space = {"rate": {"uniform": [0.1, 1.0]}}
    return make_spec(trainable=trainable, space=space, metric="loss", mode="min", strategy=strategy)


@pytest.mark.parametrize("trainable", [never_asks, Keeps])
@pytest.mark.parametrize("variant", ["auto", "promotion", "stopping"])
def test_every_iteration_is_the_one_of_its_number_and_nothing_fails(
    storage: Path, variant: str, trainable: Any
) -> None:
    status: dict[str, Any] = {}
    caviar = raysearch.Caviar(9, 9, min_iterations=1, variant=variant, sampler="sobol")
    results = search(storage, trainable, strategy=caviar, on_status=status.update)
    curves = results.curves(finals=True)
    assert (curves["epoch"] == curves["iteration"]).all()
    assert set(results.segments()["status"]) == {"completed"}
    assert results.best.model is not None
    assert results.best.model.iteration == 9
    anew = [text for text in status["warnings"] if "each promoted trial is trained anew" in text]
    assert bool(anew) is (variant == "promotion")


@pytest.mark.parametrize(
    ("trainable", "variant"), [(never_asks, "stopping"), (Keeps, "stopping"), (trainables.walk, "promotion")]
)
def test_where_trials_cannot_wait_they_are_trained_on_at_once_or_never(trainable: Any, variant: str) -> None:
    caviar = raysearch.Caviar(9, 9)
    ready = check(spec(trainable, caviar))
    assert ready.spec.strategy.variant == variant  # type: ignore[attr-defined]
    assert ready.restores is (variant == "promotion")


def test_the_dry_run_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_folder(tmp_path))
    shell = Shell(tmp_path, capsys)
    options = ("--set", f"trainable={Path(__file__)}:never_asks", "--dry-run", "--json")
    found = shell("launch", "tiny.yaml", *options).json
    assert found["variant"] == "stopping"
    assert found["variant_why"] == (
        "never_asks saves checkpoints and never begins from one, so a trial is trained on at once or never"
    )


def test_a_raised_model_needs_both_halves() -> None:
    panda = raysearch.Panda(max_iterations=60)
    with pytest.raises(SpecError, match="Keeps loads none: implement save_checkpoint and load_checkpoint"):
        check(spec(Keeps, panda))
    (remark,) = check(spec(never_asks, panda)).remarks
    assert "and never_asks begins from none; where that is so, every segment that goes on fails" in remark
    assert can_pause(never_asks)


def test_a_register_that_restores_nothing_grows_trials_from_a_fresh_model() -> None:
    def part(ordinal: int, start: int, stop: int, parent: int | None) -> Segment:
        return Segment(segment_id(0, ordinal), 0, parent, {}, start, stop, 0, "because")

    first, second = part(0, 0, 1, None), part(1, 1, 3, segment_id(0, 0))
    for restores, checkpoint, chain in ((True, "0.0-a", ()), (False, None, (first,))):
        register = Register(list, restores=restores)
        register.add(Outcome(first, Status.COMPLETED, {"loss": [1.0]}, checkpoint="0.0-a"))
        lease = register.route(second)
        assert (lease.checkpoint, lease.chain) == (checkpoint, chain)
        assert register.checkpoints() == {"0.0-a"}


@pytest.mark.slow
def test_trials_that_another_worker_goes_on_with_are_grown_again(ray_cluster: None, storage: Path) -> None:
    caviar = raysearch.Caviar(12, 9, min_iterations=1, sampler="sobol")
    results = search(storage, never_asks, strategy=caviar, executor="tune", workers=2)
    curves = results.curves(finals=True)
    assert (curves["epoch"] == curves["iteration"]).all()
    assert set(results.segments()["status"]) == {"completed"}
