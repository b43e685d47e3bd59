"""The real W&B client against a stand-in server: what is there of a search, and where the key is."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trainables
from waiting import PATIENCE_S
from wandb_runs import WANDB, there, written
from wandb_standin import CANARY, StandIn

import raysearch
from raysearch.bench.report import outcomes
from raysearch.cli import main
from raysearch.core.segment import Event, Outcome, Segment, Status, segment_id
from raysearch.errors import RunError
from raysearch.tracking.granularity import level_of
from raysearch.tracking.rows import SearchFeed, TrialFeeds, run_id
from raysearch.tracking.supervisor import push, tracked
from raysearch.tracking.wandb import settings
from raysearch.tracking.wandb.api_key import find_key, taken_out

# ---- what becomes of a search


def test_a_pushed_run_is_there_once_and_pushed_again_changes_nothing(
    server: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = written(tmp_path / "run", 6)
    assert main(["wandb", "push", str(tmp_path / "run")]) == 0
    assert " runs are at http" in capsys.readouterr().out
    assert there(server) == counts
    before = {name: [*lines] for name, lines in server.history.items()}
    assert main(["wandb", "push", str(tmp_path / "run")]) == 0
    assert {name: [*lines] for name, lines in server.history.items()} == before
    search = next(name for name in server.runs if name.endswith("-search"))
    run = server.runs[search]
    assert (run["project"], run["entity"], run["groupName"], run["jobType"], run["tags"], run["state"]) == (
        "demo",
        "team",
        "demo",
        "search",
        ["nightly"],
        "finished",
    )
    summary = json.loads(run["summary"])
    assert summary["best/value"] == raysearch.load(tmp_path / "run").best.value
    assert {name for name in summary if name.startswith(("tables", "figures"))} >= {
        "tables/trials",
        "figures/progress",
        "figures/curves",
    }
    tables = next(a for name, a in server.artifacts.items() if a["type"] == "search")
    assert tables["files"] == {"trials.parquet", "segments.parquet", "spec.yaml", "versions.json"}
    assert len(tables["versions"]) == 1, "the same tables are the same version"
    trial = next(name for name in server.runs if name.endswith("-trial-0"))
    assert server.config(trial).keys() >= {"lr", "dropout"}


def test_of_a_large_search_only_the_search_and_its_best_are_runs(server: StandIn, tmp_path: Path) -> None:
    counts = written(tmp_path / "run", 260)
    assert push(tmp_path / "run", CANARY, PATIENCE_S) == 0
    digest = raysearch.load(tmp_path / "run").digest
    best = {f"trial-{n}" for n in digest.trials.numbers[digest.ranking[:50]].tolist()}
    finals = {key for key in counts if not key.startswith("trial")}
    assert there(server) == {key: n for key, n in counts.items() if key in best | finals}


def test_the_level_follows_the_number_of_trials() -> None:
    assert level_of(200).live
    assert (level_of(201).live, level_of(201).finalists) == (False, 50)
    assert level_of(1_000_000).rows == 10_000


# ---- the key


def test_the_key_is_found_in_the_environment_a_file_and_netrc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://wandb.example:8080")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert find_key() is None
    (tmp_path / "netrc").write_text("machine wandb.example login user password of-netrc\n")
    assert find_key() == "of-netrc"
    (tmp_path / "key").write_text("of-file\n")
    monkeypatch.setenv("WANDB_API_KEY_FILE", str(tmp_path / "key"))
    assert find_key() == "of-file"
    monkeypatch.setenv("WANDB_API_KEY", "of-environment")
    assert find_key() == "of-environment"
    with taken_out():
        assert "WANDB_API_KEY" not in os.environ
    assert os.environ["WANDB_API_KEY"] == "of-environment"


@pytest.mark.parametrize("mode", ["auto", "offline", "off"])
def test_without_a_server_a_search_runs_and_says_how_to_send_it_later(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", CANARY)
    decision = settings.decide({"mode": mode}, "runs/x")
    assert not decision.send
    assert decision.why.endswith("raysearch wandb push runs/x") is (mode != "off")


def test_wandbs_own_switch_is_heeded_where_the_spec_leaves_it_open(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.decide({"mode": "auto"}, "runs/x").send
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert settings.decide({"project": "p"}, "runs/x").why.startswith("W&B: WANDB_MODE is disabled")
    assert settings.decide({"mode": "online"}, "runs/x").send


def test_online_without_a_key_leaves_no_run_behind(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(storage / "none"))
    with pytest.raises(RunError, match="there is no key"):
        raysearch.search(
            trainables.Moody,
            executor="inline",
            space={"rate": {"uniform": [0.0, 1.0]}},
            metric="loss",
            mode="min",
            strategy=raysearch.Caviar(samples=2, max_iterations=1, min_iterations=1, finish=None),
            storage=str(storage),
            name="x",
            wandb={"mode": "online"},
        )
    assert not (storage / "x").exists()


def test_online_without_a_key_is_an_error_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(RunError, match="there is no key"), tracked(tmp_path, {"mode": "online"}, print):
        pytest.fail("it went on")


@pytest.mark.slow
@pytest.mark.own_cluster
def test_the_key_is_in_no_file_no_listing_and_no_worker(
    server: StandIn, tmp_path: Path, short_folder: Path
) -> None:
    (tmp_path / "spy.py").write_text(
        "import json, os\nfrom ray import tune\n\ndef train(config):\n"
        "    open(config['out'] + '/environment', 'w').write(json.dumps(dict(os.environ)))\n"
        "    for _ in range(3):\n        tune.report({'loss': config['x']})\n"
    )
    spec = (
        "name: canary\ntrainable: spy.py:train\nmetric: loss\nmode: min\n"
        f"space: {{x: {{uniform: [0, 1]}}}}\nconfig: {{out: {tmp_path}}}\n{WANDB}"
        "strategy: {name: caviar, samples: 6, max_iterations: 3, min_iterations: 3, finish: null}\n"
    )
    (tmp_path / "spy.yaml").write_text(spec)
    code = "import sys\nfrom raysearch.cli import main\nsys.exit(main(['launch', 'spy.yaml', '--local', '--workers', '1']))\n"  # noqa: E501
    environment = {**os.environ, "RAY_TMPDIR": str(short_folder), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sum(there(server).values()) == 18
    assert "WANDB_API_KEY" not in json.loads((tmp_path / "environment").read_text())
    basic = base64.b64encode(f"api:{CANARY}".encode()).decode()
    assert server.keys == {f"Basic {basic}"}
    wanted = [CANARY.encode(), basic.encode()]
    places = [file for root in (tmp_path, short_folder) for file in root.rglob("*") if file.is_file()]
    assert len(places) > 20
    assert [str(file) for file in places if any(key in file.read_bytes() for key in wanted)] == []
    assert CANARY not in done.stdout + done.stderr


# ---- rows


def test_ids_are_the_same_in_every_life_and_differ_between_runs() -> None:
    assert run_id("a b/c", 1.5, "trial-3") == run_id("a b/c", 1.5, "trial-3")
    assert run_id("a b/c", 1.5, "trial-3").startswith("a-b-c-")
    assert run_id("a", 1.5, "search") != run_id("a", 2.5, "search")


def test_a_member_keeps_rows_that_step_back_and_has_its_hyper_parameters_as_metrics() -> None:
    first = Segment(segment_id(0, 0), 0, None, {"lr": 0.1}, 0, 2, 0, "start: fresh", event=Event.START)
    probe = Segment(segment_id(1, 0), 1, first.id, {"lr": 0.2}, 2, 3, 0, "nudge: lr x2", event=Event.NUDGE)
    back = "rollback: to 0.0"
    again = Segment(segment_id(0, 1), 0, first.id, {"lr": 0.05}, 1, 3, 0, back, event=Event.ROLLBACK)
    feeds = TrialFeeds("loss", members=True)
    curves = ([1.0, 0.9], [2.0], [0.8, 0.7])
    for segment, curve in zip((first, probe, again), curves, strict=True):
        feeds.take(Outcome(segment, Status.COMPLETED, {"loss": curve}))
        feeds.take(Outcome(segment, Status.COMPLETED, {"loss": curve}))  # known already
    (feed,) = feeds.feeds.values()
    assert (feed.key, feed.kind) == ("member-0", "member")
    assert [(r["training_iteration"], r["loss"], r["hp/lr"], r["lineage/event"]) for r in feed.rows] == [
        (1, 1.0, 0.1, "start"),
        (2, 0.9, 0.1, "start"),
        (3, 2.0, 0.2, "nudge"),
        (2, 0.8, 0.05, "rollback"),
        (3, 0.7, 0.05, "rollback"),
    ]


def test_the_searchs_rows_depend_on_the_journal_alone_however_it_is_read() -> None:
    made = [*outcomes(40, 2)]
    one, other = SearchFeed("loss", "min"), SearchFeed("loss", "min")
    for outcome in made:
        one.take(outcome)
    for outcome in [*made[:20], *made[20:]]:
        other.take(outcome)
    assert one.feed.rows == other.feed.rows
    bests = [row["search/best_loss"] for row in one.feed.rows]
    assert bests == sorted(bests, reverse=True)
    assert len(bests) > 3


def test_nothing_of_wandb_is_loaded_by_a_search() -> None:
    code = "import sys, raysearch.launch, raysearch.tracking.supervisor; print('wandb' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_client_that_never_returns_from_a_last_call_does_not_hold_a_push(tmp_path: Path) -> None:
    """wandb 0.27 asks for the key's owner before it takes an artifact, and asks again for days."""
    child = (
        "import os, threading\n"
        "from raysearch.tracking.wandb import client\n"
        "client.SLACK_S = 0.1\n"
        f"runs = client.Runs({{'project': 'demo'}}, client.Path({str(tmp_path)!r}), 0.1)\n"
        "try:\n"
        "    runs.within(threading.Event().wait, 'the tables')\n"
        "except client.Unreachable as error:\n"
        "    print(error, flush=True)\n"
        "runs.within(lambda: print('taken', flush=True), 'the tables')\n"
        "os._exit(0)  # as the tracking process ends\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", child], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert done.stdout.splitlines() == ["the client did not send the tables within 0.2 s", "taken"]
