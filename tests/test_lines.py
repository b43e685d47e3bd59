"""The lines of raised models, read from the journal, are those that the strategy has."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import Shell, make_folder
from test_results import make_run, outcome

import raysearch
from raysearch.core.segment import Event, Outcome, Segment, Status, segment_id
from raysearch.engine.leaderboard import Standings
from raysearch.report.sections import content_of
from raysearch.results.columns import Segments, Trials
from raysearch.results.lines import line_ends
from raysearch.run.journal_status import JournalStatus
from raysearch.space.space import Space
from raysearch.storage.journal.journal import Journal
from raysearch.storage.paths import RunPaths
from raysearch.strategies.panda.single import LineSearch

ITERATIONS = 60
SPACE = Space.from_dict({"lr": {"loguniform": [1e-3, 1.0]}})


def raised(seed: int, **settings: Any) -> tuple[Any, list[Outcome]]:
    """(a strategy that has ended, its outcomes): losses fall with the learning rate's luck; some spike."""
    rng = random.Random(seed)
    recipe = raysearch.Panda(max_iterations=ITERATIONS, **settings)
    strategy = recipe.start(SPACE, metric="loss", mode="min", seed=seed, baseline={"lr": 0.05})
    losses: dict[int | None, float] = {None: 3.0}
    told = []
    while not strategy.finished:
        segments = strategy.ask(8)
        rng.shuffle(segments)
        for segment in segments:
            told.append(trained(segment, losses, rng))
            strategy.tell(told[-1])
    return strategy, told


def trained(segment: Segment, losses: dict[int | None, float], rng: random.Random) -> Outcome:
    loss, curve = losses[segment.parent], []
    for _ in range(segment.stop - segment.start):
        loss *= 1 - 0.3 * min(0.3, segment.config["lr"]) + rng.gauss(0, 0.01)
        curve.append(loss)
    luck = rng.random()
    if luck < 0.06:
        return Outcome(segment, Status.DIVERGED, {"loss": [*curve[:-1], float("nan")]})
    if luck < 0.12:
        curve[-1] *= 50
    losses[segment.id] = curve[-1]
    return Outcome(segment, Status.COMPLETED, {"loss": curve})


def read(folder: Path, told: list[Outcome]) -> Segments:
    folder.mkdir()
    with Journal.create(folder / "journal") as journal:
        for one in told:
            journal.append([one])
    return Segments.read(folder / "journal", "loss", "min")


def ends_of(segments: Segments) -> list[int]:
    """Ids of the segments at which lines end."""
    rows = np.arange(len(segments))
    ends = line_ends(segments, Trials.group(segments, rows), rows, ITERATIONS)
    return [int(segments.integers("id")[row]) for row in ends]


@pytest.mark.parametrize("seed", range(6))
def test_at_every_moment_the_line_is_the_strategys_but_for_what_it_has_just_decided(
    seed: int, tmp_path: Path
) -> None:
    strategy, told = raised(seed)
    whole = read(tmp_path / "run", told)
    segments = {one.segment.id: one.segment for one in told}
    line = LineSearch(strategy.recipe, SPACE, "loss", "min", seed, {"lr": 0.05})
    line.ask(0)
    differed = 0
    for k, one in enumerate(told, 1):
        line.tell(one)
        if line.tip is None:
            continue
        found = ends_of(Segments(whole.table.slice(0, k), "loss", "min"))
        assert len(found) == 1
        tip, end = line.tip.segment, segments[found[0]]
        way = {end.id}
        while (parent := segments[min(way, key=lambda i: segments[i].start)].parent) is not None:
            way.add(parent)
        just_accepted = tip.event is Event.NUDGE and tip.parent in (end.parent, end.id)
        just_went_back = tip.id in way
        assert tip.id == end.id or just_accepted or just_went_back
        differed += tip.id != end.id
    assert differed < k / 2
    if not line.notes:  # it was not given up
        assert ends_of(whole) == [line.tip.segment.id]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"population": 4}, 4),
        ({"population": 8}, 8),
        ({"population": 4, "exploit": "challenge"}, 4),
        ({"population": 4, "exploit": "truncation"}, 4),
    ],
)
def test_a_population_has_as_many_lines_as_models(
    settings: dict[str, Any], most: int, tmp_path: Path
) -> None:
    strategy, told = raised(1, **settings)
    segments = read(tmp_path / "run", told)
    ends = ends_of(segments)
    at = {one.segment.id: (str(one.segment.event), one.segment.start, one.reached) for one in told}
    assert 1 <= len(ends) <= most, [at[end] for end in ends]
    leaves = Trials.group(segments, np.arange(len(segments))).leaves
    assert len(ends) < len(leaves)
    assert strategy.finished


