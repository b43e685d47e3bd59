from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import os
import pty
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from raysearch.core.formatting import column, duration, number, rate, settings
from raysearch.core.segment import ORDINAL_BITS, Outcome, Status
from raysearch.engine.snapshot import BestSoFar, Live, RungCounts, Snapshot
from raysearch.engine.wind_down import ended_of
from raysearch.engine.worker_snapshot import WorkerSnapshot
from raysearch.run.display.pace import SETTLED_S, Pace
from raysearch.run.display.panel import EVERY_S, PlainDisplay, Screen, display_for
from raysearch.run.display.status_text import About, config_line, decision_line, workers_line
from raysearch.space import Space
from raysearch.space.domains import Uniform
from raysearch.strategies.base import cost_of
from raysearch.strategies.caviar import Caviar
from raysearch.strategies.cost import RungCost

FINALS = 32


def about(samples: int = 400, **changes: Any) -> About:
    recipe = Caviar(samples=samples, max_iterations=81, finish={"top": 3, "seeds": 8})  # type: ignore[arg-type]
    fields = {
        "run": "runs/digits",
        "strategy": "caviar",
        "metric": "loss",
        "mode": "min",
        "samples": samples,
        "plan": cost_of(recipe, has_baseline=True),
    }
    return About(**{**fields, **changes})


def worker(**changes: Any) -> WorkerSnapshot:
    calm = {
        "leases": 1,
        "current": "1.0",
        "segment": 1 << ORDINAL_BITS,
        "iteration": 1,
        "segments": 9,
        "busy_s": 8.0,
        "silent_s": 0.1,
        "lives": 1,
        "node": "",
        "level": 0,
    }
    return WorkerSnapshot(**{**calm, **changes})  # type: ignore[arg-type]


def snapshot(**changes: Any) -> Snapshot:
    """A search of 400 samples after 10 seconds."""
    of_live = {field.name for field in dataclasses.fields(Live)}
    live = Live(
        end=ended_of({"ending": changes.pop("ending", "")}),
        **{
            "seconds": 10.0,
            "life_s": changes.get("seconds", 10.0),
            "running": 2,
            "leased": 2,
            "workers": {"worker-0": worker(), "worker-1": worker()},
            **{name: value for name, value in changes.items() if name in of_live},
        },
    )
    empty = {
        "trials": 0,
        "finals": 0,
        "segments": {},
        "stops": 0,
        "rungs": (),
        "ended": {},
        "iterations": 0,
        "latest": None,
        "best": None,
        "busy_s": 16.0,
        "recent": (),
    }
    return Snapshot(live, **{**empty, **{n: v for n, v in changes.items() if n not in of_live}})


def rung(iteration: int, best: float | None = None, **counts: int) -> RungCounts:
    return RungCounts(iteration, counts, best)


def busy_snapshot(times: int = 1) -> Snapshot:
    """With something to show everywhere."""
    return snapshot(
        trials=312 * times,
        segments={"completed": 449 * times, "diverged": 3 * times, "failed": 1, "lost": 2},
        ended={"completed": 449 * times, "diverged": 3 * times, "failed": 1},
        rungs=[
            rung(1, 0.5213, completed=309 * times, diverged=3 * times),
            rung(3, 0.30112, completed=100 * times),
            rung(9, 0.2, completed=31 * times),
            rung(27, 0.1, completed=9 * times, failed=1),
            rung(81, 0.08123456, completed=2 * times),
        ],
        best=BestSoFar(
            trial=245 * times,
            segment=1,
            value=0.08123456,
            iteration=81,
            config={"optimizer": "adamw", "lr": 0.00316227766, "layers": 2, "model": {"width": 64.0}},
        ),
        recent=["245.3: rung 27: rank 1 of 9, promoted", "246.2: " + "a long reason " * 20],
        warnings={"checkpoint 12.3-abc could not be read (EOFError); grown again from its parent": 3},
    )


