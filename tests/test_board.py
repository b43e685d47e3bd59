"""The board follows a run while it grows, shows what users typed as text, and answers this machine alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from waiting import PATIENCE_S, Children, wait_for

from raysearch.bench.report import outcomes, write_run
from raysearch.cli import main
from raysearch.core.segment import Outcome, Segment, segment_id
from raysearch.report import half_requests
from raysearch.report.board import app
from raysearch.report.board_run import WatchedRun
from raysearch.run.liveness import held_by
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.reading import read_events

EVIL = '<img src=x onerror="window.hit=1">'


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", 40)
    spec = (tmp_path / "run/spec.yaml").read_text()
    (tmp_path / "run/spec.yaml").write_text(spec.replace("name: huge", f"name: '{EVIL}'"))
    return tmp_path / "run"


@contextlib.contextmanager
def served(run: Path, token: str = "") -> Iterator[int]:
    """The port of a board of the run in this process, served as the command does."""
    settings = uvicorn.Config(app([WatchedRun(run)], token), http=half_requests.Timed, log_level="warning")
    server = uvicorn.Server(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = server.force_exit = True  # whoever still listens is not waited for
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture
def port(run: Path) -> Iterator[int]:
    """A board that only shows."""
    with served(run) as found:
        yield found


@pytest.fixture
def port_of_command(run: Path, start_process: Children) -> int:
    """The board of the run, as the command starts it."""
    board = start_process(sys.executable, "-m", "raysearch.cli", "board", run, "--port", 0)
    board.wait_for(lambda: "\n" in board.said)
    found = re.match(r"http://127\.0\.0\.1:(\d+)/", board.said)
    assert found is not None, board.said
    return int(found[1])


def ask(
    port: int, path: str, method: str = "GET", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def test_the_board_answers_this_machine_alone_and_is_read_only(port_of_command: int) -> None:
    port = port_of_command
    status, headers, body = ask(port, "/")
    assert status == 200
    assert EVIL.encode() not in body
    assert "connect-src 'self'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example"):
        assert ask(port, "/", Host=host)[0] == 400, host
        assert ask(port, "/runs/0", Host=host)[0] == 400, host
    assert ask(port, "/", Host=f"localhost:{port}")[0] == 200
    for method in ("POST", "PUT", "DELETE"):
        assert ask(port, "/runs/0", method)[0] == 405
    assert ask(port, "/runs/1")[0] == 404
    for number in ("9" * 5000, "-1", "%C2%B2", "0x0", "nan"):
        assert ask(port, f"/runs/{number}")[0] == 404, number
        assert ask(port, f"/runs/0?known={number}")[0] == 400, number
    assert ask(port, "/runs/0?known=x")[0] == 400
    assert ask(port, "/../../etc/passwd")[0] == 404


def test_the_page_follows_the_journal_and_runs_nothing_that_a_user_typed(
    browser: Any, port: int, run: Path
) -> None:
    page, wrong = browser.new_page(), []
    page.set_default_timeout(1000 * PATIENCE_S)
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"http://127.0.0.1:{port}/")
    page.wait_for_selector("html[data-version='1']", state="attached")
    assert page.locator("h1").inner_text() == EVIL
    assert "40" in page.locator(".tile", has_text="trials").first.inner_text()
    assert page.locator(".plot .main-svg").count() >= 5
    late = next(iter(outcomes(1)))
    moved = Segment(segment_id(500, 0), 500, None, late.segment.config, 0, 1, 0, "late")
    with Journal.open(run / "journal") as journal:
        journal.append(
            [Outcome(moved, late.status, late.curve, None, 1.0, "worker-0", "", False, 1_700_000_300.0)]
        )
    page.wait_for_selector("html[data-version='2']", state="attached")
    assert "41" in page.locator(".tile", has_text="trials").first.inner_text()
    assert page.evaluate("window.hit === undefined")
    assert wrong == []
    page.close()


def test_half_a_request_is_not_waited_for_for_ever(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(half_requests, "HALF_S", 0.3)
    with served(run) as port:
        for half in (b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"):
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as wire:
                wire.sendall(half)
                assert wire.recv(1) == b""
        assert ask(port, "/")[0] == 200


def test_a_run_that_cannot_be_read_any_more_is_said_and_the_others_go_on(port: int, run: Path) -> None:
    assert ask(port, "/runs/0")[0] == 200
    (run / "journal").rename(run / "gone")
    (run / "journal").write_text("in its place")
    wait_for(lambda: ask(port, "/runs/0")[0] == 503)  # it looks again after a while
    assert b"journal" in ask(port, "/runs/0")[2]
    assert ask(port, "/")[0] == 200


def test_a_port_that_is_taken_is_said(port: int, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["board", str(run), "--port", str(port)]) == 2
    assert "already in use" in capsys.readouterr().err


# ---- steering


TINY = """
import pathlib, time

def train(config):
    from ray import tune
    while not pathlib.Path("{go}").exists():
        time.sleep(0.01)
        tune.report({"loss": config["lr"]})
    tune.report({"loss": config["lr"]})
