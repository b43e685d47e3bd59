"""launch and resume: what users get wrong, and what goes wrong around them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trainables

import raysearch
import raysearch.launch as launching
from raysearch.core.segment import Outcome, Status
from raysearch.errors import (
    ClusterError,
    ClusterLostError,
    JournalBusyError,
    JournalError,
    LocatedError,
    RunError,
    SpecError,
    TrainableError,
)
from raysearch.executors.tune.head import gone
from raysearch.launch import more_samples, unfit
from raysearch.run.session import Setup
from raysearch.space import Space
from raysearch.spec import SearchSpec
from raysearch.spec.trainables import can_pause, load_trainable
from raysearch.storage import retry
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.reading import read_outcomes
from raysearch.worker.shipping import ship

SPACE = {"rate": {"uniform": [0.0, 1.0]}}


def search(
    storage: Path, trainable: Any = trainables.Curve, samples: int = 9, **options: Any
) -> raysearch.Results:
    options.setdefault(
        "strategy",
        raysearch.Caviar(samples=samples, max_iterations=9, min_iterations=1, sampler="sobol", finish=None),
    )
    options.setdefault("executor", "inline")
    return raysearch.search(
        trainable,
        **{
            "space": SPACE,
            "metric": "loss",
            "mode": "min",
            "storage": str(storage),
            "name": "run",
            **options,
        },
    )


def outcomes(storage: Path) -> list[Outcome]:
    return list(read_outcomes(storage / "run" / "journal"))


def told(rows: list[Outcome]) -> list[str]:
    """The outcomes as text, in which NaN equals NaN."""
    return [repr(row) for row in rows]


# ---- the trainable


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (
            "no_such_module:Model",
            "importing 'no_such_module' failed with ModuleNotFoundError: No module named",
        ),
        ("trainables:Wlak", "unknown attribute 'Wlak'; did you mean 'Walk'?"),
        ("trainables", "is not of the form module:attribute or path/to/file.py:attribute"),
        ("nowhere.py:Model", "no file 'nowhere.py'"),
        ("json:decoder", "is a module: expected a Ray Tune class trainable"),
        ("collections:OrderedDict", "is a class without train, save, restore and reset"),
    ],
)
def test_a_trainable_that_is_not_there_is_said_before_anything_starts(
    reference: str, said: str, storage: Path
) -> None:
    with pytest.raises((SpecError, TrainableError)) as caught:
        search(storage, reference)
    assert said in str(caught.value)
    assert not any(storage.iterdir())


def test_an_error_in_the_users_module_is_theirs_with_its_line(tmp_path: Path, storage: Path) -> None:
    module = tmp_path / "broken.py"
    module.write_text("x = 1\ny = x + 'a'\n")
    with pytest.raises(TrainableError, match=r"failed with TypeError: unsupported.*broken.py, line 2"):
        search(storage, f"{module}:Model")


def test_a_trainable_in_a_file_is_shipped_with_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lonely.py").write_text(
        "def helper():\n    return 41\n\ndef train(config):\n    return helper() + 1\n"
    )
    shipped = ship(load_trainable(f"{tmp_path / 'lonely.py'}:train"))
    for name in [n for n in sys.modules if n.startswith("lonely")]:
        monkeypatch.delitem(sys.modules, name)
    assert shipped.load()({}) == 42


LONELY_TORCH = """
import torch
torch.set_default_dtype(torch.float64)
torch.backends.cudnn.benchmark = True
def train(config):
    return torch.zeros(1).element_size(), torch.backends.cudnn.benchmark