def drawn(screen: Screen, width: int = 80, height: int = 24) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, height=height).print(screen)
    return out.getvalue().splitlines()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def plain(clock: Callable[[], float], **changes: Any) -> tuple[PlainDisplay, io.StringIO]:
    out = io.StringIO()
    return PlainDisplay(Console(file=out, width=80), about(**changes), now=clock), out


# ---- figures


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0812345, "0.08123"),
        (12345.678, "12,346"),
        (1.2345e-5, "1.234e-5"),
        (3e-4, "3e-4"),
        (0.0, "0.0"),
        (-0.5, "-0.5000"),
        (1_000_000, "1,000,000"),
        (math.nan, "-"),
        (None, "-"),
        (math.inf, "inf"),
        (True, "True"),
        ("adamw", "adamw"),
    ],
)
def test_a_number_has_four_significant_digits(value: Any, text: str) -> None:
    assert number(value) == text


def test_a_column_has_the_same_decimals_throughout_and_nothing_for_nan() -> None:
    assert column([1.5, 0.08123456, None, math.nan]) == ["1.50000", "0.08123", "-", "-"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0s"), (59.6, "1m 00s"), (83, "1m 23s"), (7500, "2h 05m"), (273_600, "3d 04h")],
)
def test_a_duration_has_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("per_s", "text"),
    [
        (12_345.6, "12,346 trials/s"),
        (18.23, "18.2 trials/s"),
        (0.07, "4.2 trials/min"),
        (0.001, "3.6 trials/h"),
    ],
)
def test_a_rate_has_the_unit_that_gives_a_readable_number(per_s: float, text: str) -> None:
    assert rate(per_s) == text


def test_settings_are_short_and_groups_flat() -> None:
    config = {"lr": 0.0031622776601683794, "width": 64.0, "n": 12345, "flag": True, "model": {"act": "relu"}}
    assert settings(config) == {
        "lr": "0.003162",
        "width": "64",
        "n": "12345",
        "flag": "True",
        "model/act": "relu",
    }


# ---- the plan


def test_the_plan_of_halving_in_thirds() -> None:
    plan = cost_of(Caviar(samples=400, max_iterations=81, finish=None), has_baseline=True)
    assert plan is not None
    assert [(s.iteration, s.trials, s.iterations) for s in plan.steps] == [
        (1, 400, 400),
        (3, 133, 266),
        (9, 44, 264),
        (27, 14, 252),
        (81, 4, 216),
    ]
    assert plan.iterations == 1398
    assert plan.full_trainings == pytest.approx(1398 / 81)
    assert plan.share == pytest.approx(1398 / 81 / 400)


def test_the_finish_trains_the_best_and_the_baseline_to_the_end_on_each_seed() -> None:
    with_baseline = cost_of(Caviar(samples=400, max_iterations=81), has_baseline=True)
    without = cost_of(Caviar(samples=400, max_iterations=81), has_baseline=False)
    assert with_baseline is not None
    assert without is not None
    seeds = Caviar(samples=1, max_iterations=1).finish.seeds  # type: ignore[union-attr]
    assert (with_baseline.finals, without.finals) == (4 * seeds, 3 * seeds)
    assert with_baseline.iterations - without.iterations == 81 * seeds


def test_brackets_share_the_samples_and_begin_at_higher_rungs() -> None:
    plan = cost_of(Caviar(samples=100, max_iterations=9, min_iterations=1, brackets=3, finish=None), False)
    assert plan is not None
    assert sum(step.iterations for step in plan.steps) == plan.iterations
    lowest = plan.steps[0]
    assert lowest.trials < 100
    assert plan.steps[-1].trials > 100 // 9
    assert plan.left(snapshot()) is None


def test_a_strategy_that_names_no_rungs_has_no_plan() -> None:
    class Plain:
        name = "plain"
        samples = 10

    assert cost_of(Plain(), has_baseline=False) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", ["promotion", "stopping"])
