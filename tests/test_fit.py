"""Ray Tune beside the driver, when storage fails under it: it is begun again, and its log is silent."""

from __future__ import annotations

import logging
import queue
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from waiting import PATIENCE_S

from raysearch.errors import ClusterLostError, RunError
from raysearch.executors.tune import driver
from raysearch.executors.tune import head as module
from raysearch.executors.tune.driver import _Fit, _leave, _room_for_tune
from raysearch.executors.tune.head import Head, answer_of
from raysearch.executors.tune.tune_log import QuietFile


class Flaky:
    """A tuner whose `fit` raises, if there is something to raise."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    def fit(self) -> None:
        if self.error is not None:
            raise self.error


def fitted(*errors: BaseException | None) -> tuple[_Fit, list[Flaky]]:
    left, made = [*errors], []

    def make() -> Any:
        made.append(Flaky(left.pop(0)))
        return made[-1]

    fit = _Fit(make, threading.Event(), patience_s=0.3)
    fit.start()
    fit.join(PATIENCE_S)
    assert not fit.is_alive()
    return fit, made


def test_tune_is_begun_again_when_storage_failed_under_it() -> None:
    gone = FileNotFoundError(2, "No such file or directory")
    fit, made = fitted(gone, OSError(28, "No space left on device"), None)
    assert len(made) == 3
    assert not fit.is_alive()


def test_tune_is_given_up_when_storage_does_not_come_back() -> None:
    fit, made = fitted(*(OSError(28, f"full {i}") for i in range(9)))
    assert len(made) == 3
    assert str(fit.error) == "[Errno 28] full 2"


def test_who_leaves_ray_waits_for_a_tune_that_still_calls_it_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Busy:
        def __init__(self) -> None:
            self.is_called, self.ends = threading.Event(), threading.Event()

        def fit(self) -> None:
            self.is_called.set()
            self.ends.wait(PATIENCE_S)

    busy = Busy()
    fit = _Fit(lambda: busy, threading.Event(), patience_s=0.0)  # type: ignore[arg-type,return-value]
    _leave(None, None)
    _leave(None, fit)  # not begun yet
    fit.start()
    assert busy.is_called.wait(PATIENCE_S)
    monkeypatch.setattr(driver, "SETTLE_S", 0.0)
    _leave(None, fit)
    assert fit.is_alive()
    monkeypatch.setattr(driver, "SETTLE_S", PATIENCE_S)
    threading.Timer(0.05, busy.ends.set).start()
    _leave(None, fit)
    assert not fit.is_alive()


def test_any_other_error_of_tune_ends_it_at_once() -> None:
    fit, made = fitted(ValueError("a callback's own"), None)
    assert len(made) == 1
    assert str(fit.error) == "a callback's own"


def test_a_full_disk_at_the_start_is_said_in_a_sentence() -> None:
    full = OSError(28, "No space left on device")
    said = r"No space left on device. Make room, and .*raysearch resume runs/a"
    with pytest.raises(RunError, match=said), _room_for_tune("runs/a"):
        raise full


def test_a_log_whose_folder_is_out_of_reach_is_silent_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    log = QuietFile(tmp_path / "logs" / "tune.log", delay=True)
    record = logging.LogRecord("ray.tune", logging.INFO, "", 0, "a worker was started again", (), None)
    log.emit(record)
    (tmp_path / "logs").mkdir()
    log.emit(record)
    log.close()
    assert (tmp_path / "logs" / "tune.log").read_text() == "a worker was started again\n"


def test_a_driver_without_answer_looks_whether_there_is_a_cluster_and_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = iter([True, True, False])

    def no_answer(reference: object, timeout: float) -> object:
        raise module.GetTimeoutError("no answer")

    class Context:
        gcs_address = "10.0.0.1:6379"

    monkeypatch.setattr(module.ray, "get", no_answer)
    monkeypatch.setattr(module.ray, "get_runtime_context", Context)
    monkeypatch.setattr(module, "is_reachable", lambda address: next(asked))
    with pytest.raises(ClusterLostError, match="go on with: raysearch resume runs/a"):
        answer_of("status", "runs/a")
    assert next(asked, None) is None


def test_a_head_is_lost_when_it_was_out_of_reach_for_long_and_not_when_it_came_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_there = True
    monkeypatch.setattr(module, "is_reachable", lambda address: is_there)
    head = Head("10.0.0.1:6379")
    now = time.monotonic()
    for second in range(35):
        is_there = second < 3
        assert not head.is_lost(now + second)
    is_there = True
    assert not head.is_lost(now + 36)
    is_there = False
    assert next(second for second in range(37, 90) if head.is_lost(now + second)) == 77


def test_a_search_that_waits_for_a_head_that_is_gone_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told, exits = queue.SimpleQueue[str](), queue.SimpleQueue[int]()
    context = SimpleNamespace(gcs_address="10.0.0.1:6379")
    monkeypatch.setattr(module.ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(module, "is_reachable", lambda address: False)
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "WORD_S", 0.0)

    def leave(code: int) -> None:
        exits.put(code)
        threading.Event().wait()  # nothing comes after it

    monkeypatch.setattr(module.os, "_exit", leave)
    with module.last_words("/runs/one", told.put):
        assert "go on with: raysearch resume /runs/one" in told.get(timeout=PATIENCE_S)
        assert exits.get(timeout=PATIENCE_S) == 2
    monkeypatch.setattr(module, "WORD_S", 1e6)
    with module.last_words("/runs/two", told.put):
        pass
    assert told.empty()
