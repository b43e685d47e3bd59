"""Keys that other libraries repeat in their errors: never shown, written to a log or kept in a journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import raysearch
from raysearch import errors
from raysearch.cli import output
from raysearch.core.error_text import in_words, print_traceback
from raysearch.engine.notices import Warnings
from raysearch.errors import LocatedError, RaysearchError, without_keys

PROXY = "http://me:pa55%2Fword@proxy.example:3128"
SAFE = "http://***@proxy.example:3128"
ENVIRON = {
    "HTTPS_PROXY": PROXY,
    "WANDB_API_KEY": "0123456789abcdef",
    "TOKEN": "short",
    "MY_KEY": "/etc/keys/mine",
}


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'Failed to connect to proxy URL: "{PROXY}"', f'Failed to connect to proxy URL: "{SAFE}"'),
        ("not parsed: http://me:pa55/word@proxy.example:port", "not parsed: http://***@proxy.example:port"),
        ("Tunnel for me:pa55/word refused", "Tunnel for *** refused"),
        ("https://a@b.c/d and s3://k:s@bucket", "https://***@b.c/d and s3://***@bucket"),
        (
            "GET https://b/x?X-Amz-Credential=AKIA%2Fs3&X=1: 403",
            "GET https://b/x?X-Amz-Credential=***&X=1: 403",
        ),
        ("/api?api_key=17&run=3&sig=a", "/api?api_key=***&run=3&sig=***"),
        ("401: 0123456789abcdef is no key", "401: *** is no key"),
        *[
            (text, text)
            for text in ("a short word", "me@example.com", "/etc/keys/mine", "/x?monkey=1&at=a@b")
        ],
    ],
)
def test_a_key_is_taken_out_and_all_else_is_left(text: str, expected: str) -> None:
    assert without_keys(text, ENVIRON) == expected


def kinds(of: type[RaysearchError] = RaysearchError) -> Iterator[type[RaysearchError]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_no_error_of_ours_and_no_remark_repeats_a_key(
    environ: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in {kind for kind in kinds() if kind.__module__ == errors.__name__} - {LocatedError}:
        assert str(kind(f"no way through {PROXY}")) == f"no way through {SAFE}"
    located = LocatedError("storage", f"no way through {PROXY}")
    assert located.text == f"no way through {SAFE}"
    assert str(located) == f"storage: no way through {SAFE}"
    warnings = Warnings()
    warnings.add(f"trying again: {PROXY}")
    assert [*warnings] == [f"trying again: {SAFE}"]
    error = OSError(f"Cannot connect to proxy {PROXY}")
    assert in_words(error) == f"OSError: Cannot connect to proxy {SAFE}"
    try:
        raise error
    except OSError:
        print_traceback()
    output.say(f"note: {PROXY}")
    said = capsys.readouterr().err
    assert said.count("***") == 2
    assert "pa55" not in said


def test_a_trial_whose_error_repeats_a_key_leaves_it_nowhere(
    tmp_path: Path, environ: None, capfd: pytest.CaptureFixture[str]
) -> None:
    def train(config: dict[str, Any]) -> None:
        raise ConnectionError(f"no answer: {PROXY}, {ENVIRON['WANDB_API_KEY']}")

    results = raysearch.search(
        train,
        space={"x": {"uniform": [0.0, 1.0]}},
        metric="loss",
        mode="min",
        storage=str(tmp_path),
        name="run",
        strategy=raysearch.Caviar(samples=2, max_iterations=1, finish=None),
        executor="inline",
        retries=0,
    )
    assert set(results.segments()["error"]) == {f"ConnectionError: no answer: {SAFE}, ***"}
    assert [file for file in tmp_path.rglob("*") if file.is_file() and b"pa55" in file.read_bytes()] == []
    said = "".join(capfd.readouterr())
    assert SAFE in said
    assert "pa55" not in said