def test_a_search_costs_at_least_about_what_its_plan_says(variant: Any) -> None:
    recipe = Caviar(samples=600, max_iterations=81, variant=variant, sampler="random")
    plan = cost_of(recipe, has_baseline=False)
    assert plan is not None
    rng = random.Random(1)
    search = recipe.start(Space({"x": Uniform(0.0, 1.0)}), metric="loss", mode="min", seed=1)
    trained = 0
    while not search.finished:
        for segment in search.ask(4):
            trained += segment.stop - segment.start
            losses = [segment.config["x"] + rng.gauss(0, 0.2) for _ in range(segment.start, segment.stop)]
            search.tell(Outcome(segment, Status.COMPLETED, {"loss": losses}))
    assert 0.9 * plan.iterations < trained < 1.4 * plan.iterations


def test_what_is_left_is_the_plan_minus_what_ended() -> None:
    plan = about().plan
    assert isinstance(plan, RungCost)
    assert plan.left(snapshot()) == plan.iterations
    halfway = snapshot(rungs=[rung(1, completed=190, failed=10), rung(3, completed=20)])
    assert plan.left(halfway) == plan.iterations - 200 - 40
    assert plan.done(halfway) == 240
    assert plan.left(snapshot(finals=FINALS)) == plan.iterations - FINALS * 81


def test_more_promotions_than_planned_count_as_done_and_lead_to_more() -> None:
    plan = about().plan
    assert plan is not None
    rungs = [rung(1, completed=400), rung(3, completed=180)]
    assert plan.left(snapshot(rungs=rungs)) == 60 * 6 + 20 * 18 + 6 * 54 + FINALS * 81


# ---- pace


def test_the_time_left_is_the_iterations_left_at_the_pace_of_this_life() -> None:
    pace, plan = Pace(about().plan), about().plan
    assert plan is not None
    pace.note(snapshot(seconds=2.0, rungs=[rung(1, completed=100)]))
    later = snapshot(seconds=12.0, rungs=[rung(1, completed=300)])
    pace.note(later)
    left = plan.left(later)
    assert left is not None
    assert pace.seconds_left == pytest.approx(left / 20)


def test_no_time_left_is_guessed_early_without_a_plan_or_without_progress() -> None:
    early, unplanned, still = Pace(about().plan), Pace(None), Pace(about().plan)
    for pace in (early, unplanned, still):
        pace.note(snapshot(seconds=0.0))
    early.note(snapshot(seconds=SETTLED_S - 1, rungs=[rung(1, completed=300)]))
    unplanned.note(snapshot(seconds=100.0, rungs=[rung(1, completed=300)]))
    still.note(snapshot(seconds=100.0))
    assert [early.seconds_left, unplanned.seconds_left, still.seconds_left] == [None, None, None]


def test_trials_a_second_are_those_of_the_last_seconds() -> None:
    pace = Pace(None)
    assert pace.per_s is None
    for second in range(101):
        pace.note(snapshot(seconds=float(second), trials=0 if second < 50 else (second - 50) * 30))
    assert pace.per_s == pytest.approx(30.0)


# ---- the panel


@pytest.mark.parametrize("times", [1, 2500])
def test_the_panel_fits_eighty_columns_and_twenty_four_rows_at_any_size(times: int) -> None:
    screen = Screen(about(400 * times))
    screen.show(busy_snapshot(times))
    lines = drawn(screen)
    assert max(map(len, lines)) == 80
    assert len(lines) <= 24
    text = "\n".join(lines)
    assert (
        f"{312 * times:,} of {400 * times:,} · {2 * times:,} at full length · {3 * times:,} diverged" in text
    )
    assert f"loss 0.08123 at iteration 81, trial {245 * times:,}" in text
    assert "lr\N{NO-BREAK SPACE}0.003162" in text
    assert "(3 times)" in text


def test_the_rung_table_is_aligned() -> None:
    screen = Screen(about(400_000))
    screen.show(busy_snapshot(1000))
    rows = [line for line in drawn(screen) if line.split()[1:2] in (["1"], ["81"])]
    assert [row.split()[1:6] for row in rows] == [
        ["1", "309,000", "3,000", "0", "0.52130"],
        ["81", "2,000", "0", "0", "0.08123"],
    ]
    assert rows[0].index("309,000") + 7 == rows[1].index("2,000") + 5
    assert rows[0].index("0.52130") == rows[1].index("0.08123")


