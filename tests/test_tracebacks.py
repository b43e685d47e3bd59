"""A crash shows the frames of the user's own code, not those of Ray, raysearch or a framework around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray import tune

import raysearch
from raysearch.core.error_text import short_traceback
from raysearch.core.segment import Segment
from raysearch.errors import TrainableError
from raysearch.worker.reports import Trained, check_metric

LIBRARY = """
def outer(function, depth=5):
    return outer(function, depth - 1) if depth else function()

def fails(depth=5):
    if depth:
        fails(depth - 1)
    raise ValueError("deep")
"""


@pytest.fixture(scope="module")
def library() -> dict[str, Any]:
    """Functions that lie where an installed package would."""
    names: dict[str, Any] = {}
    exec(compile(LIBRARY, "/usr/lib/site-packages/frame_work/loop.py", "exec"), names)
    return names


def told(function: Callable[[], Any]) -> list[str]:
    """The lines of the traceback of what the function raises, without source and markers."""
    with pytest.raises((KeyError, RuntimeError, ValueError)) as raised:
        function()
    return [line for line in short_traceback(raised.value).splitlines() if not line.startswith("    ")]


def helper() -> None:
    raise KeyError("missing")


def names(lines: list[str]) -> list[str]:
    return [line.rpartition(" in ")[2] if " in " in line else line.strip() for line in lines]


def test_frames_of_a_library_between_the_user_s_are_counted(library: dict[str, Any]) -> None:
    lines = names(told(lambda: library["outer"](helper)))
    assert lines == [
        *("Traceback (most recent call last):", "told", "<lambda>"),
        *("... 6 frames of frame_work", "helper", "KeyError: 'missing'"),
    ]


def test_where_a_library_raises_its_last_frames_are_shown(library: dict[str, Any]) -> None:
    lines = names(told(lambda: library["fails"]()))
    assert lines[2:] == ["<lambda>", "... 4 frames of frame_work", "fails", "fails", "ValueError: deep"]


def test_what_caused_an_error_is_told_before_it(library: dict[str, Any]) -> None:
    def wraps() -> None:
        try:
            library["outer"](helper)
        except KeyError as error:
            raise RuntimeError("no such thing") from error

    lines = names(told(wraps))
    assert lines.index("KeyError: 'missing'") < lines.index("RuntimeError: no such thing")
    assert "The above exception was the direct cause of the following exception:" in lines


def test_an_error_without_a_frame_of_the_user_s_keeps_all_of_them(library: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="deep") as raised:
        library["fails"](2)
    text = short_traceback(raised.value.with_traceback(raised.tb.tb_next))
    assert text.count("in fails") == 3


def test_all_frames_are_there_to_be_had(library: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSEARCH_FULL_TRACEBACK", "1")
    assert names(told(lambda: library["outer"](helper, 2))).count("outer") == 3


def crashes(config: dict[str, Any]) -> None:
    tune.report({"loss": 1.0})
    helper()


class Crashes(tune.Trainable):
    def step(self) -> dict[str, Any]:
        helper()
        return {}


@pytest.mark.parametrize(("trainable", "entry"), [(crashes, "crashes"), (Crashes, "step")])
def test_an_inline_crash_is_short(
    trainable: Any, entry: str, storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raysearch.search(
        trainable,
        space={"lr": {"uniform": [0.0, 1.0]}},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(samples=1, max_iterations=2, finish=None),
        executor="inline",
        storage=str(storage),
        retries=0,
        say=lambda line: None,
    )
    said = capsys.readouterr().err
    own = [line for line in said.splitlines() if line.startswith("  File")]
    assert [line.rpartition(" in ")[2] for line in own] == [entry, "helper"]
    assert "KeyError: 'missing'" in said


def test_what_raysearch_finds_wrong_itself_is_said_without_frames() -> None:
    with pytest.raises(TrainableError) as raised:
        check_metric(Trained(), "loss", Segment(0, 0, None, {}, 0, 1, 0, "for a test"), set())
    assert raised.value.__traceback__ is not None
    ours = raised.value.with_traceback(raised.value.__traceback__.tb_next)  # as a worker calls it
    assert short_traceback(ours).splitlines() == [f"raysearch.errors.TrainableError: {ours}"]
