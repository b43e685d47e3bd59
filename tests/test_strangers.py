"""Names, files and texts of others: shown as they are, refused in words, obeyed never."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import trainables
from rich.table import Table
from rich.text import Text
from test_python_use import search

import raysearch
from raysearch.cli import main
from raysearch.cli.trial_table import write_csv
from raysearch.cluster.connect import connected
from raysearch.cluster.dashboard import address_of
from raysearch.core.terminal_text import escaped, json_escaped
from raysearch.core.user_paths import user_path
from raysearch.errors import RunError, SpecError, StoreError
from raysearch.run.display.safe_console import SafeConsole, safe_text
from raysearch.run.orders import Orders
from raysearch.spec.search_spec import make_spec
from raysearch.storage.mirror import mirror_at, mirror_of
from raysearch.storage.object_store import (
    RAY_VARIABLES,
    check_cluster_address,
    open_store,
    parse_address,
)
from raysearch.workflows.memory.store import Memory

EVIL = "\x1b[31mred\x9b2J\u202eevil\u2066\x07\r\ud800"
WRITTEN = r"\x1b[31mred\x9b2J\u202eevil\u2066\x07\x0d\ud800"


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert escaped(f"{EVIL}\tä\n") == f"{WRITTEN}\tä\n"
    text = json.dumps({"name": EVIL, "ä": 1}, ensure_ascii=False)
    assert json.loads(json_escaped(text)) == {"name": EVIL, "ä": 1}
    assert json_escaped(text).isprintable()


def test_a_console_keeps_its_own_colours_and_no_others() -> None:
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=True, width=200, markup=False, highlight=False)
    table = Table(box=None)
    table.add_column(Text(EVIL), min_width=80)
    table.add_row(Text(EVIL, "bold"))
    console.print(table)
    console.print(EVIL)
    printed = out.getvalue()
    assert printed.count("evil") == 3
    assert printed.count(r"\u202e") == 3
    assert "\x1b[1m" in printed
    assert "\x1b[31m" not in printed
    assert not {"\x9b", "\u202e", "\u2066", "\x07"} & set(printed)


@pytest.mark.parametrize("width", [1, 20, 60, 200])
def test_no_table_cuts_a_text_off(width: int) -> None:
    out = io.StringIO()
    console = SafeConsole(file=out, width=width, markup=False, highlight=False)
    table = Table(box=None, padding=(0, 2, 0, 0))
    texts = [f"{EVIL}{letter * 90}end" for letter in "abcdef"]
    for i, text in enumerate(texts):
        table.add_column(text[:40], no_wrap=i == 2, justify="right" if i % 2 else "left")
    table.add_row(*(safe_text(text) for text in texts))
    table.add_row(*texts)
    console.print_table(table)
    printed = out.getvalue()
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed
    for letter in "abcdef":
        assert printed.count(letter) >= 2 * 90
    assert not {"\x1b", "\x9b", "\u202e", "\u2066", "\x07"} & set(printed)
    assert printed.count(WRITTEN.split("red")[0]) or width < 60


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    cells = ["=1+1", "+1", "-x", "@SUM(A1)", "\tx", "a=b", "sgd"]
    write_csv(pd.DataFrame({"config.x": cells, "value": [-1.5] * 7}), tmp_path / "t.csv")
    read = pd.read_csv(tmp_path / "t.csv")
    assert read["config.x"].tolist() == ["'=1+1", "'+1", "'-x", "'@SUM(A1)", "'\tx", "a=b", "sgd"]
    assert read["value"].tolist() == [-1.5] * 7


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("a\0b", "holds a NUL character"),
        ("~nouser/x", "there is no home folder of ~nouser"),
        ("runs/" + "x" * 300, "has more than 255 bytes"),
        ("runs/" + "ä" * 200, "has more than 255 bytes"),
    ],
)
def test_a_path_that_cannot_be_is_refused_in_words(
    written: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SpecError) as error:
        user_path(written)
    assert why in str(error.value)
    for command in (["launch", written], ["status", written], ["best", written], ["lineage", written]):
        assert main(command) == 2
        assert "error: " in capsys.readouterr().err


def test_a_folder_in_the_place_of_a_file_is_an_error_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.yaml").mkdir()
    assert main(["launch", str(tmp_path / "spec.yaml")]) == 2
    assert "spec.yaml" in capsys.readouterr().err


def test_strangers_among_orders_are_passed_over(tmp_path: Path) -> None:
    orders = Orders(tmp_path / "orders")
    name = orders.give({"kind": "nudge", "values": {"lr": 1}})
    for stranger in ("notes.json", "x-y.json", ".json", "1-2.json", "a.answer"):
        (tmp_path / "orders" / stranger).write_text("{}")
    assert orders.waiting() == [name]


def test_a_planted_origin_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSEARCH_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    run.mkdir()
    assert mirror_at(run) is None
    (run / "origin").write_text("s3://stranger/runs/x")
    with pytest.raises(RunError, match="outside of the cache"):
        mirror_at(run)
    address = parse_address("s3://mine/runs/x?endpoint_override=127.0.0.1:1&scheme=http")
    inside = mirror_of(address).root
    mirror = mirror_at(inside)
    assert mirror is not None
    assert mirror.address.startswith("s3://mine/runs/x")
    whole = (inside / "origin").read_text()
    (inside / "origin").write_text(whole.replace("mine", "nine"))
    with pytest.raises(RunError, match="for which this folder was not made"):
        mirror_at(inside)
    assert mirror_of(address) is mirror
    assert (inside / "origin").read_text() == whole
    os.symlink(run, tmp_path / "cache" / "runs" / "link")
    with pytest.raises(RunError, match="outside of the cache"):
        mirror_at(tmp_path / "cache" / "runs" / "link")


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIA:hidden@bucket/x",
        "s3://hidden@bucket/x",
        "s3://bucket/x?endpoint_override=http://AKIA:hidden@host:9000",
        "s3://bucket/x?secret_key=hidden",
        "s3://bucket/x?access_key=hidden&region=eu",
        "gs://bucket/x?token=hidden",
        "ftp://user:hidden@host/x",
        "s3://bucket/x?endpoint_override=http%3A%2F%2FAKIA%3Ahidden%40proxy",
        "s3://bucket/x?endpoint_override=http://proxy?token=hidden",
        "s3://bucket/x#secret=hidden",
    ],
)
def test_no_address_holds_a_key_and_no_message_repeats_it(address: str) -> None:
    spec = {"trainable": "m:T", "space": {"x": {"uniform": [0, 1]}}, "metric": "loss", "mode": "min"}
    strategy = {"name": "caviar", "samples": 2, "max_iterations": 3}
    asked = (
        lambda: parse_address(address),
        lambda: Memory(address),
        lambda: make_spec(**spec, strategy=strategy, storage=address),
        lambda: make_spec(**spec, strategy=strategy, memory=address),
    )
    for ask in asked:
        with pytest.raises(SpecError, match="holds a key") as error:
            ask()
        assert "hidden" not in str(error.value)


KEYED = [
    "user:hidden@head:6379",
    "hidden@head:6379",
    "ray://user:hidden@head:10001",
    "http://user:hidden@head:8265",
    "https://head/?token=hidden",
    "http://head:8265/#access_key=hidden",
    "http://[hidden",
]


@pytest.mark.parametrize("address", KEYED)
@pytest.mark.parametrize(
    "words",
    [
        ["launch", "function", "--dry-run", "--address"],
        ["launch", "function", "--local", "--address"],
        ["launch", "function", "--submit", "--storage", "/runs", "--address"],
        ["doctor", "--address"],
        ["status", "job", "--address"],
        ["logs", "job", "--address"],
        ["cluster", "jobs", "--address"],
        ["cluster", "stop", "job", "--address"],
    ],
    ids=" ".join,
)
def test_no_cluster_address_holds_a_key_and_no_message_repeats_it(
    address: str, words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main([*words, address]) == 2
    said = capsys.readouterr()
    assert "hidden" not in said.out + said.err
    assert "holds a key" in said.err or "is no address" in said.err
    assert "--address" in said.err
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("address", KEYED)
@pytest.mark.parametrize("name", RAY_VARIABLES)
def test_an_address_of_the_environment_holds_no_key_either(
    address: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, address)
    for ask in (lambda: connected(None, False).__enter__(), lambda: address_of(None)):
        with pytest.raises(SpecError, match=f"{name}=") as error:
            ask()
        assert "hidden" not in str(error.value)


def test_an_endpoint_of_the_environment_holds_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:hidden@minio:9000")
    with pytest.raises(StoreError, match=r"the endpoint \.\.\.: holds a key") as error:
        open_store("s3://bucket/x")
    assert "hidden" not in str(error.value)


def test_a_search_of_python_with_a_keyed_address_makes_no_run(tmp_path: Path) -> None:
    strategy = raysearch.Caviar(samples=2, max_iterations=3)
    space = {"x": {"uniform": [0, 1]}}
    with pytest.raises(SpecError, match=r"--address \.\.\.: holds a key"):
        raysearch.search(
            trainables.Moody,
            space=space,
            metric="loss",
            mode="min",
            strategy=strategy,
            storage=str(tmp_path),
            address="user:hidden@head:6379",
        )
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "address", ["auto", "head:6379", "[::1]:6379", "ray://head:10001", "http://head:8265"]
)
def test_an_address_without_a_key_is_let_through(address: str) -> None:
    check_cluster_address(address)


CLOSED = """
import sys
from pathlib import Path
from raysearch.cli import main
from raysearch.errors import SpecError
from raysearch.run.fingerprint import of_files

