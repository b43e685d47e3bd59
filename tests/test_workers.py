"""The field `workers`: what may be said, and what is wrong with what may not."""

from __future__ import annotations

from typing import Any

import pytest

from raysearch.errors import LocatedError, SpecError
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
