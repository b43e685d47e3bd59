"""`notify:`: what is told and when, to whom, and that a server that is slow or away holds up nothing."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from waiting import wait_for
from wandb_standin import StandIn

from raysearch.cli import main
from raysearch.core.segment import Event, Outcome, Segment, Status, segment_id
from raysearch.errors import LocatedError, SpecError
from raysearch.run.orders import Orders
from raysearch.spec.notify import read_notify
from raysearch.storage.journal.journal import Journal
from raysearch.tracking.notify import deliver
from raysearch.tracking.notify.deliver import Undelivered, missing, post, run
from raysearch.tracking.notify.message import Message
from raysearch.tracking.notify.process import Teller
from raysearch.tracking.notify.watch import Watch

TINY = """
def train(config):
    from ray import tune
    for i in range(3):
        tune.report({"loss": config["lr"] + 1 / (i + 1)})
"""
SPEC = """
trainable: tiny.py:train
metric: loss
mode: min
space: {lr: {uniform: [0.0, 1.0]}}
strategy: {name: caviar, samples: 4, max_iterations: 3, sampler: sobol, finish: off}
notify: {webhook: HOOK_ADDRESS}
"""
FAILS = "import sys; print('no mail today', file=sys.stderr); sys.exit(3)"
SECRET = "services/T000/B000/verysecretpath"


class Hook:
    """A webhook's server: keeps what is posted; `hangs` lets it never answer."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, str]] = []
        self.hangs = self.refuses = False
        self.over = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                hook.got.append((self.path, self.headers["Content-Type"], body))
                if hook.hangs:
                    hook.over.wait()
                self.send_response(500 if hook.refuses else 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/{SECRET}"

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    hook = Hook()
    monkeypatch.setenv("HOOK_ADDRESS", hook.url)
    yield hook
    hook.close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(TINY)
    Path("s.yaml").write_text(SPEC)
    return tmp_path


# ---- the setting


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("SLACK_URL", "must be a mapping such as {webhook: SLACK_URL}"),
        ({"webhok": "X"}, "did you mean 'webhook'"),
        ({"webhook": "https://hooks.example.org/T0/B0/x"}, "webhook: is no name of an environment variable"),
        ({"webhook": "X", "form": "html"}, "unknown form 'html'"),
        ({"command": "mail me"}, "command: must be a list of texts"),
        ({"wandb": "yes"}, "wandb: must be true or false"),
        ({"webhook": "X", "on": ["finishd"]}, "did you mean 'finished'"),
        ({"webhook": "X", "on": []}, "on: must be a list"),
        ({"webhook": "X", "stalled_after": "soon"}, "stalled_after: "),
        ({"on": ["finished"]}, "says nobody to tell"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place(value: Any, text: str) -> None:
    with pytest.raises(SpecError, match=text.replace("{", r"\{")):
        read_notify(value)


def test_an_address_that_stands_in_a_spec_is_not_repeated() -> None:
    with pytest.raises(LocatedError) as caught:
        read_notify({"webhook": f"https://hooks.example.org/{SECRET}"})
    assert SECRET not in str(caught.value)


def test_what_is_missing_is_said() -> None:
    assert "HOOK, which is to hold the webhook's address, is not set" in missing({"webhook": "HOOK"}, {})
    assert "holds no address" in missing({"webhook": "HOOK"}, {"HOOK": "file:///etc/passwd"})
    assert missing({"webhook": "HOOK"}, {"HOOK": "https://x.example/y"}) == ""
    assert missing({"command": ["x"]}, {}) == ""


# ---- ways


def test_a_message_is_posted_in_slacks_form_or_plain(hook: Hook) -> None:
    for form in ("slack", "plain"):
        post("HOOK", form, Message("stalled", 'it "waits"'), {"HOOK": hook.url})
    assert hook.got[0] == (f"/{SECRET}", "application/json; charset=utf-8", '{"text": "it \\"waits\\""}')
    assert hook.got[1] == (f"/{SECRET}", "text/plain; charset=utf-8", 'it "waits"')


def test_a_server_that_refuses_is_away_or_hangs_is_said_without_its_address(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "TIMEOUT_S", 0.2)
    away = f"http://127.0.0.1:{free_port()}/{SECRET}"
    hook.refuses = True
    found = []
    for address in (hook.url, away):
        with pytest.raises(Undelivered) as caught:
            post("HOOK", "slack", Message("stalled", "x"), {"HOOK": address})
        found.append(str(caught.value))
    hook.hangs = True
    with pytest.raises(Undelivered) as caught:
        post("HOOK", "slack", Message("stalled", "x"), {"HOOK": hook.url})
    assert found[0] == "the server of HOOK answered 500"
    assert found[1] == "the server of HOOK cannot be reached (Connection refused)"
    assert str(caught.value) == "the server of HOOK did not answer within 0.2 s"


def test_a_command_gets_the_message_and_its_failures_are_said(tmp_path: Path) -> None:
    file = tmp_path / "told"
    write = "import os, sys; open(sys.argv[1], 'w').write(os.environ['RAYSEARCH_KIND'] + sys.stdin.read())"
    run([sys.executable, "-c", write, str(file)], Message("budget", "nearly"))
    assert file.read_text() == "budgetnearly\n"
    with pytest.raises(Undelivered, match="ended with 3: no mail today"):
        run(
            [sys.executable, "-c", "import sys; print('no mail today', file=sys.stderr); sys.exit(3)"],
            Message("x", ""),
        )
    with pytest.raises(Undelivered, match="no-such-program cannot be started"):
        run(["no-such-program"], Message("x", ""))


# ---- what is told


def outcome(trial: int, at: float, **more: Any) -> Outcome:
    event = more.pop("event", Event.NONE)
    segment = Segment(segment_id(trial, 0), trial, None, {"lr": 0.5}, 0, 1, 0, "why it was", event=event)
    given = {"curve": {"loss": [0.5]}, "seconds": 2.0, "finished_at": at, **more}
    status = given.pop("status", Status.COMPLETED)
    return Outcome(segment, status, given.pop("curve"), None, **given)


def written(root: Path, outcomes: list[Outcome], events: list[tuple[str, dict[str, Any], float]]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "spec.yaml").write_text(
        "name: s\nmetric: loss\nmode: min\nspace: {lr: {uniform: [0, 1]}}\n"
        "strategy: {name: caviar, samples: 9, max_iterations: 1}\n"
    )
    with Journal.create(root / "journal") as journal:
        journal.append_event("start", {"raysearch": "0"}, 1000.0)
        journal.append(outcomes)
        for kind, detail, at in events:
            journal.append_event(kind, detail, at)
    return root


def watched(root: Path, now: float = 1100.0, since: float = 1000.0, **spec: Any) -> list[Message]:
    return Watch(root, {"name": "s", **spec}, since).look(now)


def test_trials_that_fail_alike_are_told_of_and_others_are_not(tmp_path: Path) -> None:
    failed = [
        outcome(i, 1000.0 + i, status=Status.FAILED, error=f"CUDA error at 0x{i:x}: no kernel {i}", curve={})
        for i in range(5)
    ]
    (message,) = watched(written(tmp_path / "a", failed, []))
    assert message.kind == "failing"
    assert message.text == "s: 5 of the last 5 trials failed alike: CUDA error at 0x4: no kernel 4"
    mixed = [
        outcome(i, 1000.0, status=Status.FAILED, error=e * 3, curve={}) for i, e in enumerate("abcdefgh")
    ]
    assert watched(written(tmp_path / "b", mixed, [])) == []


def test_a_rollback_a_budget_nearly_used_and_the_end_are_told_once(tmp_path: Path) -> None:
    rolled = outcome(1, 1010.0, event=Event.ROLLBACK)
    spent = {"spent": {"seconds": 3400.0, "cpu_s": 0.0, "gpu_s": 0.0}}
    root = written(tmp_path / "a", [outcome(0, 1005.0), rolled], [("spent", spent, 1020.0)])
    watch = Watch(root, {"name": "s", "budget": {"hours": 1.0}}, 1000.0)
    told = {message.kind: message.text for message in watch.look(1100.0)}
    assert told["rolled_back"] == "s: trial 1 was rolled back: why it was"
    assert told["budget"].startswith("s: 94% of the budget's hours are used (")
    assert not watch.ended
    with Journal.open(root / "journal") as journal:
        journal.append_event("end", {"ending": "complete", "kind": "complete"}, 1200.0)
    (finished,) = [m for m in watch.look(1201.0) if m.kind == "finished"]
    assert finished.text.startswith("s: complete. ")
    assert watch.ended
    assert "finished" not in {m.kind for m in watch.look(1202.0)}


def test_a_run_in_which_nothing_ends_is_stalled(tmp_path: Path) -> None:
    root = written(tmp_path / "a", [outcome(0, 1005.0)], [])
    assert watched(root, now=1600.0) == []
    (message,) = watched(root, now=1700.0)
    assert (message.kind, message.text) == ("stalled", "s: no training has ended for 11m 35s")
    assert [m.kind for m in watched(root, now=1100.0, notify={"stalled_after": 60})] == ["stalled"]
    slow = written(tmp_path / "b", [outcome(0, 1005.0, seconds=1000.0)], [])
    assert watched(slow, now=5000.0) == []


def test_a_refused_order_is_told_of_and_what_was_before_is_not(tmp_path: Path) -> None:
    root = written(tmp_path / "a", [outcome(0, 1005.0)], [])
    orders = Orders(root / "orders")
    for accepted, words in ((True, "done"), (False, "lr = 9 is outside")):
        orders.answer(orders.give({"kind": "nudge"}), accepted, words)
    (message,) = watched(root)
    assert (message.kind, message.text) == ("refused", "s: an order was refused: lr = 9 is outside")
    assert watched(root, since=4e9, now=4e9) == []


def test_at_most_one_message_a_kind_and_hour_also_in_another_life(tmp_path: Path) -> None:
    got: list[str] = []
    tell = {"x": lambda message: got.append(f"{message.kind} {message.text}")}

    def teller() -> Teller:
        return Teller({"on": ["stalled", "budget"]}, tell, tmp_path / "noted.json")

    one = teller()
    for now, kind in ((0.0, "stalled"), (10.0, "stalled"), (20.0, "budget"), (30.0, "failing")):
        one.tell(Message(kind, f"{now:g}"), now)
    one.hand_on()
    assert got == ["stalled 0", "budget 20"]
    other = teller()
    other.tell(Message("stalled", "3599"), 3599.0)
    other.tell(Message("stalled", "3600"), 3600.0)
    other.hand_on()
    assert got[2:] == ["stalled 3600"]
    (tmp_path / "noted.json").write_text("{}")
    assert teller().is_idle


def test_what_does_not_arrive_is_tried_three_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tries = []

    def fail(message: Message) -> None:
        tries.append(message)
        raise Undelivered("it is away")

    teller = Teller({}, {"webhook": fail}, tmp_path / "noted.json")
    teller.tell(Message("stalled", "x"), 0.0)
    for _ in range(5):
        teller.hand_on()
    assert len(tries) == 3
    assert teller.is_idle
    assert capsys.readouterr().out.count("stalled by webhook: not told, it is away") == 3


# ---- a search


INLINE = ("--executor", "inline")


def test_a_search_that_ends_tells_its_verdict_and_its_address_is_in_no_file(hook: Hook, here: Path) -> None:
    assert main(["launch", "s.yaml", "--name", "s", *INLINE]) == 0
    wait_for(lambda: hook.got)
    path, _, body = hook.got[0]
    assert path == f"/{SECRET}"
    text = json.loads(body)["text"]
    assert text.startswith("s: complete. ")
    assert "loss" in text
    assert not any(SECRET.encode() in file.read_bytes() for file in here.rglob("*") if file.is_file())


@pytest.mark.parametrize("how", ["hangs", "away", "unset"])
def test_a_search_ends_as_ever_where_nobody_can_be_told(
    how: str, hook: Hook, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if how == "hangs":
        hook.hangs = True
    elif how == "away":
        monkeypatch.setenv("HOOK_ADDRESS", f"http://127.0.0.1:{free_port()}/x")
    else:
        monkeypatch.delenv("HOOK_ADDRESS")
    assert main(["launch", "s.yaml", "--name", "s", *INLINE]) == 0
    said = "".join(capsys.readouterr())
    assert ("HOOK_ADDRESS, which is to hold the webhook's address, is not set" in said) == (how == "unset")


def test_an_alert_comes_from_the_searchs_own_run_at_wandb(server: StandIn, here: Path) -> None:
    spec = SPEC.replace("{webhook: HOOK_ADDRESS}", "{wandb: true}")
    Path("s.yaml").write_text(spec + "wandb: {mode: online, project: demo, entity: team}\n")
    assert main(["launch", "s.yaml", "--name", "s", *INLINE]) == 0
    wait_for(lambda: server.alerts)  # a search waits 3 s at most for its last message
    ((title, text),) = server.alerts
    assert title == "raysearch: finished"
    assert text.startswith("s: complete. ")


def test_an_alert_without_a_search_at_wandb_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.yaml").write_text(SPEC.replace("{webhook: HOOK_ADDRESS}", "{wandb: true}"))
    assert main(["launch", "s.yaml", "--name", "s", *INLINE]) == 2
    assert "[notify.wandb]: needs the search at W&B" in capsys.readouterr().err


def test_one_message_can_be_tried_before_a_search(
    hook: Hook, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["launch", "s.yaml", "--dry-run", "--notify-test", *INLINE]) == 0
    assert "notify by webhook: told" in "".join(capsys.readouterr())
    assert "a message of `raysearch launch --dry-run --notify-test`" in hook.got[0][2]
    hook.refuses = True
    assert main(["launch", "s.yaml", "--dry-run", "--notify-test", *INLINE]) == 2
    assert "notify by webhook: not told, the server of HOOK_ADDRESS answered 500" in capsys.readouterr().err
    assert main(["launch", "s.yaml", "--notify-test", *INLINE]) == 2
    assert "--notify-test goes with --dry-run" in capsys.readouterr().err
