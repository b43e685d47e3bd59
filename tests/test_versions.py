"""Versions that were tried, and those that were not; Ray's private names and what stands in for them."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import ray
import trainables
from test_host import path, saved, train

import raysearch
from raysearch import ray_private
from raysearch.cluster import capacity, dashboard
from raysearch.cluster import versions as declared
from raysearch.cluster.auth import use_own_token, with_token
from raysearch.cluster.versions import TRIED, untried_note
from raysearch.errors import ClusterError
from raysearch.ray_private import PRIVATE, PlainStorage
from raysearch.worker.host import Host

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def floor_of(name: str) -> str:
    """The lowest version that pyproject.toml declares for a package."""
    found = [re.match(rf"{re.escape(name)}(\[.*\])?>=([\d.]+)", text) for text in PROJECT["dependencies"]]
    (floor,) = [match[2] for match in found if match]
    return floor


def minor(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


# ---- what was tried


def test_what_was_tried_is_what_pyproject_declares() -> None:
    assert PROJECT["requires-python"] == ">=3.10,<3.14"
    assert TRIED["python"] == ("3.10", "3.13")
    assert minor(floor_of("ray")) == minor(TRIED["ray"][0])
    assert minor(floor_of("torch")) == minor(TRIED["torch"][0])


def test_what_the_tests_are_pinned_to_was_tried() -> None:
    pins = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert untried_note({"ray": pins["ray"], "torch": pins["torch"]}) is None
    assert minor(pins["ray"]) == minor(TRIED["ray"][1])
    assert minor(pins["torch"]) == minor(TRIED["torch"][1])


@pytest.mark.parametrize(
    ("here", "named"),
    [
        ({"python": "3.14.0"}, "Python 3.14.0 (tried: 3.10 to 3.13)"),
        ({"python": "3.9.2"}, "Python 3.9.2"),
        ({"python": "3.13.9", "ray": "9.0.0"}, "Ray 9.0.0"),
        ({"ray": "2.9.3"}, "Ray 2.9.3"),
        ({"torch": "99.0.0+cu130"}, "torch 99.0.0+cu130"),
        ({"torch": "1.13.1"}, "torch 1.13.1"),
    ],
)
def test_versions_outside_of_what_was_tried_are_named(here: dict[str, str], named: str) -> None:
    note = untried_note(here)
    assert note is not None
    assert named in note
    assert "\n" not in note


def test_patches_builds_and_candidates_of_what_was_tried_are_not_named() -> None:
    oldest, newest = TRIED["torch"]
    assert untried_note({"torch": f"{oldest}.0"}) is None
    assert untried_note({"torch": f"{newest}.7+cpu", "python": "3.12.1"}) is None
    assert untried_note({"torch": f"{newest}rc1"}) is None
    assert untried_note({}) is None


def test_a_launch_with_a_ray_that_was_not_tried_says_so_in_one_line_and_goes_on(
    storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(declared, "TRIED", {"ray": ("1.0", "1.13")})
    results = raysearch.search(
        trainables.Walk,
        executor="inline",
        space={"rate": {"uniform": [0.1, 0.9]}},
        metric="loss",
        mode="min",
        strategy=raysearch.Caviar(samples=2, max_iterations=1, finish=None),
        storage=str(storage),
    )
    assert len(results.trials()) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "was not tried with" in line]
    (line,) = lines
    assert line.startswith(f"note: raysearch was not tried with Ray {version('ray')} (tried: 1.0 to 1.13)")


# ---- Ray's private names


def test_no_private_name_of_ray_is_gone() -> None:
    here = minor(ray.__version__)
    expected = {name for name, private in PRIVATE.items() if private.since and here < minor(private.since)}
    gone = {name: why for name, why in ray_private.gone().items() if name not in expected}
    assert gone == {}, "where these names of Ray went belongs into raysearch/ray_private.py"


def test_private_names_of_ray_are_in_one_file() -> None:
    private = re.compile(
        r"(from|import) +ray\.[\w.]*\._|\bray\._[a-z]|_actor_manager|_TrainingResult|trainable\._[a-z]"
    )
    folders = (ROOT / "raysearch", ROOT / "strategies", ROOT / "cluster")
    files = {file.resolve() for folder in folders for file in folder.rglob("*.py")}
    found = {file.relative_to(ROOT) for file in files if private.search(file.read_text(encoding="utf-8"))}
    assert found == {Path("raysearch/ray_private.py")}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ray that has none of the private names."""
    nowhere = {name: dataclasses.replace(private, places=()) for name, private in PRIVATE.items()}
    monkeypatch.setattr(ray_private, "PRIVATE", nowhere)
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    assert ray_private.gone().keys() == PRIVATE.keys()