def test_of_many_rungs_the_lowest_and_the_highest_are_shown() -> None:
    screen = Screen(about())
    screen.show(snapshot(rungs=[rung(i, 1 / i, completed=1000 - i) for i in range(1, 101)]))
    shown = [line.split()[1] for line in drawn(screen) if line.split()[2:3] and line.split()[2][0].isdigit()]
    assert [s for s in shown if s.isdigit()] == ["1", "2", "96", "97", "98", "99", "100"]


def test_a_users_text_is_not_taken_for_markup() -> None:
    screen = Screen(about(run="runs/[red]x"))
    screen.show(snapshot(warnings={"[bold]odd[/] text": 1}, recent=["1.0: [link] reason"]))
    text = "\n".join(drawn(screen))
    for part in ("runs/[red]x", "[bold]odd[/] text", "1.0: [link] reason"):
        assert part in text


def test_the_first_ctrl_c_is_answered_with_what_happens_and_what_a_second_does() -> None:
    screen = Screen(about())
    screen.show(snapshot(ending="stopped by Ctrl-C"))
    text = " ".join(" ".join(drawn(screen)).replace("│", " ").split())
    assert "stopped by Ctrl-C: finishing the iterations that are running. Ctrl-C again ends at once" in text


def test_elapsed_time_goes_on_between_snapshots_until_the_end() -> None:
    clock = Clock()
    screen = Screen(about(), now=clock)
    screen.show(snapshot(seconds=10.0))
    clock.now = 3.0
    assert any("time     13s" in line for line in drawn(screen))
    screen.show(snapshot(seconds=13.0, ending="complete", running=0))
    clock.now = 60.0
    assert any("time     13s" in line for line in drawn(screen))


def test_the_time_of_a_run_that_was_gone_on_with_is_that_of_all_its_lives() -> None:
    screen = Screen(about(), now=Clock())
    screen.show(snapshot(seconds=190.0, life_s=10.0))
    assert any("time     3m 10s · 10s of it in this life" in line for line in drawn(screen))
    assert workers_line(snapshot(seconds=190.0, life_s=10.0)) == "2 of 2 training · 80% busy"


def test_workers_that_are_silent_or_were_restarted_are_mentioned() -> None:
    workers = {"a": worker(), "b": worker(silent_s=22.0, lives=3), "c": worker(silent_s=50.0, leases=0)}
    assert (
        workers_line(snapshot(workers=workers))
        == "2 of 3 training · 80% busy · 2 restarted · b silent for 22s"
    )


def test_no_busy_share_is_claimed_while_segments_are_too_long_to_tell() -> None:
    assert workers_line(snapshot(workers={"a": worker(segments=1, busy_s=0.0)})) == "2 of 1 training"


def test_a_decision_of_the_finish_is_shown_without_its_number() -> None:
    assert decision_line("12.3: rung 27: rank 1 of 9") == "12.3: rung 27: rank 1 of 9"
    assert decision_line("1099511628738.0: finalist: rank 3") == "finalist: rank 3"


def test_a_name_and_its_value_stay_on_one_line() -> None:
    assert config_line({"a": 1, "b": "x"}) == "a\N{NO-BREAK SPACE}1, b\N{NO-BREAK SPACE}x"


# ---- lines


def test_lines_come_every_few_seconds_and_only_when_something_changed() -> None:
    clock = Clock()
    display, out = plain(clock)
    for second in range(20):
        clock.now = float(second)
        display(snapshot(seconds=float(second), trials=min(second, 12)))
    lines = out.getvalue().splitlines()
    assert [line.split(" of ")[0] for line in lines] == [f"[{t}s] {t}" for t in (0, 5, 10)] + ["[15s] 12"]
    assert EVERY_S == 5.0