"""
IN_A_WORKER = """
import pickle, sys
from pathlib import Path
shipped = pickle.loads(Path(sys.argv[1]).read_bytes())
print(*shipped.load()({}))
"""


def test_settings_of_torch_beside_a_shipped_function_reach_the_workers(tmp_path: Path) -> None:
    module, packed = tmp_path / "lonely.py", tmp_path / "packed"
    module.write_text(LONELY_TORCH)
    pack = (
        "import pickle, sys\nfrom pathlib import Path\nfrom raysearch.spec.trainables import load_trainable\n"
        "from raysearch.worker.shipping import ship\n"
        "Path(sys.argv[1]).write_bytes(pickle.dumps(ship(load_trainable(sys.argv[2]))))"
    )
    python = [sys.executable, "-c"]
    subprocess.run([*python, pack, str(packed), f"{module}:train"], check=True)
    module.unlink()
    said = subprocess.run([*python, IN_A_WORKER, str(packed)], check=True, capture_output=True, text=True)
    assert said.stdout.split() == ["8", "True"]


def test_what_can_be_paused_is_seen_from_the_trainable() -> None:
    seen = {
        t.__name__: can_pause(t)
        for t in (trainables.Walk, trainables.NoCheckpoint, trainables.walk, trainables.plain)
    }
    assert seen == {"Walk": True, "NoCheckpoint": False, "walk": True, "plain": False}


# ---- the run's folder


def test_a_run_is_never_overwritten(storage: Path) -> None:
    search(storage)
    before, rows = (storage / "run" / "spec.yaml").read_bytes(), told(outcomes(storage))
    with pytest.raises(RunError, match=r"a run exists at .*raysearch resume .*another name"):
        search(storage)
    assert (storage / "run" / "spec.yaml").read_bytes() == before
    assert told(outcomes(storage)) == rows


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(LocatedError, match=r"storage: '.*file' cannot be written: .*file is no folder"):
        search(blocked)


def test_resuming_what_is_not_there_names_what_is(storage: Path) -> None:
    search(storage)
    with pytest.raises(RunError, match=r"no run at '.*/rum'.*runs here: .*/run"):
        raysearch.resume(storage / "rum")


def test_a_launch_that_died_before_it_began_is_not_in_the_way(storage: Path) -> None:
    (storage / "run" / "journal").mkdir(parents=True)
    assert len(search(storage).trials()) == 9


def test_an_unknown_executor_is_refused(storage: Path) -> None:
    with pytest.raises(SpecError, match="executor: 'spark' is not one of tune, inline"):
        search(storage, executor="spark")
    assert not any(storage.iterdir())


def test_a_configuration_that_cannot_be_journalled_is_refused_before_anything_starts(storage: Path) -> None:
    with pytest.raises(SpecError, match=r"config: <object .* cannot be stored"):
        search(storage, config={"loader": object()})
    assert not any(storage.iterdir())


# ---- bad luck in training


def test_an_exception_in_trial_seventeen_is_reported_and_harms_no_other(storage: Path) -> None:
    calm = search(storage, samples=27, name="calm").trials()
    unlucky = float(calm["config.rate"].iloc[17])
    results = search(storage, trainables.Seventeenth, samples=27, config={"unlucky": unlucky}, retries=1)
    rows = outcomes(storage)
    [failed] = [o for o in rows if o.status is Status.FAILED]
    assert failed.segment.trial == 17
    assert failed.error == "FloatingPointError: division in the seventeenth"
    assert len(results.trials()) == 27
    assert {o.segment.trial for o in rows if o.status is Status.COMPLETED} == set(range(27)) - {17}


def test_a_metric_that_nobody_reports_ends_the_search_with_the_names_that_are(storage: Path) -> None:
    with pytest.raises(
        RunError, match=r"the first 10 segments all failed.*'lss' was never reported; reported were: loss"
    ):
        search(storage, samples=30, metric="lss")
    assert len([o for o in outcomes(storage) if o.status is Status.FAILED]) == 10


def test_checkpoints_that_vanish_are_grown_again(storage: Path) -> None:
    calm = search(storage, trainables.Walk, name="calm", samples=27).curves()

    class Vandal(trainables.Walk):
        """Removes each checkpoint it sees, up to thirty of them."""

        removed = 0

        def step(self) -> dict[str, Any]:
            for state in (storage / "run" / "checkpoints").glob("*/*/state.json"):
                if Vandal.removed < 30:
                    shutil.rmtree(state.parent)
                    Vandal.removed += 1
            return super().step()

    warnings: set[str] = set()
    results = search(
        storage, Vandal, samples=27, on_status=lambda status: warnings.update(status["warnings"])
    )
    assert results.curves()["loss"].tolist() == calm["loss"].tolist()
    assert any("could not be read" in text and "grown again from its parent" in text for text in warnings)


def test_checkpoints_that_a_disk_changes_are_grown_again_and_that_is_said(storage: Path) -> None:
    calm = search(storage, trainables.Walk, name="calm", samples=27).curves()
    warnings: set[str] = set()

    class Vandal(trainables.Walk):
        """Changes each checkpoint it sees once, up to thirty of them."""

        changed: ClassVar = set[Path]()

        def step(self) -> dict[str, Any]:
            for state in (storage / "run" / "checkpoints").glob("*/*/state.json"):
                if state not in self.changed and len(self.changed) < 30:
                    state.write_text("[4018.0, 1]")
                    self.changed.add(state)
            return super().step()

    results = search(
        storage, Vandal, samples=27, on_status=lambda status: warnings.update(status["warnings"])
    )
    assert results.curves()["loss"].tolist() == calm["loss"].tolist()
    assert any("changed them" in text and "grown again from its parent" in text for text in warnings)


def test_a_run_is_resumed_from_a_foreign_or_torn_journal_with_a_clear_word(storage: Path) -> None:
    search(storage)
    for part in (storage / "run" / "journal").glob("rows-*"):
        part.write_bytes(b"something else entirely")
    with pytest.raises(JournalError, match="rows-"):
        raysearch.resume(storage / "run", raysearch.How(executor="inline"))


# ---- going on


def test_a_finished_run_resumed_changes_nothing(storage: Path) -> None:
    search(storage)
    before = outcomes(storage)
    raysearch.resume(storage / "run", raysearch.How(executor="inline"))
    assert told(outcomes(storage)) == told(before)


def test_fewer_samples_or_a_shorter_horizon_are_refused(storage: Path) -> None:
    spec = search(storage).spec
    loaded = raysearch.load_spec(storage / "run" / "spec.yaml")
    assert spec["strategy"]["samples"] == 9
    for arguments, said in (
        (("8",), "samples: 8 is fewer than the 9"),
        (("many",), "samples: 'many' is neither a whole number nor +N"),
        ((None, 3), "max_iterations: 3 is less than the 9"),
    ):
        with pytest.raises(SpecError) as caught:
            more_samples(loaded, *arguments)
        assert said in str(caught.value)


def test_an_edited_space_keeps_what_fits_and_says_what_does_not(storage: Path) -> None:
    search(storage, samples=9)
    before = outcomes(storage)
    narrow = Space.from_dict({"rate": {"uniform": [0.0, 0.5]}})
    unfitting = unfit(storage / "run", narrow)
    assert {t for t, _ in unfitting} == {o.segment.trial for o in before if o.segment.config["rate"] > 0.5}
    assert all("outside" in why and "0.5" in why for _, why in unfitting)

    def edit(spec: SearchSpec) -> SearchSpec:
        return more_samples(dataclasses.replace(spec, space=narrow), "+9")

    results = raysearch.resume(storage / "run", raysearch.How(executor="inline"), edits=edit)
    after = outcomes(storage)
    assert told(after[: len(before)]) == told(before)
    assert all(o.segment.config["rate"] <= 0.5 for o in after[len(before) :])
    assert len(results.trials()) == 18


def test_what_does_not_fit_an_edited_space_is_never_best(storage: Path) -> None:
    first = search(storage, samples=9, baseline={"rate": 0.75})
    assert first.best.config["rate"] < 0.7
    wide = Space.from_dict({"rate": {"uniform": [0.7, 1.0]}})
    assert "baseline" not in {why for _, why in unfit(storage / "run", wide)}

    def edit(spec: SearchSpec) -> SearchSpec:
        return dataclasses.replace(spec, space=wide)

    results = raysearch.resume(storage / "run", raysearch.How(executor="inline"), edits=edit)
    assert results.best.config["rate"] >= 0.7
    trials = results.trials()
    assert trials.loc[trials["config.rate"] < 0.7, "fits"].eq(False).all()
    assert trials.loc[trials["config.rate"] >= 0.7, "fits"].all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metric": "acc"}, "metric: the run was searched with 'loss'; 'acc' would turn its outcomes"),
        ({"mode": "max"}, "mode: the run was searched with 'min'; 'max' would turn its outcomes"),
        (
            {"space": Space.from_dict({"name": "x"})},
            "space: name shares no hyper-parameter with the run's (rate)",
        ),
        (
            {"strategy": raysearch.Caviar(samples=2, max_iterations=9)},
            "strategy.samples: 2 is less than the 9 that the run has",
        ),
    ],
)
def test_an_edit_that_would_turn_the_past_into_something_else_is_refused(
    change: dict[str, Any], said: str, storage: Path
) -> None:
    search(storage)
    before = (storage / "run" / "spec.yaml").read_bytes()
    with pytest.raises(SpecError) as caught:
        raysearch.resume(
            storage / "run",
            raysearch.How(executor="inline"),
            edits=lambda spec: dataclasses.replace(spec, **change),
        )
    assert said in str(caught.value)
    assert (storage / "run" / "spec.yaml").read_bytes() == before


def test_a_run_that_is_being_searched_is_not_resumed_and_the_holder_is_named(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(storage)
    monkeypatch.setattr("raysearch.run.session.PATIENCE_S", 0.1)
    with Journal.open(storage / "run" / "journal"), pytest.raises(JournalBusyError) as caught:
        raysearch.resume(storage / "run")
    assert f"process {os.getpid()} on" in str(caught.value)


def test_what_is_wrong_with_sampler_or_trainable_is_said_before_the_run_exists(storage: Path) -> None:
    with pytest.raises(SpecError):
        search(storage, strategy=raysearch.Caviar(samples=3, max_iterations=3, sampler=3))  # type: ignore[arg-type]
    lock = threading.Lock()
    with pytest.raises(TrainableError, match="cannot be sent to workers"):
        search(storage, lambda config: lock.acquire())
    assert not any(storage.iterdir())


def test_a_trainable_that_changes_the_working_directory_does_not_lose_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = search(Path("runs"), trainables.Wandering, config={"elsewhere": str(tmp_path.parent)})
    assert results.best.checkpoint is not None
    assert results.best.checkpoint.is_dir()


def test_a_run_folder_that_is_deleted_ends_the_search_instead_of_training_for_nothing(storage: Path) -> None:
    def vandal(status: dict[str, Any]) -> None:
        if status["trials"] >= 2:
            shutil.rmtree(storage / "run", ignore_errors=True)

    with pytest.raises(JournalError, match="was deleted while it was in use"):
        search(storage, trainables.Slow, samples=200, config={"seconds": 0.02}, on_status=vandal)


# ---- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def take_all_room(file: Path, over: threading.Event) -> None:
    """Be the neighbour who fills a disk: whatever is free, or becomes free until it is over, is taken."""
    with file.open("wb", buffering=0) as filler:
        while not over.wait(0.005):
            with pytest.raises(OSError, match="No space left"):
                write_without_end(filler)


def write_without_end(filler: FileIO) -> None:
    while True:
        filler.write(bytes(4096))


@pytest.mark.parametrize("executor", ["inline", "tune"])
def test_a_full_disk_loses_no_acknowledged_outcome_and_the_run_goes_on_when_there_is_room(
    executor: Any, small_disk: Path, request: pytest.FixtureRequest
) -> None:
    if executor == "tune":
        request.getfixturevalue("ray_cluster")

    over = threading.Event()
    neighbour = threading.Thread(target=take_all_room, args=(small_disk / "filler", over), daemon=True)

    def fill(status: dict[str, Any]) -> None:
        if status["trials"] >= 3 and not neighbour.ident:
            neighbour.start()

    with pytest.raises((RunError, JournalError), match="No space left on device"):
        search(
            small_disk,
            trainables.Heavy,
            samples=60,
            executor=executor,
            workers=2,
            storage_timeout="2s",
            on_status=fill,
        )
    over.set()
    neighbour.join()
    before = outcomes(small_disk)
    assert before
    (small_disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    raysearch.resume(small_disk / "run", raysearch.How(executor=executor), trainable=trainables.Heavy)
    after = outcomes(small_disk)
    assert told(after[: len(before)]) == told(before)
    final = [o.segment.id for o in after if o.status is not Status.LOST]
    assert len(final) == len(set(final))
    assert {o.segment.trial for o in after} == set(range(60))


def test_results_are_waited_for_when_the_storage_is_away_just_as_the_search_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, away, run_inline = tmp_path / "run", tmp_path / "away", launching._run_inline

    def run_and_go_away(*given: Any) -> dict[str, Any]:
        last = run_inline(*given)
        run.rename(away)
        return last

    def waits(patience_s: float) -> Iterator[float]:
        yield 0.0
        away.rename(run)
        yield 0.0

    monkeypatch.setattr(launching, "_run_inline", run_and_go_away)
    monkeypatch.setattr(retry, "waits", waits)
    assert len(search(tmp_path).trials()) == 9
    assert not away.exists()


def test_a_launch_that_fails_before_its_search_begins_leaves_its_name_free(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # another test's cluster may be there
    with pytest.raises(ClusterError, match="no Ray cluster answers"):
        search(storage, executor="tune", address="127.0.0.1:1")
    assert len(search(storage).trials()) == 9


def test_a_run_whose_cluster_goes_before_its_search_begins_is_resumed_as_its_error_says(
    storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(setup: Setup, *rest: Any) -> Any:
        raise ClusterLostError(gone(setup.run))

    with monkeypatch.context() as patched:
        patched.setattr("raysearch.launch._run_inline", lose)
        with pytest.raises(ClusterLostError, match=f"raysearch resume {storage / 'run'}"):
            search(storage)
    how = raysearch.How(executor="inline")
    assert len(raysearch.resume(storage / "run", how, trainable=trainables.Curve).trials()) == 9
