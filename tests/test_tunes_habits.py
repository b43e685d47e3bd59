"""What holds under Ray Tune holds here: folders, resources, checkpoints of functions, exits, odd values."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune

import raysearch
from raysearch import ray_private
from raysearch.core.segment import Segment, Status
from raysearch.engine.messages import Going, Lease
from raysearch.errors import LocatedError
from raysearch.launch_checks import check
from raysearch.spec import make_spec
from raysearch.spec.trainables import can_pause
from raysearch.worker.host import Host
from raysearch.worker.once import ISOLATE
from raysearch.worker.reports import Trained, record


def segment(
    trial: int, start: int = 0, stop: int = 3, parent: int | None = None, ordinal: int = 0
) -> Segment:
    number = trial << 20 | ordinal
    return Segment(number, trial, parent, {"lr": 0.5}, start, stop, 0, "because")


def train(host: Host, part: Segment, checkpoint: Path | None = None) -> Trained:
    return host.train(Lease(part), checkpoint, lambda iteration: Going.ON)


HOSTS: list[Host] = []


def host_of(trainable: Any, folder: Path) -> Host:
    HOSTS.append(Host(trainable, metric="loss", scratch=folder / "scratch"))
    return HOSTS[-1]


@pytest.fixture(autouse=True)
def no_live_trial() -> Any:
    """Ray has one session for the functions of a process."""
    yield
    while HOSTS:
        HOSTS.pop().drop()


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The process may change its folder, and comes back."""
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "1")
    monkeypatch.setenv("TUNE_ORIG_WORKING_DIR", os.getcwd())
    before = os.getcwd()
    yield
    os.chdir(before)


# ---- folders


def leaves_files(config: dict[str, Any]) -> None:
    for i in range(9):
        found = len(os.listdir("."))
        Path(f"{i}.txt").touch()
        tune.report({"loss": 1.0, "found": found, "folder": float(hash(os.getcwd()) % 10**6)})