def step(
    trial: int, ordinal: int, start: int, losses: list[float], event: Event, parent: int | None
) -> Outcome:
    made = outcome(trial, ordinal, start, losses, parent=parent)
    old = made.segment
    segment = Segment(old.id, trial, parent, old.config, start, old.stop, 7, f"{event}: because", event=event)
    return Outcome(segment, made.status, made.curve)


ROOT = step(0, 0, 0, [0.9, 0.8], Event.START, None)
HOLD = step(0, 1, 2, [0.7], Event.HOLD, ROOT.segment.id)
NUDGE = step(1, 0, 2, [0.5], Event.NUDGE, ROOT.segment.id)
REJECTED = step(0, 2, 3, [0.69], Event.REJECT, HOLD.segment.id)
BAD = step(0, 3, 4, [0.6, 0.6], Event.KEEP, REJECTED.segment.id)
BACK = step(2, 0, 3, [0.65], Event.ROLLBACK, HOLD.segment.id)
PANDA = "{name: panda, max_iterations: 9}"


@pytest.mark.parametrize(
    ("told", "trial", "value"),
    [
        ([ROOT, HOLD, NUDGE], 0, 0.7),  # nothing is decided yet: the arm that holds
        ([ROOT, NUDGE], 0, 0.8),  # the other arm is on its way
        ([ROOT, HOLD, NUDGE, REJECTED], 0, 0.69),
        ([ROOT, HOLD, NUDGE, REJECTED, BAD], 0, 0.6),
        ([ROOT, HOLD, NUDGE, REJECTED, BAD, BACK], 2, 0.65),  # shorter and higher, and all that is left
    ],
)
def test_neither_a_losing_probe_nor_what_was_taken_back_is_ever_best(
    told: list[Outcome], trial: int, value: float, tmp_path: Path
) -> None:
    results = make_run(tmp_path / "x", told, strategy=PANDA)
    best = results.best
    assert (best.trial, best.value) == (trial, value)
    lines = results.trials(lines=True)
    assert (lines["trial"].tolist(), lines["value"].tolist()) == ([trial], [value])
    assert results.lineage(trial)["reached"].tolist()[-1] == best.iteration == lines["iterations"].tolist()[0]
    assert len(results.trials()) == len({one.segment.trial for one in told})


def test_models_that_all_failed_are_shown_to_have(tmp_path: Path) -> None:
    failed = Outcome(ROOT.segment, Status.FAILED, {}, error="boom")
    lines = make_run(tmp_path / "x", [failed], strategy=PANDA).trials(lines=True)
    assert (lines["status"].tolist(), lines["error"].tolist()) == (["failed"], ["boom"])


def test_the_trials_of_caviar_are_as_they_were(tmp_path: Path) -> None:
    told = [outcome(0, 0, 0, [0.5]), outcome(1, 0, 0, [], status=Status.FAILED)]
    results = make_run(tmp_path / "x", told, strategy="{name: caviar, samples: 2, max_iterations: 3}")
    assert results.trials(lines=True).equals(results.trials())


def test_tables_show_the_line_and_say_how_to_see_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_folder(tmp_path))
    shell = Shell(tmp_path, capsys)
    results = make_run(tmp_path / "x", [ROOT, HOLD, NUDGE, REJECTED], strategy=PANDA)
    assert [row["trial"] for row in shell("trials", "x", "--json").json] == [0]
    assert [row["trial"] for row in shell("trials", "x", "--json", "--all").json] == [1, 0]
    assert "--all, or raysearch lineage x" in shell("trials", "x").words
    section = next(part for part in content_of(results).sections if part.key == "trials")
    assert section.title == "The line of the raised model"
    assert [row[0] for row in section.tables[0].rows] == ["0"]
    assert segment_id(0, 2) == REJECTED.segment.id


def test_while_a_search_goes_on_a_probe_is_not_shown_as_the_best(tmp_path: Path) -> None:
    told = [ROOT, HOLD, NUDGE]
    standings = Standings("loss", "min")
    for one in told:
        standings.fold(one)
    make_run(tmp_path / "x", told, strategy=PANDA)
    read = JournalStatus(RunPaths(tmp_path / "x").journal, "loss", "min")
    read.read()
    for best in (standings.furthest, read.snapshot().best):
        assert best is not None
        assert (best.trial, best.value) == (0, 0.7)
