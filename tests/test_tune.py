"""The Tune executor on a real cluster: every kind of trainable, and everything that dies."""

from __future__ import annotations

import collections
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trainables
from ray import cloudpickle

import raysearch
from raysearch.core.segment import Cause, Outcome, Status
from raysearch.errors import ClusterError, RunError
from raysearch.executors.tune.coordinator import INLINED_BYTES, PIECE_BYTES, in_pieces, of_pieces
from raysearch.launch import more_samples
from raysearch.run.session import Setup
from raysearch.spec.search_spec import make_spec
from raysearch.storage.journal.reading import read_outcomes
from raysearch.worker.job import Job
from raysearch.worker.shipping import ship

pytestmark = pytest.mark.usefixtures("ray_cluster")

SPACE = {"rate": {"uniform": [0.0, 1.0]}}
CAVIAR = raysearch.Caviar(samples=12, max_iterations=9, sampler="sobol", finish=None)
Searched = tuple[raysearch.Results, list[Outcome]]


def search(trainable: Any, storage: Path, name: str, samples: int = 12, **options: Any) -> raysearch.Results:
    options.setdefault(
        "strategy", raysearch.Caviar(samples=samples, max_iterations=9, sampler="sobol", finish=None)
    )
    return raysearch.search(
        trainable,
        space=SPACE,
        metric="loss",
        mode="min",
        storage=str(storage),
        name=name,
        **{"workers": 2, **options},
    )


def outcomes(storage: Path, name: str) -> list[Outcome]:
    return list(read_outcomes(storage / name / "journal"))


def check_whole(rows: list[Outcome], samples: int) -> None:
    """Every trial is there, no segment ended twice, and every lineage is whole."""
    final = [o for o in rows if o.status is not Status.LOST]
    counts = collections.Counter(o.segment.id for o in final)
    assert max(counts.values()) == 1
    assert {o.segment.trial for o in final} == set(range(samples))
    assert all(o.segment.parent is None or o.segment.parent in counts for o in final)


