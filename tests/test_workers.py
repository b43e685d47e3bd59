"""The field `workers`: what may be said, and what is wrong with what may not."""

from __future__ import annotations

from typing import Any

import pytest

from raysearch.errors import LocatedError, SpecError
from raysearch.examples.digits import Digits
from raysearch.spec.per_rank import check_processes
from raysearch.spec.workers import Workers, read_workers

TRAIN = {"num_workers": 4, "resources_per_worker": {"GPU": 1.0}}


def test_everything_that_can_be_said_is_read_and_read_back() -> None:
    said = {
        "min": 2,
        "max": 64,
        "cpu": 2,
        "gpu": 0.25,
        "memory": "4 GB",
        "accelerator_type": "A100",
        "resources": {"disk": 1},
        "bundles": [{"cpu": 1}, {"GPU": 2}],
        "placement": "STRICT_SPREAD",
        "train": {"num_workers": 4, "resources_per_worker": {"gpu": 1}},
        "grace": "90s",
        "on_oom": {"gpu": "x2", "memory": 1.5, "cpu": "2x"},
    }
    workers = read_workers(said)
    assert workers == Workers(
        "auto", 2.0, 0.25, {"disk": 1.0}, 2, 64, 4 * 10**9, "A100",
        ({"CPU": 1.0}, {"GPU": 2.0}), "STRICT_SPREAD", TRAIN, 90.0, {"gpu": 2.0, "memory": 1.5, "cpu": 2.0},
    )  # fmt: skip
    assert read_workers(workers.to_dict()) == workers
    assert (workers.least, workers.most) == (2, 64)


def test_what_is_not_said_is_not_written_and_a_count_is_the_most() -> None:
    assert read_workers(4).to_dict() == {"count": 4, "cpu": 1.0, "gpu": 0.0, "resources": {}}
    assert (read_workers(4).least, read_workers(4).most) == (1, 4)
    assert (read_workers("auto").least, read_workers("auto").most) == (1, None)
    assert read_workers({"min": 2, "max": 3}).with_count(9).most == 9


@pytest.mark.parametrize(
    ("said", "place", "text"),
    [
        ({"min": 0}, "workers.min", "must be a whole number from 1, not 0"),
        ({"min": 3, "max": 2}, "workers.min", "3 is more than the 2 that there may be"),
        ({"min": 3, "count": 2}, "workers.min", "3 is more than the 2 that there may be"),
        ({"placement": "pack"}, "workers.placement", "unknown placement 'pack'"),
        ({"on_oom": {"gpu": "x2"}}, "workers.on_oom.gpu", "a worker has no gpu that could grow; it has CPU"),
        ({"on_oom": {"cpu": "x0"}}, "workers.on_oom.cpu", "'x0' gives no more than there was"),
        ({"on_oom": {"cpu": 1}}, "workers.on_oom.cpu", "1 gives no more than there was"),
        ({"on_oom": {"cpu": "double"}}, "workers.on_oom.cpu", "the factor must be a number"),
        ({"on_oom": "x2"}, "workers.on_oom", "must be a mapping such as {gpu: x2}, not 'x2'"),
        ({"bundles": {"CPU": 1}}, "workers.bundles", "must be a list such as [{CPU: 1}, {GPU: 1}]"),
        ({"bundles": [{"CPU": 1}, {}]}, "workers.bundles[1]", "is empty"),
        ({"bundles": [{"GPU": -1}]}, "workers.bundles[0]", "must be above zero, not -1"),
        ({"train": {}}, "workers.train", "must be a mapping such as {num_workers: 4"),
        ({"train": {"workers": 2}}, "workers.train.workers", "unknown field 'workers'"),
        ({"train": {"num_workers": 0}}, "workers.train.num_workers", "must be a whole number from 1"),
        ({"grace": 0}, "workers.grace", "0 must be above zero"),
        ({"memory": "lots"}, "workers.memory", "'lots' is not a size"),
        ({"processes": 0}, "workers.processes", "must be a whole number from 1, not 0"),
        ({"nodes": 2}, "workers.nodes", "goes with `processes`"),
        ({"timeout": "5m"}, "workers.timeout", "goes with `processes`"),
        ({"processes": 4, "nodes": 3}, "workers.nodes", "4 processes cannot lie as many on each of 3 nodes"),
        ({"processes": 2, "gpu": 0.5}, "workers.gpu", "0.5: of a worker with several processes each takes"),
        ({"processes": 2, "train": TRAIN}, "workers.train", "does not go with `processes`: a Ray Train loop"),
        ({"processes": 2, "bundles": [{"GPU": 1}]}, "workers.bundles", "does not go with `processes`"),
        ({"processes": 2, "on_oom": {"cpu": 2}}, "workers.on_oom", "does not go with `processes`"),
        ({"processes": 2, "nodes": 1, "placement": "SPREAD"}, "workers.placement", "`nodes` says how"),
        ({"accelerator_type": 100}, "workers.accelerator_type", "must be text such as A100, not 100"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(said: dict[str, Any], place: str, text: str) -> None:
    with pytest.raises(LocatedError) as caught:
        read_workers(said)
    assert caught.value.place == place
    assert caught.value.text.startswith(text)


def test_two_ways_to_say_the_most_must_agree() -> None:
    with pytest.raises(SpecError, match="count: 8 and max: 16 contradict each other"):
        read_workers({"count": 8, "max": 16})
    assert read_workers({"count": 8, "max": 8}).most == 8


def test_a_worker_of_several_processes_takes_the_share_of_each() -> None:
    workers = read_workers({"processes": 4, "gpu": 1, "cpu": 2, "nodes": 2, "timeout": "5m"})
    assert (workers.processes, workers.nodes, workers.timeout_s) == (4, 2, 300.0)
    assert workers.held() == (8.0, 4.0)
    assert read_workers(workers.to_dict()) == workers


def test_only_what_each_process_can_run_goes_with_processes() -> None:
    def starts_its_own(config: dict[str, Any]) -> None:
        from ray.train.torch import TorchTrainer

        TorchTrainer(print).fit()

    workers = read_workers({"processes": 2})
    for trainable, text in [
        (Digits, "2: Digits is a Learner, which trains in one process"),
        (starts_its_own, r"2: starts_its_own starts a Ray Train run of its own \(TorchTrainer\)"),
    ]:
        with pytest.raises(LocatedError, match=text):
            check_processes(workers, trainable)
        check_processes(read_workers(2), trainable)
    check_processes(workers, lambda config: None)