class LeavesFiles(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.i = 0

    def reset_config(self, config: dict[str, Any]) -> bool:
        self.i = 0
        return True

    def step(self) -> dict[str, Any]:
        found = len(os.listdir(self.logdir))
        Path(self.logdir, f"{self.i}.txt").touch()
        self.i += 1
        return {"loss": 1.0, "found": found, "folder": float(hash(os.getcwd()) % 10**6)}

    def save_checkpoint(self, folder: str) -> None:
        Path(folder, "i").write_text(str(self.i))

    def load_checkpoint(self, folder: str) -> None:
        self.i = int(Path(folder, "i").read_text())


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("trainable", [leaves_files, LeavesFiles])
def test_each_trial_begins_in_an_empty_folder_of_its_own(trainable: Any, tmp_path: Path) -> None:
    host = host_of(trainable, tmp_path)
    folders = set()
    for trial in range(3):
        result = train(host, segment(trial))
        assert (result.status, result.curve["found"]) == (Status.COMPLETED, [0.0, 1.0, 2.0])
        folders.add(result.curve["folder"][0])
    again = train(
        host, segment(0)
    )  # the same trial from the beginning: a segment is a function of its parent
    assert again.curve["found"] == [0.0, 1.0, 2.0]
    assert len(folders) == 3
    assert len(list((tmp_path / "scratch" / "working_dirs").iterdir())) == 1
    host.drop()


@pytest.mark.usefixtures("at_home")
def test_a_trial_that_goes_on_keeps_its_folder_and_a_fork_of_it_has_an_empty_one(tmp_path: Path) -> None:
    host = host_of(leaves_files, tmp_path)
    train(host, segment(0))
    assert train(host, segment(0, 3, 6, parent=0, ordinal=1)).curve["found"] == [3.0, 4.0, 5.0]
    fork = Segment(7 << 20, 7, 1, {"lr": 0.5}, 6, 8, 0, "fork")
    assert train(host, fork).curve["found"] == [0.0, 1.0]
    host.drop()


class Writes(LeavesFiles):
    """Writes a file in each trial that is told to; some delete it again."""

    def step(self) -> dict[str, Any]:
        found = len(os.listdir())
        if self.config["lr"] > 1:
            Path("file").touch()
        if self.config["lr"] > 2:
            Path("file").unlink()
        return {"loss": 1.0, "found": found, "folder": float(os.stat(".").st_ino)}

    def reset_config(self, config: dict[str, Any]) -> bool:
        return True


@pytest.mark.usefixtures("at_home")
def test_trials_that_leave_nothing_take_over_a_folder_until_one_leaves_a_file(tmp_path: Path) -> None:
    host = host_of(Writes, tmp_path)
    rows = [(0.5, False), (0.5, True), (0.5, True), (3.0, True), (0.5, True), (1.5, True), (0.5, False)]
    before = None
    for trial, (lr, is_same) in enumerate(rows):
        piece = Segment(trial << 20, trial, None, {"lr": lr}, 0, 1, 0, "for a test")
        curve = train(host, piece).curve
        assert (curve["found"], curve["folder"][0] == before) == ([0.0], is_same), trial
        before = curve["folder"][0]
    host.drop()


def search(trainable: Any, tmp_path: Path, **more: Any) -> Any:
    settings = {"strategy": raysearch.Caviar(samples=4, max_iterations=3, finish=None), "executor": "inline"}
    return raysearch.search(
        trainable, space={"lr": {"uniform": [0.1, 1.0]}}, metric="loss", mode="min",
        storage=str(tmp_path), name="x", **{**settings, **more},
    )  # fmt: skip


def test_inline_says_that_trials_share_your_folder_where_they_leave_something_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    search(leaves_nothing, tmp_path / "a", progress=False)
    assert capsys.readouterr().err == ""
    search(leaves_files, tmp_path / "b")
    said = capsys.readouterr().err
    assert "executor: inline trains in your own working folder, which all trials share" in said
    assert "Trials left there: 0.txt, 1.txt, 2.txt" in said


def leaves_nothing(config: dict[str, Any]) -> None:
    for _ in range(9):
        tune.report({"loss": config["lr"]})


@pytest.mark.slow
def test_isolated_trials_have_folders_of_their_own_inline_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curves = search(leaves_files, tmp_path, isolate=True).curves()
    assert (curves["found"] == curves["iteration"] - 1).all()
    assert curves["folder"].nunique() == curves["trial"].nunique() == 4
    assert "working folder" not in capsys.readouterr().err


# ---- resources


def plain(config: dict[str, Any]) -> None:
    tune.report({"loss": 1.0})


class Asks(tune.Trainable):
    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        return tune.PlacementGroupFactory([{"CPU": 4, "GPU": 1}])

    def step(self) -> dict[str, Any]:
        return {"loss": 1.0}


class AsksByConfig(Asks):
    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        return tune.PlacementGroupFactory([{"CPU": 1 + config["lr"]}])


class AsksForMany(Asks):
    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        return tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 2, "GPU": 1}, {"CPU": 2, "GPU": 1}])


def spec_of(trainable: Any, **more: Any) -> Any:
    return make_spec(
        trainable=trainable, space={"lr": {"uniform": [0, 1]}}, metric="loss", mode="min",
        strategy=raysearch.Caviar(samples=2, max_iterations=2), **more,
    )  # fmt: skip


def with_resources(resources: Any) -> Any:
    def train(config: dict[str, Any]) -> None:
        tune.report({"loss": 1.0})

    return tune.with_resources(train, resources)


@pytest.mark.parametrize(
    ("trainable", "share"),
    [
        (with_resources({"cpu": 4, "gpu": 1}), {"CPU": 4.0, "GPU": 1.0}),
        (with_resources(lambda config: {"cpu": 2}), {"CPU": 2.0}),
        (with_resources(tune.PlacementGroupFactory([{"CPU": 3, "TPU": 2}])), {"CPU": 3.0, "TPU": 2.0}),
        (Asks, {"CPU": 4.0, "GPU": 1.0}),
        (tune.with_resources(Asks, {"gpu": 0.5}), {"GPU": 0.5}),
        (plain, {"CPU": 1.0}),
    ],
)
def test_what_a_trainable_asks_for_is_what_a_worker_takes(trainable: Any, share: dict[str, float]) -> None:
    spec = spec_of(trainable)
    assert {k: v for k, v in spec.workers.share().items() if v} == share
    assert bool(spec.notes) is (trainable is not plain)
    counted = spec_of(trainable, workers=3)
    assert ({k: v for k, v in counted.workers.share().items() if v}, counted.workers.count) == (share, 3)


