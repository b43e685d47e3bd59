"""What tests wait with: a wait that cannot end well ends at once, and says what there was to see."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ports import free_port
from waiting import Children, wait_for

STARTS_ANOTHER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
child.wait()
"""


def test_a_wait_ends_at_once_when_nobody_is_left_who_could_make_it_true() -> None:
    looks: list[int] = []
    with pytest.raises(AssertionError, match=r"^cannot come true any more: test_waiting.py:\d+; .*: 42$"):
        wait_for(lambda: looks.append(1), alive=lambda: len(looks) < 2, saw=lambda: 42)
    assert len(looks) == 3


def test_what_came_just_before_the_end_of_who_brought_it_counts() -> None:
    there: list[int] = []

    def brings_and_ends() -> bool:
        there.append(1)
        return False

    wait_for(lambda: there, alive=brings_and_ends)


def test_a_wait_that_takes_too_long_says_what_there_was_to_see() -> None:
    with pytest.raises(AssertionError, match=r"^did not come true in 0 s: .*; seen in the end: nothing$"):
        wait_for(lambda: False, 0.0, saw=lambda: "nothing")


def test_what_there_is_to_see_is_looked_at_in_a_failure_only() -> None:
    looks: list[int] = []
    wait_for(lambda: looks.append(1) or len(looks) == 3, saw=lambda: pytest.fail("looked at"))
    assert len(looks) == 3


def test_of_a_process_that_ended_wrongly_the_failure_has_the_exit_code_and_what_it_printed(
    start_process: Children,
) -> None:
    child = start_process(sys.executable, "-c", "print('a last word'); raise SystemExit(3)")
    with pytest.raises(AssertionError, match=r"cannot come true(.|\n)*exit code 3(.|\n)*a last word"):
        child.wait_for(lambda: False)
    with pytest.raises(AssertionError, match=r"exit code 3(.|\n)*a last word"):
        child.end()
    assert child.end(3) == "a last word\n"


def test_what_a_test_started_ends_with_it_and_so_does_what_that_started(tmp_path: Path) -> None:
    children = Children(tmp_path)
    child = children(sys.executable, "-c", STARTS_ANOTHER)
    child.wait_for(lambda: child.said)
    other = Path(f"/proc/{int(child.said)}/stat")
    assert other.exists()
    children.end()
    wait_for(lambda: not other.exists() or other.read_text().split()[2] == "Z", saw=lambda: child.said)


def test_a_free_port_is_none_that_the_kernel_gives_away() -> None:
    assert 20_000 <= free_port() < 32_000
