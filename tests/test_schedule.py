"""Schedules as files, and as torch schedulers; what raysearch.torch gives a trainable."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import raysearch
from raysearch.errors import SpecError
from raysearch.schedule import Schedule, Step
from raysearch.torch import apply, parts

SCHEDULE = Schedule(
    (
        Step(0, 4, {"lr": 0.01, "momentum": 0.9, "width": 8}),
        Step(4, 6, {"lr": 0.04, "momentum": 0.9, "width": 8}),
        Step(6, 10, {"lr": 0.001, "momentum": 0.5, "width": 8}),
    ),
    {"run": "first", "value": 0.25},
)


def written(folder: Path, name: str = "schedule.yaml", **changes: Any) -> Path:
    """A file with a schedule in which some fields are changed."""
    file = folder / name
    file.write_text(json.dumps({**SCHEDULE.to_dict(), **changes}))
    return file


@pytest.mark.parametrize("as_json", [False, True])
def test_a_schedule_comes_back_from_its_file_equal(tmp_path: Path, as_json: bool) -> None:
    file = tmp_path / "schedule"
    file.write_text(SCHEDULE.to_text(as_json))
    assert raysearch.schedule.load(file) == SCHEDULE


def test_each_step_holds_from_its_start_and_the_last_one_for_ever() -> None:
    assert [SCHEDULE.at(i)["lr"] for i in (0, 3.9, 4, 5, 6, 9, 1000)] == [
        *(0.01, 0.01, 0.04, 0.04, 0.001, 0.001, 0.001)
    ]
    assert SCHEDULE.names == ("lr", "momentum")
    assert SCHEDULE.constants == {"width": 8}
    for wrong in (-1, math.nan):
        with pytest.raises(ValueError, match="at least 0"):
            SCHEDULE.at(wrong)


def test_a_stretched_schedule_keeps_the_shares_and_leaves_out_what_is_too_short() -> None:
    assert [(s.start, s.stop) for s in SCHEDULE.stretched(100).steps] == [(0, 40), (40, 60), (60, 100)]
    assert [(s.start, s.stop) for s in SCHEDULE.stretched(1).steps] == [(0, 1)]
    with pytest.raises(SpecError, match="iterations = 0"):
        SCHEDULE.stretched(0)


def test_the_mean_is_geometric_and_the_longest_of_what_is_no_float() -> None:
    expected = (0.01**4 * 0.04**2 * 0.001**4) ** 0.1
    assert SCHEDULE.mean()["lr"] == pytest.approx(expected)
    assert SCHEDULE.mean()["width"] == 8


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "other"}, "format is 'other', and 'raysearch-schedule/1' is expected"),
        ({"steps": []}, "at least one step"),
        ({"steps": "none"}, "steps a list"),
        ({"steps": [{"start": 0, "stop": 4}]}, r"steps\[0\] .* needs start, stop and config"),
        ({"steps": [{"start": 0, "stop": 4.5, "config": {}}]}, "must be whole numbers"),
        ({"steps": [{"start": 0, "stop": 4, "config": 3}]}, r"steps\[0\].config = 3 is no mapping"),
        ({"steps": [{"start": 1, "stop": 4, "config": {}}]}, "it must begin at 0"),
        ({"steps": [{"start": 0, "stop": 0, "config": {}}]}, "and end later"),
    ],
)
def test_a_file_that_is_no_schedule_is_told_by_name_and_place(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=rf"schedule.yaml: .*{words}"):
        raysearch.schedule.load(written(tmp_path, **changes))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere\.yaml: cannot be read"):
        raysearch.schedule.load(tmp_path / "nowhere.yaml")


def test_a_schedule_is_read_where_neither_ray_nor_torch_can_be_imported(tmp_path: Path) -> None:
    code = f"""
import sys
for name in ("ray", "torch", "wandb", "pandas", "pyarrow"):
    sys.modules[name] = None
import raysearch
print(raysearch.schedule.load({str(written(tmp_path))!r}).at(5)["lr"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0.04\n"


# ---- torch


def test_a_torch_scheduler_follows_the_schedule_step_by_step() -> None:
    weights = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weights], lr=1.0, momentum=0.1)
    scheduler = SCHEDULE.scheduler(optimizer, steps_per_iteration=2)
    seen = []
    for _ in range(22):
        group = optimizer.param_groups[0]
        seen.append((group["lr"], group["momentum"]))
        optimizer.step()
        scheduler.step()
    assert seen == [(0.01, 0.9)] * 8 + [(0.04, 0.9)] * 4 + [(0.001, 0.5)] * 10
    with pytest.raises(ValueError, match="steps_per_iteration = 0"):
        SCHEDULE.scheduler(optimizer, steps_per_iteration=0)


def test_a_torch_scheduler_goes_on_from_its_state_and_keeps_the_ratios_of_groups() -> None:
    def fresh() -> tuple[torch.optim.Optimizer, Any]:
        groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in (1.0, 0.1)]
        optimizer = torch.optim.SGD(groups, momentum=0.1)
        return optimizer, SCHEDULE.scheduler(optimizer)

    optimizer, scheduler = fresh()
    for _ in range(5):
        optimizer.step()
        scheduler.step()
    again, resumed = fresh()
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    for one, other in ((optimizer, scheduler), (again, resumed)):
        one.step()
        other.step()
    assert [g["lr"] for g in again.param_groups] == [g["lr"] for g in optimizer.param_groups]
    assert [g["lr"] for g in again.param_groups] == pytest.approx([0.001, 0.0001])


def test_apply_sets_what_the_groups_hold_and_says_what_it_took() -> None:
    weights = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([weights], lr=1.0)
    taken = apply(optimizer, {"learning_rate": 0.5, "beta1": 0.8, "weight_decay": 0.3, "hidden": 12})
    group = optimizer.param_groups[0]
    assert taken == ("learning_rate", "beta1", "weight_decay")
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.5, (0.8, 0.999), 0.3)
    with pytest.raises(ValueError, match="lr = 'fast' must be a number"):
        apply(optimizer, {"lr": "fast"})


def test_apply_keeps_a_learning_rate_that_is_a_tensor() -> None:
    rate = torch.tensor(1.0)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=rate)
    apply(optimizer, {"lr": 0.25})
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.25


def test_parts_are_means_of_neighbours_whose_mean_is_the_whole() -> None:
    losses = torch.arange(12.0).reshape(3, 4)
    assert parts(losses, 4) == {0: 1.0, 1: 4.0, 2: 7.0, 3: 10.0}
    assert len(parts(losses, 100)) == 12
    for wrong, n in ((losses[:0], 4), (losses, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            parts(wrong, n)