def test_bundles_are_taken_as_bundles() -> None:
    bundles = spec_of(AsksForMany).workers.bundles
    assert [dict(b) for b in bundles] == [{"CPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}]


def test_workers_that_say_otherwise_hold_and_that_is_said() -> None:
    spec = spec_of(Asks, workers={"cpu": 2})
    assert spec.workers.share()["CPU"] == 2
    assert spec.notes == (
        "workers: {'CPU': 4.0, 'GPU': 1.0}, which Asks asks for, is ignored: `workers` says otherwise",
    )
    assert spec_of(Asks, workers={"cpu": 4, "gpu": 1}).notes == ()


def test_requests_that_differ_between_configurations_are_refused() -> None:
    with pytest.raises(LocatedError, match="asks for other resources with other configurations"):
        spec_of(AsksByConfig)


def test_a_trainable_that_is_named_is_asked_too(tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text(
        "from ray import tune\n"
        "def train(config): tune.report({'loss': 1.0})\n"
        "train = tune.with_resources(train, {'cpu': 2, 'gpu': 1})\n"
    )
    spec = check(spec_of(f"{tmp_path}/asks.py:train", storage=str(tmp_path))).spec
    assert (spec.workers.cpu, spec.workers.gpu) == (2.0, 1.0)
    assert any("that train asks for" in note for note in spec.notes)


# ---- checkpoints of functions


def saved(epoch: int, **names: Any) -> Any:
    folder = tempfile.mkdtemp()
    Path(folder, "epoch").write_text(str(epoch))
    return tune.Checkpoint.from_directory(folder)


def never_asks(config: dict[str, Any]) -> None:
    for epoch in range(1, 28):
        tune.report({"loss": 1 / epoch, "epoch": epoch}, checkpoint=saved(epoch))


def asks_first(config: dict[str, Any]) -> None:
    begun = tune.get_checkpoint()
    first = int(Path(begun.path, "epoch").read_text()) if begun else 0
    for epoch in range(first + 1, 28):
        tune.report({"loss": 1 / epoch, "epoch": epoch}, checkpoint=saved(epoch))


@pytest.mark.parametrize("function", [never_asks, asks_first])
def test_a_function_that_was_restored_and_never_asks_has_no_outcome_counted(
    function: Any, tmp_path: Path
) -> None:
    host = host_of(function, tmp_path)
    first = segment(0)
    train(host, first)
    assert host.save(tmp_path / "saved")
    train(host, segment(1))  # another trial in between, so that the first has to be restored
    result = train(host, segment(0, 3, 6, parent=first.id, ordinal=1), tmp_path / "saved")
    if function is asks_first:
        assert (result.status, result.curve["epoch"]) == (Status.COMPLETED, [4.0, 5.0, 6.0])
    else:
        assert (result.status, result.curve) == (Status.FAILED, {})
        assert "was to go on from its checkpoint of iteration 3, and never asked for it" in result.error
        assert "variant: stopping" in result.error
    fresh = train(host, segment(2))
    assert (fresh.status, fresh.curve["epoch"]) == (Status.COMPLETED, [1.0, 2.0, 3.0])
    host.drop()


def report_it(epoch: int) -> None:
    tune.report({"loss": 1.0}, checkpoint=saved(epoch))


def positionally(epoch: int) -> None:
    tune.report({"loss": 1.0}, saved(epoch))


class Callback:
    def on_epoch_end(self, epoch: int) -> None:
        report_it(epoch)


class TuneReportCheckpointCallback:
    """Like the one of Ray's integrations."""


def by_helper(config: dict[str, Any]) -> None:
    report_it(1)


def by_helpers_helper(config: dict[str, Any]) -> None:
    def inner() -> None:
        by_helper(config)

    inner()


def by_callback(config: dict[str, Any]) -> None:
    for callback in [Callback()]:
        callback.on_epoch_end(1)


def by_rays_callback(config: dict[str, Any]) -> None:
    print([TuneReportCheckpointCallback()])


def by_position(config: dict[str, Any]) -> None:
    positionally(1)


def by_argument(config: dict[str, Any], report: Any) -> None:
    report(1)


def by_asking(config: dict[str, Any]) -> None:
    print(tune.get_checkpoint())


@pytest.mark.parametrize(
    ("function", "pauses"),
    [
        (by_helper, True),
        (by_helpers_helper, True),
        (by_callback, True),
        (by_rays_callback, True),
        (by_position, True),
        (functools.partial(by_argument, report=report_it), True),
        (by_asking, True),
        (tune.with_parameters(by_helper), True),
        (plain, False),
        (leaves_files, False),
        (print, False),
    ],
)
def test_checkpoints_that_a_helper_or_callback_reports_count(function: Any, pauses: bool) -> None:
    assert can_pause(function) is pauses


# ---- processes


STARTED: list[int] = []


def once_only(config: dict[str, Any]) -> None:
    if STARTED:
        raise config.get("error", RuntimeError)("the context has already been set")
    STARTED.append(1)
    tune.report({"loss": 1.0})


def fails_by_value(config: dict[str, Any]) -> None:
    if STARTED:
        raise ValueError("lr must be positive")
    once_only(config)


@pytest.mark.parametrize(("function", "hinted"), [(once_only, True), (fails_by_value, False)])
def test_what_fails_in_a_processs_second_trial_names_isolate(
    function: Any, hinted: bool, tmp_path: Path
) -> None:
    STARTED.clear()
    host = host_of(function, tmp_path)
    assert train(host, segment(0, 0, 1)).status is Status.COMPLETED
    result = train(host, segment(1, 0, 1))
    assert result.status is Status.FAILED
    assert (ISOLATE in result.error) is hinted
    host.drop()


def test_what_fails_in_a_processs_first_trial_has_no_such_hint(tmp_path: Path) -> None:
    STARTED[:] = [1]
    assert "isolate" not in train(host_of(once_only, tmp_path), segment(0)).error


# ---- exits and odd values


def exits(config: dict[str, Any]) -> None:
    for i in range(2):
        tune.report({"loss": 1.0 - i / 2})
    sys.exit(config.get("code", 0))


def exits_generating(config: dict[str, Any]) -> Any:
    yield {"loss": 1.0}
    yield {"loss": 0.5}
    sys.exit()


def exits_with_3(config: dict[str, Any]) -> None:
    exits({"code": 3})


def exits_with_words(config: dict[str, Any]) -> None:
    exits({"code": "no data"})


@pytest.mark.parametrize("function", [exits, exits_generating])
def test_an_exit_without_a_fault_ends_a_function_as_a_return_does(function: Any, tmp_path: Path) -> None:
    result = train(host_of(function, tmp_path), segment(0, 0, 9))
    assert (result.status, result.done, result.error) == (Status.COMPLETED, True, "")
    assert result.curve["loss"] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("function", "words"), [(exits_with_3, "SystemExit: 3"), (exits_with_words, "SystemExit: no data")]
)
def test_an_exit_with_a_fault_is_an_error_with_words(function: Any, words: str, tmp_path: Path) -> None:
    result = train(host_of(function, tmp_path), segment(0, 0, 9))
    assert result.status is Status.FAILED
    assert result.error == words


def test_a_function_that_is_told_to_end_ends(tmp_path: Path) -> None:
    host = host_of(never_asks, tmp_path)
    train(host, segment(0))
    host.drop()
    assert train(host, segment(1)).status is Status.COMPLETED
    host.drop()


SESSIONS: list[Any] = []


def notes_its_session(config: dict[str, Any]) -> None:
    SESSIONS.append(ray_private.function_session())
    try:
        for i in range(9):
            tune.report({"loss": 1.0 / (i + 1)})
    finally:
        SESSIONS.append("told to end")


def generates_and_notes(config: dict[str, Any]) -> Any:
    SESSIONS.append(ray_private.function_session())
    for i in range(9):
        yield {"loss": 1.0 / (i + 1)}


@pytest.mark.parametrize("function", [notes_its_session, generates_and_notes])
def test_a_function_that_rays_session_ends_gives_way_to_the_next_trial(function: Any, tmp_path: Path) -> None:
    """Ray forgets that it ends a function as it does so; taken for the user's exit, it waited two seconds."""
    SESSIONS.clear()
    host = host_of(function, tmp_path)
    for trial in range(3):
        assert train(host, segment(trial)).curve["loss"] == [1.0, 1 / 2, 1 / 3]
    host.drop()
    sessions = [session for session in SESSIONS if not isinstance(session, str)]
    assert len(sessions) == 3
    assert all(session is sessions[0] for session in sessions)  # reset, not made anew
    assert SESSIONS.count("told to end") == (3 if function is notes_its_session else 0)


class Odd:
    def __float__(self) -> float:
        raise RuntimeError("no number")


@pytest.mark.parametrize(
    "value",
    [10**400, torch.tensor([1 + 2j]), torch.empty((), device="meta"), Odd(), torch.ones(3), 1j],
    ids=["huge", "complex", "meta", "own", "several", "complex number"],
)
def test_an_odd_value_beside_the_metric_is_no_metric_and_ends_nothing(value: Any) -> None:
    result = Trained()
    assert record(result, {"loss": 1.0, "x": value, "y": {"z": 2}}, "loss", segment(0), 1) == ["loss", "y/z"]
    assert result.curve == {"loss": [1.0], "y/z": [2.0]}


# ---- what a trial changes for its whole process


def leaves_settings(config: dict[str, Any]) -> None:
    """Changes what holds for the process at iteration 2, where nothing of it is seen any more."""
    for i in range(3):
        tune.report({"loss": 1.0, **seen()})
        if i == 1:
            change_settings()


class LeavesSettings(tune.Trainable):  # type: ignore[misc]
    def setup(self, config: dict[str, Any]) -> None:
        self.begun = seen()

    def step(self) -> dict[str, Any]:
        change_settings()
        return {"loss": 1.0, **self.begun}


def seen() -> dict[str, float]:
    return {
        "bytes": float(torch.zeros(1).element_size()),
        "deterministic": float(torch.are_deterministic_algorithms_enabled()),
        "precise": float(torch.get_float32_matmul_precision() == "highest"),
        "folder": float(hash(os.getcwd()) % 10**6),
        "files": float(len(os.listdir("."))),
    }


def change_settings() -> None:
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("medium")
    os.chdir("/")


@pytest.fixture
def torch_as_before() -> Any:
    yield
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")


@pytest.mark.usefixtures("at_home", "torch_as_before")
@pytest.mark.parametrize("trainable", [leaves_settings, LeavesSettings])
@pytest.mark.parametrize("moves", ["0", "1"])
def test_what_a_trial_changes_for_its_process_is_put_back_for_the_next(
    trainable: Any, moves: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", moves)
    home = tmp_path / "home"
    home.mkdir()
    os.chdir(home)
    host = host_of(trainable, tmp_path)
    trials = [train(host, segment(number)) for number in range(3)]
    assert [trial.status for trial in trials] == [Status.COMPLETED] * 3
    first = {name: values[0] for name, values in trials[0].curve.items()}
    assert {name: values[0] for name, values in trials[1].curve.items()} == first
    assert {name: values[0] for name, values in trials[2].curve.items()} == first
    assert (first["bytes"], first["deterministic"], first["precise"], first["files"]) == (4, 0, 1, 0)
    assert [trial.error.count("for the whole process") for trial in trials] == [0, 3, 0]
    assert "a trial left torch's default dtype at float64" in trials[1].error
    host.drop()
    assert Path.cwd() == (home if moves == "0" else Path(host._storage.trial_working_directory))


class KeepsSettings(LeavesSettings):
    """Is reset: what it set up for all its trials stays."""

    def setup(self, config: dict[str, Any]) -> None:
        torch.set_default_dtype(torch.float64)

    def step(self) -> dict[str, Any]:
        return {"loss": 1.0, **seen()}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True


@pytest.mark.usefixtures("torch_as_before")
def test_what_an_object_that_is_reset_has_set_up_for_all_its_trials_stays(tmp_path: Path) -> None:
    host = host_of(KeepsSettings, tmp_path)
    trials = [train(host, segment(number)) for number in range(2)]
    assert [trial.curve["bytes"][0] for trial in trials] == [8, 8]
    assert [trial.error for trial in trials] == ["", ""]
