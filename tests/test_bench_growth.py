"""`raysearch bench growth`: fitted exponents, what is named, and a run of it in small."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from raysearch.bench import growth
from raysearch.bench.support.growth_fit import exponent, grows_too_fast
from raysearch.storage.journal.reading import read_outcomes

SIZES = [100.0, 1000.0, 10_000.0, 100_000.0]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_the_power(power: float) -> None:
    assert exponent(SIZES, [3 * size**power for size in SIZES]) == pytest.approx(power)


def test_a_fixed_part_of_the_cost_does_not_hide_how_the_rest_grows() -> None:
    assert exponent(SIZES, [10_000 + size**2 for size in SIZES]) > 1.9


def test_what_is_not_known_of_a_cost_is_left_out() -> None:
    assert exponent(SIZES, [0.0, math.nan, 1.0, 10.0]) == pytest.approx(1.0)
    assert math.isnan(exponent(SIZES, [0.0, 0.0, 0.0, 1.0]))
    assert not grows_too_fast(SIZES, [0.0, 0.0, 0.0, 1.0])


def test_more_than_n_log_n_is_too_fast_and_for_a_single_turn_more_than_log_n() -> None:
    assert not grows_too_fast(SIZES, [size * math.log(size) for size in SIZES])
    assert grows_too_fast(SIZES, [size**1.5 for size in SIZES])
    assert grows_too_fast(SIZES, [size**0.5 for size in SIZES], is_each=True)
    assert not grows_too_fast(SIZES, [math.log(size) for size in SIZES], is_each=True)


def test_what_grows_too_fast_is_named_with_what_it_grows_with() -> None:
    rows = [{"axis": "trials", "size": n, "status_s": n**2.0, "disk_mb": 1.0 * n} for n in (10, 100, 1000)]
    assert growth.verdicts(rows) == [
        "exponents by trials: disk 1.00, status 2.00",
        "faster than n log n: status with trials",
    ]


def test_each_search_changes_one_thing_and_none_is_larger_than_asked() -> None:
    searches = growth.plan(most=100_000)
    assert max(settings["trials"] for *_, settings in searches) == 100_000
    for axis, size, settings in searches:
        others = {k: v for k, v in settings.items() if k not in (growth.AXES[axis], "trials", "sampler")}
        assert settings[growth.AXES[axis]] == size
        assert others.items() <= growth.BASE.items()


def test_a_small_run_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "growth.html"
    args = ["--most", "10", "--least", "1", "--only", "workers", "--figure", str(figure), "--json"]
    assert growth.main([*args, "--folder", str(tmp_path)]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["size"] for row in rows] == [1, 10]
    assert all(row["outcomes"] >= 100 and row["cpu_s"] > 0 and row["disk_mb"] > 0 for row in rows)
    assert "n log n" in figure.read_text(encoding="utf-8")
    assert len([*read_outcomes(tmp_path / "growth-1" / "journal")]) == rows[1]["outcomes"]
    assert min(growth.look(str(tmp_path / "growth-1")).values()) > 0
