"""What is imported ahead of a search's first outcome, and the phases that `bench startup --profile` shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from raysearch.bench.startup import BAR, bars
from raysearch.storage import marks
from raysearch.storage.marks import Phase, mark, phases


def test_what_cannot_be_imported_ahead_fails_where_it_is_needed_and_not_there() -> None:
    code = (
        "import sys; from raysearch.executors.tune.imports_ahead import import_here\n"
        "import_here(['nowhere.at_all', 'wave'])\n"
        "print('wave' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_marks_are_written_where_they_are_asked_for_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "marks"
    mark("before")
    monkeypatch.setattr(marks, "_FILE", str(file))
    mark("first")
    mark("second: with words")
    found = phases(file.read_text(encoding="utf-8").splitlines(), 0.0)
    assert [phase.point for phase in found] == ["first", "second: with words"]
    assert found[0].seconds == found[0].at
    assert found[1].seconds == found[1].at - found[0].at


def test_the_longest_phase_has_the_longest_bar() -> None:
    first, second = bars([Phase("up", 1.0, 1.0), Phase("there", 5.0, 4.0)])
    assert first == f"   1.00 s    1.00 s {'#' * (BAR // 4):<{BAR}} up"
    assert second == f"   5.00 s    4.00 s {'#' * BAR} there"
    assert bars([]) == []