def test_lines_hold_no_escape_codes_and_are_not_wrapped() -> None:
    display, out = plain(Clock())
    with display:
        display(busy_snapshot())
    first, warning, line = out.getvalue().splitlines()
    assert first == "runs/digits: caviar · loss, lower is better"
    assert warning.startswith("warning: checkpoint 12.3-abc")
    assert "best 0.08123 (trial 245, iteration 81)" in line
    assert len(line) > 80
    assert "\x1b" not in out.getvalue()


def test_a_warning_is_printed_once_and_the_end_at_once() -> None:
    display, out = plain(Clock())
    display(snapshot(warnings={"odd": 1}))
    display(snapshot(warnings={"odd": 2}, trials=5))
    display(snapshot(warnings={"odd": 3}, trials=7, running=0, ending="the budget of 7 trials is used up"))
    lines = out.getvalue().splitlines()
    assert lines.count("warning: odd") == 1
    assert "7 of 400" in lines[-2]
    assert lines[-1] == "the budget of 7 trials is used up"


def test_lines_where_there_is_no_terminal_or_it_is_shared() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True)
    assert type(display_for(terminal, about())).__name__ == "LiveDisplay"
    assert type(display_for(terminal, about(), shared=True)).__name__ == "PlainDisplay"
    assert type(display_for(Console(file=io.StringIO()), about())).__name__ == "PlainDisplay"


FROM_PYTHON = """
import sys
from pathlib import Path
import raysearch
import trainables

for name in sys.argv[2:]:
    print(raysearch.search(
        trainables.Walk, space={"rate": {"uniform": [0.0, 1.0]}}, metric="loss", mode="min",
        executor="inline", strategy=raysearch.Caviar(samples=2, max_iterations=2, finish=None),
        storage=sys.argv[1], name=name, progress=name != "quiet"))
"""
TESTS = str(Path(__file__).parent)


def from_python(storage: Path) -> tuple[list[str], dict[str, str]]:
    """The command of two searches one after the other, the second without progress, and its environment."""
    paths = os.pathsep.join([TESTS, str(Path(TESTS).parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", FROM_PYTHON, str(storage), "seen", "quiet"]
    return command, {**os.environ, "PYTHONPATH": paths, "TERM": "xterm"}


def test_a_search_from_python_says_lines_where_there_is_no_terminal(storage: Path) -> None:
    command, env = from_python(storage)
    said = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stderr
    first, second, *_, last = said.splitlines()
    assert first.endswith("seen: caviar · loss, lower is better")
    assert second == "[0s] importing the trainable and starting the workers"
    assert "2 of 2" in last
    assert (storage / "quiet").is_dir()
    assert "quiet" not in said
    assert said.count("2 of 2") == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the kernel and its client, which are not ours
def test_a_search_in_a_notebook_is_shown_as_one_output_that_is_drawn_anew(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    cells = [
        nbformat.v4.new_code_cell(
            f"import sys; sys.argv = ['', 'runs', {name!r}]; sys.path.append({TESTS!r})" + FROM_PYTHON
        )
        for name in ("seen", "quiet")
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown, quiet = (
        [one.data["text/html"] for one in cell.outputs if one.output_type == "display_data"]
        for cell in notebook.cells
    )
    assert len(shown) == 1
    assert "caviar · loss, lower is better" in shown[0]
    assert "2 of 2" in shown[0], "the last drawing is that of the end"
    assert quiet == []
    assert (tmp_path / "runs" / "quiet").is_dir()


def test_a_search_from_python_is_shown_on_a_terminal_unless_told_otherwise(storage: Path) -> None:
    ours, theirs = pty.openpty()
    command, env = from_python(storage)
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=env)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # Linux says so that the other side is closed
        while block := os.read(ours, 1 << 16):
            said += block
    os.close(ours)
    text = said.decode()
    assert process.wait() == 0, text
    seen, quiet, _ = text.split("Results(")
    assert "seen: caviar · loss, lower is better" in seen
    assert seen.index("caviar · loss") < seen.index("2 of 2")
    assert "caviar" not in quiet