run, report = Path(sys.argv[1]), sys.argv[2]
best, logs, data = Path(sys.argv[3]), run / "logs", Path(report).parent / "data" / "more"
logs.mkdir(exist_ok=True)
data.mkdir(parents=True)


def rows_of_data(words):
    try:
        of_files([str(data.parent)])
    except SpecError as error:
        print(error, file=sys.stderr)
        return 2


readers = [["best"], ["lineage"], ["report", "-o", report], ["compare", str(run), "-o", report]]
cases = [
    (closed, main, [words[0], str(run), *words[1:]])
    for closed in (run, run / "journal", run / "spec.yaml", best / ".raysearch.json")
    for words in readers
]
cases += [(closed, main, ["due", str(run.parent)]) for closed in (run, run.parent)]
cases += [(logs, main, ["logs", str(run)]), (data, rows_of_data, ["fingerprint"])]
for closed, call, words in cases:
    mode = closed.stat().st_mode
    closed.chmod(0)
    try:
        print(f"== {closed} {words[0]}", file=sys.stderr)
        print(call(words), flush=True)
    finally:
        closed.chmod(mode)
"""


def test_what_this_user_may_not_read_is_said_with_its_name(storage: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLOSED]
    if os.geteuid() == 0:  # to whom modes are nothing, without the two capabilities taken away
        if (setpriv := shutil.which("setpriv")) is None:
            pytest.skip("root reads every file, and there is no setpriv")
        command = [setpriv, "--bounding-set=-dac_override,-dac_read_search", *command]
    results = search(storage, trainables.Moody, space={"rate": {"uniform": [0.0, 1.0]}}, name="closed")
    report, model = tmp_path / "report.html", results.best.checkpoint
    done = subprocess.run(
        [*command, str(results.path), str(report), str(model)], capture_output=True, text=True, check=False
    )
    assert [code for code in done.stdout.split() if code in "023"] == ["2"] * 20, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "Delete" not in done.stderr
    assert "report.html: cannot be written" not in done.stderr
    for part in done.stderr.split("== ")[1:]:
        closed, said = part.split(" ", 1)
        assert closed in said.split("\n", 1)[1], part
    assert not report.exists()