"""
STEERED = """
trainable: tiny.py:train
metric: loss
mode: min
space: {lr: {uniform: [0.0, 1.0]}}
strategy: {name: caviar, samples: 4, max_iterations: 9999, min_iterations: 9999, sampler: sobol, finish: off}
"""


def post(port: int, body: bytes, path: str = "/runs/0/orders", **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("POST", path, body, headers=headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.fixture
def steered(run: Path) -> Iterator[tuple[int, str]]:
    """(port, token) of a board that steers."""
    token = "only-the-person-who-steers"
    with served(run, token) as found:
        yield found, token


def test_nobody_steers_without_the_token_nor_a_board_that_only_shows(
    port: int, steered: tuple[int, str], run: Path
) -> None:
    order = json.dumps({"kind": "pause"}).encode()
    assert post(port, order, **{"X-Raysearch-Token": ""})[0] == 403
    there, token = steered
    for wrong in ({}, {"X-Raysearch-Token": token[:-1]}, {"Cookie": f"token={token}"}):
        assert post(there, order, **wrong)[0] == 403
    assert not (run / "orders").exists()
    right = {"X-Raysearch-Token": token}
    for body in (b"", b"[]", b"{", b'{"kind": 3}', b'{"kind": "pause", "text": []}', b"x" * 500_000):
        assert post(there, body, **right)[0] == 400, body[:20]
    assert post(there, order, "/runs/7/orders", **right)[0] == 404


def test_each_order_comes_with_the_command_that_does_the_same(steered: tuple[int, str], run: Path) -> None:
    port, token = steered
    expected = {
        ("pause", ""): f"raysearch pause {run}",
        ("stop", ""): f"raysearch stop {run}",
        ("resume", ""): f"raysearch resume {run}",
        ("samples", "+5"): f"raysearch resume {run} --samples +5",
        ("enqueue", "lr: 0.1"): f"raysearch enqueue {run} config.yaml",
        ("nudge", "lr: 0.1"): f"raysearch nudge {run} lr=0.1",
        ("rollback", "12.3"): f"raysearch rollback {run} 12.3",
        ("space", "lr: {uniform: [0, 1]}"): (
            f"raysearch pause {run} --wait; raysearch resume {run} --space space.yaml"
        ),
    }
    for (kind, text), command in expected.items():
        body = json.dumps({"kind": kind, "text": text, "try": True}).encode()
        assert post(port, body, **{"X-Raysearch-Token": token}) == (200, {"command": command})
    assert not (run / "orders").exists(), "a try orders nothing"
    wrong = (("samples", "many", "neither a whole"), ("rollback", "x", "no segment"), ("bad", "", "unknown"))
    for kind, text, why in wrong:
        said = post(port, json.dumps({"kind": kind, "text": text}).encode(), **{"X-Raysearch-Token": token})[
            1
        ]
        assert said["accepted"] is False
        assert why in said["words"]
    said = post(port, b'{"kind": "pause"}', **{"X-Raysearch-Token": token})[1]
    assert "no process runs this run" in said["words"]
    assert said["command"] == f"raysearch pause {run}"


def test_what_is_new_is_pushed(port: int, run: Path) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("GET", "/runs/0/events")
    stream = connection.getresponse()
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    assert stream.readline() == b"event: state\n"
    assert json.loads(stream.readline().removeprefix(b"data: "))["version"] == 1
    late = next(iter(outcomes(1)))
    moved = Segment(segment_id(500, 0), 500, None, late.segment.config, 0, 1, 0, "late")
    with Journal.open(run / "journal") as journal:
        journal.append([Outcome(moved, late.status, late.curve, None, 1.0, "w", "", False, 1_700_000_300.0)])
    while (line := stream.readline()) != b"event: state\n":
        assert line in (b"\n", b": alive\n")
    assert json.loads(stream.readline().removeprefix(b"data: "))["version"] == 2
    connection.close()
    assert ask(port, "/runs/9/events")[0] == 404


def test_a_person_steers_a_search_from_the_page(
    browser: Any, tmp_path: Path, start_process: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(TINY.replace("{go}", str(tmp_path / "go")))
    Path("s.yaml").write_text(STEERED)
    search = start_process(
        *(sys.executable, "-m", "raysearch.cli", "launch", "s.yaml", "--name", "s", "--executor", "inline"),
        cwd=tmp_path,
    )
    search.wait_for(lambda: held_by(tmp_path / "runs/s/journal") is not None)
    shows = (sys.executable, "-m", "raysearch.cli", "board", "runs/s", "--port", 0, "--steer")
    board = start_process(*shows, cwd=tmp_path)
    board.wait_for(lambda: "may steer" in board.said)
    page, wrong = browser.new_page(), []
    page.set_default_timeout(1000 * PATIENCE_S)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    address = board.said.split()[0]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#token=[\w-]{20,}", address)
    page.goto(address)
    for kind, text, words in (
        ("samples", "+3", "7 samples in all"),
        ("enqueue", "lr: 0.25", "is this configuration"),
        ("enqueue", "lr: 7", "refused: config: lr = 7 is outside [0.0, 1.0]"),
        ("nudge", "lr: 0.5", "refused: unknown order to caviar 'nudge'"),
        ("pause", "", "pausing"),
    ):
        page.select_option("#kind", kind)
        if text:
            page.fill("#text", text)
        page.click("#give")
        page.wait_for_selector(f"#answer:has-text({json.dumps(words)})")
        assert page.locator("#command").inner_text().startswith("raysearch ")
    (tmp_path / "go").touch()
    search.end(75)
    events = [event for event in read_events(tmp_path / "runs/s/journal") if "order" in event.detail]
    assert [event.kind for event in events] == ["edit", "intervention", "pause"]
    assert (events[1].detail["trial"], events[1].detail["config"]) == (1, {"lr": 0.25})
    assert wrong == []
    page.close()
