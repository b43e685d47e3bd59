"""Processes in which cases are tried, and a parent that sees which of them hang, die or run code.

A case that takes more than LIMIT_S of processor time is ended by SIGPROF, whatever it is doing; one that
sleeps, by the parent after PATIENCE_S. A process that came to an end is replaced by one that goes on with the
next case.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from raysearch.bench.fuzz.kinds import Case, Kind, OtherAnswer, Verdict, kind_named
from raysearch.errors import RaysearchError

LIMIT_S = 5.0  # of processor time, for one case
PATIENCE_S = 60.0  # of real time, for one case
PREPARE_S = 600.0
MEMORY = 8 * 2**30  # bytes of address space that a process may take
STARTS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn")


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one case."""

    kind: str
    number: int
    verdict: Verdict
    words: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.number}: {self.verdict.value}: {self.words}\n    {self.detail}"


def try_all(kind: str, seed: int, numbers: Sequence[int], processes: int) -> list[Tried]:
    """What came of each case, in order of number."""
    shares = [numbers[k::processes] for k in range(processes)]
    with ThreadPoolExecutor(processes) as pool:
        shared = [pool.submit(_try_share, kind, seed, share) for share in shares if len(share)]
        return sorted((one for share in shared for one in share.result()), key=lambda one: one.number)


def attempt(kind: Kind, name: str, number: int, case: Case, started: Callable[[], str]) -> Tried:
    """What comes of one case in this process; `started` says what code the case started, "" for none."""
    words = case.words
    try:
        kind.attempt(case)
        verdict, detail = Verdict.ANSWERED, ""
    except OtherAnswer as error:
        verdict, detail = Verdict.OTHER, str(error)
    except RaysearchError as error:
        verdict, detail = Verdict.REFUSED, str(error)
    except BaseException as error:  # noqa: BLE001  (whatever an input raises is what is looked for)
        verdict, detail = Verdict.TRACEBACK, _last_lines(error)
    if code := started():
        verdict, detail = Verdict.CODE, code
    return Tried(name, number, verdict, words, detail[:1000])


# ---- inside


def _try_share(kind: str, seed: int, numbers: Sequence[int]) -> list[Tried]:
    tried: list[Tried] = []
    left = [*numbers]
    while left:
        done = [*_one_process(kind, seed, left)]
        tried += done
        left = left[len(done) :]
    return tried


def _one_process(kind: str, seed: int, numbers: Sequence[int]) -> Iterator[Tried]:
    """What came of the cases up to the one that ended the process, if one did."""
    context = multiprocessing.get_context("spawn")
    mine, other = context.Pipe()
    child = context.Process(target=_serve, args=(other, kind, seed, [*numbers]), daemon=True)
    child.start()
    other.close()
    words = "while it was prepared"
    begun = False
    try:
        for number in numbers:
            words = f"case {number}, while it was made"
            with contextlib.suppress(EOFError):
                if mine.poll(PATIENCE_S if begun else PREPARE_S):
                    words, begun = str(mine.recv()), True
                if mine.poll(PATIENCE_S):
                    yield mine.recv()
                    continue
            if not begun:
                raise RuntimeError(f"fuzz {kind}: the process ended before its first case; see above")
            child.join(1.0)
            yield _ended(kind, number, words, child.exitcode)
            return
    finally:
        child.kill()
        child.join()
        mine.close()


def _ended(kind: str, number: int, words: str, code: int | None) -> Tried:
    if code is None:
        return Tried(kind, number, Verdict.HANG, words, f"no answer in {PATIENCE_S:g} s")
    if code == -signal.SIGPROF:
        return Tried(kind, number, Verdict.HANG, words, f"more than {LIMIT_S:g} s of processor time")
    return Tried(kind, number, Verdict.TRACEBACK, words, f"the process ended with {code}")


def _serve(pipe: Connection, name: str, seed: int, numbers: Sequence[int]) -> None:
    """Tries cases one after the other, in a child process."""
    os.environ["NO_COLOR"] = "1"
    faulthandler.enable()
    started: list[str] = []
    kind = kind_named(name)
    with tempfile.TemporaryDirectory(prefix="raysearch-fuzz-") as folder, _quiet():
        kind.prepare(Path(folder))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        sys.addaudithook(lambda event, args: _note(started, event, args))
        for number in numbers:
            case = kind.case(seed, number)
            pipe.send(case.words)
            signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
            started.clear()
            tried = attempt(kind, name, number, case, lambda: "; ".join(started))
            signal.setitimer(signal.ITIMER_PROF, 0)
            pipe.send(tried)


def _note(started: list[str], event: str, args: tuple[Any, ...]) -> None:
    if event in STARTS:
        started.append(f"{event}{args!r}"[:200])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with (
        open(os.devnull, "w", encoding="utf-8") as out,  # as strict as Python's own
        open(os.devnull, "w", encoding="utf-8", errors="backslashreplace") as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        yield


def _last_lines(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    place = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
    return f"{type(error).__name__}: {str(error)[:300]} ({place})"
