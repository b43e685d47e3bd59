"""Host: a segment is a pure function of its parent's state, configuration and seed."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trainables
from ray.air._internal.util import RunnerThread
from waiting import PATIENCE_S

from raysearch.core.segment import Segment, Status, segment_id
from raysearch.engine.messages import Lease
from raysearch.errors import CheckpointError, TrainableError
from raysearch.worker.host import Aborted, Host, Trained, UnstoppableError

Make = Callable[..., Host]


@pytest.fixture(autouse=True)
def _stay_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Host] = []

    def factory(trainable: Any, **options: Any) -> Host:
        for host in made:
            host.drop()
        made.append(Host(trainable, metric="loss", scratch=tmp_path / f"scratch{len(made)}", **options))
        return made[-1]

    yield factory
    for host in made:
        host.drop()


def path(*stops: int, trial: int = 0, seed: int = 7, **config: Any) -> list[Segment]:
    """A trial's segments from 0 to each stop."""
    config.setdefault("rate", 0.5)
    segments: list[Segment] = []
    for stop in stops:
        parent = segments[-1] if segments else None
        number = segment_id(trial, len(segments))
        start = parent.stop if parent else 0
        segments.append(
            Segment(number, trial, parent.id if parent else None, config, start, stop, seed, "for a test")
        )
    return segments


def train(host: Host, segment: Segment, checkpoint: Path | None = None, *chain: Segment) -> Trained:
    origin = segment.parent if checkpoint else None
    name = str(checkpoint) if checkpoint else None
    return host.train(Lease(segment, name, origin, chain), checkpoint, lambda iteration: False)


def saved(host: Host, folder: Path) -> Path:
    folder.mkdir(parents=True)
    assert host.save(folder)
    return folder


@pytest.mark.parametrize("trainable", [trainables.Walk, trainables.Fresh, trainables.walk])
def test_unbroken_restored_and_regrown_give_the_same_numbers(
    make: Make, tmp_path: Path, trainable: Any
) -> None:
    first, second = path(2, 5)
    host = make(trainable)
    train(host, first)
    kept = saved(host, tmp_path / "kept")
    unbroken = train(host, second).curve
    assert len(unbroken["loss"]) == 3
    assert unbroken["steps"] == [3.0, 4.0, 5.0]
    assert train(make(trainable), second, kept).curve == unbroken
    assert train(make(trainable), second, None, first).curve == unbroken


@pytest.mark.parametrize("trainable", [trainables.Walk, trainables.walk])
def test_a_checkpoint_survives_being_restored_and_saved_again(
    make: Make, tmp_path: Path, trainable: Any
) -> None:
    one, two, three = path(1, 2, 4)
    host = make(trainable)
    train(host, one)
    at_one = saved(host, tmp_path / "one")
    train(host, two)
    expected = train(host, three).curve
    host = make(trainable)
    train(host, two, at_one)
    at_two = saved(host, tmp_path / "two")
    assert train(make(trainable), three, at_two).curve == expected


def test_another_trial_in_between_changes_nothing(make: Make, tmp_path: Path) -> None:
    (alone,) = path(3, trial=1, rate=0.25)
    expected = train(make(trainables.Walk), alone).curve
    host = make(trainables.Walk)
    train(host, path(4, trial=0)[0])
    assert train(host, alone).curve == expected


def test_a_trainable_that_can_be_reset_is_made_once_and_one_that_cannot_for_each_trial(make: Make) -> None:
    for trainable, made in ((trainables.Walk, 1), (trainables.Fresh, 3)):
        trainable.instances = 0
        host = make(trainable)
        for trial in range(3):
            train(host, path(1, trial=trial)[0])
        assert trainable.instances == made


def test_another_seed_gives_other_numbers_and_reaches_the_configuration(make: Make) -> None:
    one, other = path(2, seed=1)[0], path(2, seed=2)[0]
    assert train(make(trainables.Walk), one).curve != train(make(trainables.Walk), other).curve
    (script,) = path(1, seed=5, reports=[{"loss": 1.0}])
    host = make(trainables.Scripted, seed_as="seed", constants={"width": 3})
    train(host, script)
    assert host._config == {"rate": 0.5, "reports": [{"loss": 1.0}], "seed": 5, "width": 3}


def test_metrics_are_numbers_nested_ones_by_path_and_nothing_of_rays_own(make: Make) -> None:
    result = train(make(trainables.Walk), path(2)[0])
    assert sorted(result.curve) == ["loss", "nested/half", "steps"]
    assert result.curve["nested/half"] == [v / 2 for v in result.curve["loss"]]