@pytest.fixture(scope="module")
def walks(_session_cluster: Callable[[], None], tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """A search of twelve walks by the two of nine workers that a cluster has room for; only to be read."""
    _session_cluster()
    storage = tmp_path_factory.mktemp("walks")
    results = search(trainables.Walk, storage, "run", workers={"count": 9, "cpu": 2})
    return results, outcomes(storage, "run")


def check_searched(results: raysearch.Results, rows: list[Outcome]) -> None:
    """All twelve trials are there, the best of them at the end, and the least rate is the best."""
    check_whole(rows, 12)
    trials = results.trials()
    assert len(trials) == 12
    assert results.best.config["rate"] == trials["config.rate"].min()
    assert trials["iterations"].max() == 9


def test_a_class_is_searched_unchanged(walks: Searched) -> None:
    check_searched(*walks)


@pytest.mark.parametrize(
    ("trainable", "executor"),
    [
        (trainables.walk, "tune"),
        (trainables.Fresh, "inline"),  # a worker has the same host that trains inline
        (trainables.plain, "inline"),
        (trainables.generator, "inline"),
    ],
)
def test_every_other_kind_of_trainable_is_searched_unchanged(
    trainable: Any, executor: str, storage: Path
) -> None:
    results = search(trainable, storage, "run", workers=1, executor=executor)
    check_searched(results, outcomes(storage, "run"))


def test_failing_and_diverging_trials_harm_no_other(storage: Path) -> None:
    search(trainables.Moody, storage, "run", 30, workers=1)
    rows = outcomes(storage, "run")
    check_whole(rows, 30)
    for outcome in rows:
        rate = outcome.segment.config["rate"]
        expected = {0.1 <= rate < 0.2: Status.FAILED, 0.2 <= rate < 0.3: Status.DIVERGED}.get(True)
        assert outcome.status in ((expected, Status.LOST) if expected else (Status.COMPLETED,))
    failed = [o for o in rows if o.status is Status.FAILED]
    assert failed
    assert failed[0].error == f"RuntimeError: no luck with rate {failed[0].segment.config['rate']:.3f}"


def test_a_worker_that_dies_in_training_is_started_again_and_nothing_is_missing(storage: Path) -> None:
    marker = storage / "died"
    search(trainables.Suicidal, storage, "run", workers=1, config={"marker": str(marker)})
    assert marker.exists()
    rows = outcomes(storage, "run")
    check_whole(rows, 12)
    assert all(o.status is Status.COMPLETED for o in rows if o.status is not Status.LOST)
    lost = {(o.error, o.cause) for o in rows if o.status is Status.LOST}
    assert ("its worker died", Cause.PROCESS_DIED) in lost


def test_a_trial_that_hangs_fails_alone_after_the_stall_timeout(storage: Path) -> None:
    search(trainables.Hanging, storage, "run", 8, stall_timeout_s=6, retries=0)
    rows = outcomes(storage, "run")
    check_whole(rows, 8)
    hung = [o for o in rows if o.segment.config["rate"] > 0.8]
    assert hung
    for outcome in hung:
        assert outcome.status is Status.FAILED
        assert outcome.error.startswith(f"stalled: segment {outcome.segment.trial}.0 reported nothing for ")
        assert outcome.cause is Cause.STALLED


@pytest.mark.parametrize("size", [0, 2 * INLINED_BYTES])
def test_a_killed_coordinator_comes_back_and_the_search_goes_on(storage: Path, size: int) -> None:
    killed: list[int] = []

    def kill_twice(status: dict[str, Any]) -> None:
        if status["trials"] >= 3 and len(killed) < 2 and status["pid"] not in killed:
            killed.append(status["pid"])
            os.kill(status["pid"], signal.SIGKILL)

    class Laden(trainables.Slow):
        """Its code holds data, as in a notebook; its iterations are as those of Slow."""

        data = bytes(size)

    search(Laden, storage, "run", workers=1, on_status=kill_twice)
    assert len(killed) == 2
    check_whole(outcomes(storage, "run"), 12)


@pytest.mark.parametrize("size", [0, PIECE_BYTES, 5 * PIECE_BYTES // 2])
def test_what_a_coordinator_begins_from_goes_with_it_in_pieces(size: int) -> None:
    spec = make_spec(trainable="trainables:Slow", space=SPACE, metric="loss", mode="min", strategy=CAVIAR)
    job = Job("run", ship(trainables.Slow), "loss", "min", constants={"data": os.urandom(size)})
    pieces = in_pieces(cloudpickle.dumps((Setup("run", spec), job)))
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert of_pieces(pieces)[0].spec == spec
    assert of_pieces(pieces)[1].constants == job.constants


def test_what_trials_print_is_in_a_file_of_their_worker_under_a_heading(
    storage: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    search(trainables.Chatty, storage, "run", 4, workers=1)
    text = (storage / "run" / "logs" / "worker-0.log").read_text()
    for outcome in outcomes(storage, "run"):
        assert f"a word from rate {outcome.segment.config['rate']}\n" in text
    assert "--- segment 0.0\n" in text
    assert "a word from" not in "".join(capfd.readouterr())


def test_isolated_trials_have_a_process_each_and_die_alone(storage: Path) -> None:
    marker = storage / "died"
    search(
        trainables.Suicidal, storage, "run", 4, workers=1, isolate=True, retries=1,
        config={"marker": str(marker)},
        strategy=raysearch.Caviar(samples=4, max_iterations=1, sampler="sobol", finish=None),
    )  # fmt: skip
    rows = outcomes(storage, "run")
    check_whole(rows, 4)
    assert marker.exists()
    lost = [(o.error, o.cause) for o in rows if o.status is Status.LOST]
    words = "attempt 1 of 2 failed: the trial's process died (signal SIGKILL)"
    assert lost == [(words, Cause.PROCESS_DIED)]


def test_more_workers_than_fit_are_no_hindrance(walks: Searched) -> None:
    assert walks[0].spec["workers"]["count"] == 9
    assert 1 <= len({outcome.worker for outcome in walks[1]}) <= 2
    check_whole(walks[1], 12)


def test_a_worker_that_fits_no_node_is_refused_at_once_with_what_there_is(storage: Path) -> None:
    with pytest.raises(ClusterError, match=r"one worker needs 64 CPU.*most on one node is 4 CPU"):
        search(trainables.Walk, storage, "run", workers={"count": 1, "cpu": 64})
    with pytest.raises(ClusterError, match=r"needs 1 CPU, 1 GPU.*0 GPU"):
        search(trainables.Walk, storage, "other", workers={"count": 1, "gpu": 1})


def test_a_search_in_which_everything_fails_ends_with_the_users_own_error(storage: Path) -> None:
    with pytest.raises(RunError, match=r"the first 10 segments all failed.*nothing was reported"):
        search(trainables.silent, storage, "run", 40, workers=1)


def test_a_finished_run_can_be_extended_and_keeps_every_old_outcome(storage: Path) -> None:
    search(trainables.Walk, storage, "run", 9, workers=1, executor="inline")
    before = {o.segment.id: o for o in outcomes(storage, "run")}
    how = raysearch.How("inline")
    results = raysearch.resume(storage / "run", how, edits=lambda spec: more_samples(spec, "+18", 27))
    rows = outcomes(storage, "run")
    check_whole(rows, 27)
    after = {o.segment.id: o for o in rows}
    assert all(after[i] == o for i, o in before.items())
    assert results.trials()["iterations"].max() == 27
    assert json.loads(json.dumps(results.best.config)) == results.best.config


def test_workers_seeds_and_configurations_do_not_depend_on_who_trains_what(
    walks: Searched, storage: Path
) -> None:
    search(trainables.Walk, storage, "one", workers=1, executor="inline")
    one, two = ({o.segment.id: o for o in rows} for rows in (outcomes(storage, "one"), walks[1]))
    common = one.keys() & two.keys()
    assert len(common) >= 12
    for segment in common:
        assert one[segment].curve == two[segment].curve
        assert one[segment].segment.config == two[segment].segment.config