def storage_of_its_own() -> Any:
    """LocalStorage, as it is where Ray has no storage context."""
    spec = importlib.util.find_spec("raysearch.worker.tune_storage")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert issubclass(module.LocalStorage, PlainStorage)
    return module.LocalStorage


@pytest.mark.parametrize("trainable", [trainables.Walk, trainables.walk])
def test_trainables_are_saved_and_restored_without_ray_s_private_names(
    bare: None, trainable: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raysearch.worker.host.LocalStorage", storage_of_its_own())
    first, second = path(2, 4)
    host = Host(trainable, metric="loss", scratch=tmp_path / "one")
    unbroken = [*train(host, first).curve["loss"], *train(host, second).curve["loss"]]
    host.drop()

    host = Host(trainable, metric="loss", scratch=tmp_path / "two")
    begun = train(host, first).curve["loss"]
    folder = saved(host, tmp_path / "kept" / "checkpoint")
    host.drop()
    host = Host(trainable, metric="loss", scratch=tmp_path / "three")
    again = train(host, second, folder)
    assert again.error == ""
    assert [*begun, *again.curve["loss"]] == unbroken
    host.drop()


def test_a_reset_leaves_no_trace_of_ray_s_own_name_in_the_trainable(tmp_path: Path) -> None:
    host = Host(trainables.Walk, metric="loss", scratch=tmp_path)
    train(host, path(2, trial=1)[0])
    made, here = host._trainable, os.getcwd()
    train(host, path(2, trial=2)[0])
    assert host._trainable is made
    assert "_setup_logdir" not in vars(made)
    assert made.logdir == os.getcwd() == here
    host.drop()


def test_a_controller_with_other_insides_is_left_alone(bare: None) -> None:
    controller = object()
    ray_private.on_task_failure(controller, contextlib.nullcontext)
    ray_private.on_start_failure(controller, contextlib.nullcontext)


def test_capacity_counts_all_nodes_where_ray_does_not_say_which_go(bare: None) -> None:
    assert capacity.draining() == set()
    assert ray_private.cluster_config() is None


def test_auto_is_the_environment_s_address_without_ray_s_own_search(
    bare: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert ray_private.own_address("auto") is None
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:6379\n")
    assert ray_private.own_address("auto") == "127.0.0.1:6379"
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6380")
    assert ray_private.own_address("auto") == "127.0.0.1:6380"
    assert ray_private.own_address("here:1") == "here:1"


def test_a_dashboard_is_looked_for_at_its_usual_port_without_a_client_of_the_store(
    bare: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "check_port", lambda place: None)
    assert dashboard.address_of("127.0.0.1:6379") == "http://127.0.0.1:8265"


def test_a_cluster_that_wants_a_token_is_told_in_words_where_ray_takes_none_up(
    bare: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = ray_private.refusals()
    if not refused:
        pytest.skip("this Ray knows no tokens")

    def connect() -> None:
        raise refused[0]("no token")

    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert not use_own_token()
    with pytest.raises(ClusterError, match="RAY_AUTH_MODE=token"):
        with_token(connect, "HOST:1")