def test_a_configuration_that_changes_on_the_way_is_applied_after_the_restore(
    make: Make, tmp_path: Path
) -> None:
    root = path(2, rate=0.5)[0]
    fork = Segment(segment_id(1, 0), 1, root.id, {"rate": 0.0}, 2, 4, 7, "a fork")
    for trainable in (trainables.Walk, trainables.walk):
        host = make(trainable)
        stood = train(host, root).curve["loss"][-1]
        kept = saved(host, tmp_path / trainable.__name__)
        assert train(host, fork).curve["loss"] == [stood, stood]
        assert train(make(trainable), fork, kept).curve["loss"] == [stood, stood]
        assert train(make(trainable), fork, None, root).curve["loss"] == [stood, stood]


def test_a_function_that_saves_seldom_goes_on_from_its_last_checkpoint(make: Make, tmp_path: Path) -> None:
    first, second = path(5, 7, every=2)
    host = make(trainables.walk)
    train(host, first)
    kept = saved(host, tmp_path / "kept")
    expected = train(host, second).curve
    assert expected["steps"] == [6.0, 7.0]
    assert train(make(trainables.walk), second, kept).curve == expected


def test_a_trainable_without_checkpoints_says_so_and_is_grown_again(make: Make, tmp_path: Path) -> None:
    for trainable in (trainables.NoCheckpoint, trainables.plain, trainables.generator):
        first, second = path(2, 3)
        host = make(trainable)
        train(host, first)
        folder = tmp_path / trainable.__name__
        folder.mkdir()
        assert not host.save(folder)
        assert train(host, second).curve["loss"] == [1.5]
        assert train(make(trainable), second, None, first).curve["loss"] == [1.5]


def test_nan_and_infinity_end_the_segment_as_diverged(make: Make) -> None:
    for bad in (math.nan, math.inf, -math.inf):
        (segment,) = path(3, reports=[{"loss": 1.0}, {"loss": bad}, "boom"])
        result = train(make(trainables.Scripted), segment)
        assert result.status is Status.DIVERGED
        assert len(result.curve["loss"]) == 2
        assert result.error == f"loss was {bad} at iteration 2"


@pytest.mark.parametrize(
    ("reports", "error"),
    [
        (
            [{"loss": None}],
            "TrainableError: metric 'loss' was None (NoneType) at iteration 1; it must be a number",
        ),
        (
            [{"loss": "low"}],
            "TrainableError: metric 'loss' was 'low' (str) at iteration 1; it must be a number",
        ),
        (
            [{"val_loss": 1.0, "acc": 2}],
            "TrainableError: metric 'loss' was never reported; reported were: acc, val_loss. If it comes "
            "only now and then: report it at every iteration, or make an iteration as long as from one to "
            "the next",
        ),
        ([{"loss": 1.0}, {"loss": 2.0}, "boom"], "RuntimeError: boom at the third"),
    ],
)
def test_a_failure_keeps_its_own_words(make: Make, reports: list[Any], error: str) -> None:
    result = train(make(trainables.Scripted), path(len(reports), reports=reports)[0])
    assert (result.status, result.error) == (Status.FAILED, error)


def test_after_a_failure_the_next_trial_trains_as_if_nothing_had_been(make: Make) -> None:
    host = make(trainables.Scripted)
    train(host, path(3, reports=[{"loss": 1.0}, "boom"])[0])
    result = train(host, path(1, trial=1, reports=[{"loss": 0.25}])[0])
    assert (result.status, result.curve["loss"]) == (Status.COMPLETED, [0.25])


def test_a_functions_failures_are_failures_too(make: Make) -> None:
    result = train(make(trainables.raising), path(3)[0])
    assert (result.status, result.error) == (Status.FAILED, "ValueError: the function's own error")
    result = train(make(trainables.silent), path(3)[0])
    assert result.error == "TrainableError: metric 'loss' was never reported; nothing was reported"


def test_a_trainable_that_calls_sys_exit_fails_alone(make: Make) -> None:
    for trainable in (trainables.exiting, trainables.Exiting):
        host = make(trainable)
        result = train(host, path(3)[0])
        assert (result.status, result.error) == (Status.FAILED, "SystemExit: 3")


def test_an_errors_text_is_kept_short_clean_and_there(make: Make) -> None:
    long = train(make(trainables.Unspeakable), path(1, rate=0.1)[0]).error
    assert long == f"ValueError: {'x' * 2000} ... (1,000,005 characters)"
    mute = train(make(trainables.Unspeakable), path(1, rate=0.9)[0]).error
    assert mute == "Mute: (its text cannot be had: RuntimeError)"


