"""The board follows a run while it grows, shows what users typed as text, and answers this machine alone."""

from __future__ import annotations

import http.client
import re
import socket
import sys
import threading
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
from raysearch.storage.journal.journal import Journal

EVIL = '<img src=x onerror="window.hit=1">'


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", 40)
    spec = (tmp_path / "run/spec.yaml").read_text()
    (tmp_path / "run/spec.yaml").write_text(spec.replace("name: huge", f"name: '{EVIL}'"))
    return tmp_path / "run"


@pytest.fixture
def port(run: Path, start_process: Children) -> int:
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


def test_the_board_answers_this_machine_alone_and_is_read_only(port: int) -> None:
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
    server = uvicorn.Server(uvicorn.Config(app([run]), http=half_requests.Timed, log_level="warning"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    for half in (b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"):
        with socket.create_connection(listener.getsockname(), timeout=PATIENCE_S) as wire:
            wire.sendall(half)
            assert wire.recv(1) == b""
    assert ask(listener.getsockname()[1], "/")[0] == 200
    server.should_exit = True
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


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