def test_a_function_that_will_not_end_gives_up_the_process_and_not_the_next_trials_numbers(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raysearch.worker.functions.END_S", 0.2)
    trainables.released.clear()
    try:
        host = make(trainables.stubborn)
        train(host, path(1)[0])
        with pytest.raises(UnstoppableError, match=r"still runs 0.2 s after it was told to end"):
            train(host, path(1, trial=1)[0])
    finally:
        trainables.released.set()  # it must not meddle with others
    for thread in threading.enumerate():
        if isinstance(thread, RunnerThread):
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def test_a_state_that_does_not_fit_the_changed_configuration_is_the_segments_failure(make: Make) -> None:
    root = path(2, rate=0.5)[0]
    fork = Segment(segment_id(1, 0), 1, root.id, {"rate": 0.25}, 2, 4, 7, "a fork")
    host = make(trainables.Sized)
    train(host, root)
    result = train(host, fork)
    assert result.status is Status.FAILED
    assert result.error == (
        "TrainableError: its state does not fit the changed configuration: "
        "RuntimeError: size mismatch for weight"
    )


def test_a_metric_that_is_missing_once_fails_the_trial_whatever_the_segments(make: Make) -> None:
    reports = [{"loss": 1.0, "acc": 0.25}, {"acc": 0.5}, {"loss": 0.5}]
    error = "TrainableError: metric 'loss' was missing at iteration 2; reported were: acc. If it comes"
    (whole,) = path(3, reports=reports)
    in_one_piece = train(make(trainables.Scripted), whole)
    assert in_one_piece.status is Status.FAILED
    assert in_one_piece.error.startswith(error)
    assert in_one_piece.curve == {"loss": [1.0], "acc": [0.25]}
    host = make(trainables.Scripted)
    first, second, _ = path(1, 2, 3, reports=reports)
    assert train(host, first).status is Status.COMPLETED
    alone = train(host, second)
    assert (alone.status, alone.error) == (Status.FAILED, in_one_piece.error)


def test_other_metrics_may_come_now_and_then(make: Make) -> None:
    reports = [{"loss": 1.0}, {"loss": 0.75, "acc": 0.5}, {"loss": 0.5}]
    curve = train(make(trainables.Scripted), path(3, reports=reports)[0]).curve
    assert str(curve) == "{'loss': [1.0, 0.75, 0.5], 'acc': [nan, 0.5, nan]}"


def test_a_report_that_only_says_done_is_no_iteration_whatever_the_segments(make: Make) -> None:
    reports = [{"loss": 1.0}, {"done": True, "acc": 0.5}]
    whole = train(make(trainables.Scripted), path(5, reports=reports)[0])
    assert (whole.status, whole.done, whole.curve) == (Status.COMPLETED, True, {"loss": [1.0]})
    host = make(trainables.Scripted)
    first, second = path(1, 5, reports=reports)
    assert not train(host, first).done
    ended = train(host, second)
    assert (ended.status, ended.done, ended.curve) == (Status.COMPLETED, True, {})


def test_a_trial_that_ends_itself_is_complete_and_done(make: Make) -> None:
    (segment,) = path(5, reports=[{"loss": 1.0}, {"loss": 0.5, "done": True}])
    result = train(make(trainables.Scripted), segment)
    assert (result.status, result.done, result.curve["loss"]) == (Status.COMPLETED, True, [1.0, 0.5])
    first, second = path(3, 9, length=3)
    host = make(trainables.plain)
    assert not train(host, first).done
    ended = train(host, second)
    assert (ended.status, ended.done, ended.curve) == (Status.COMPLETED, True, {})


def test_a_checkpoint_that_cannot_be_loaded_is_an_error_of_its_own(make: Make, tmp_path: Path) -> None:
    first, second = path(1, 2)
    host = make(trainables.Walk)
    train(host, first)
    kept = saved(host, tmp_path / "kept")
    (kept / "state.json").write_text("torn")
    with pytest.raises(CheckpointError, match="JSONDecodeError"):
        train(make(trainables.Walk), second, kept)
    with pytest.raises(CheckpointError, match="FileNotFoundError"):
        train(make(trainables.Walk), second, tmp_path / "nowhere")


def test_an_interrupt_takes_hold_between_iterations_and_never_after_the_last(make: Make) -> None:
    seen: list[int] = []
    (segment,) = path(5)
    with pytest.raises(Aborted):
        make(trainables.Walk).train(Lease(segment), None, lambda i: seen.append(i) or i >= 2)
    assert seen == [1, 2]
    whole = make(trainables.Walk).train(Lease(segment), None, lambda i: i >= 5)
    assert len(whole.curve["loss"]) == 5


def test_a_function_that_takes_no_config_is_refused(make: Make) -> None:
    def wrong() -> None: ...

    with pytest.raises(TrainableError, match="'wrong' must take one positional argument: config"):
        make(wrong)
