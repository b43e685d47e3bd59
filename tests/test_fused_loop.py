"""A worker that trains packs: what it hands in is what one model at a time would hand in."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import learners
import pytest
from scripted import Scripted

from raysearch.core.segment import Outcome, Segment, Status, segment_id
from raysearch.engine.limits import Limits
from raysearch.engine.messages import Lease, Reply, Turn
from raysearch.engine.search import Search
from raysearch.fused import checkpoint_files
from raysearch.fused.pack import Pack
from raysearch.space import Space
from raysearch.storage.checkpoints.local import Checkpoints
from raysearch.strategies.caviar import Caviar
from raysearch.worker.host import Host
from raysearch.worker.job import Job
from raysearch.worker.packed_loop import FusedLoop, fused_loop
from raysearch.worker.shipping import ship

FIXED = {"batch_size": 16, "weight_decay": 1e-3, "optimizer": "adamw"}
SAMPLES = tuple(
    {**FIXED, "lr": lr, "dropout": d, "smoothing": 0.1, "seed": 0} for lr, d in ((0.1, 0.1), (0.01, 0.5))
)


@dataclass
class Straight:
    """A link to a search in this process, which notes what is said."""

    search: Search
    turns: list[Turn] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def send(self, turn: Turn) -> Straight:
        self.turns.append(turn)
        self.outcomes += turn.outcomes
        for name, segment, cause in turn.unreadable:
            self.search.checkpoint_lost(name, segment, cause)
        self.reply = self.search.exchange(turn.worker, turn.outcomes, turn.want, 0.0, turn.holding)
        return self

    def ready(self) -> bool:
        return True

    def get(self) -> Reply:
        return self.reply


@dataclass
class Worker:
    """One worker and all that belongs to it."""

    link: Straight
    loop: FusedLoop
    checkpoints: Checkpoints
    remarks: list[str]

    def run(self) -> dict[int, Outcome]:
        while not self.loop.run(time.monotonic() + 5.0):
            pass
        return {o.segment.id: o for o in self.link.outcomes if o.status is not Status.LOST}


def job_of(learner: type[Any], **changes: Any) -> Job:
    fields = {"constants": FIXED, "seed_as": "seed", "samples": SAMPLES, **changes}
    return Job("", ship(learner), "val_loss", "min", is_fused=True, **fields)


def worker(strategy: Any, folder: Path, learner: type[Any] = learners.Perceptron, **changes: Any) -> Worker:
    checkpoints = Checkpoints(folder / "checkpoints")
    search = Search(
        strategy, metric="val_loss", mode="min", checkpoints=checkpoints, limits=Limits(retries=0)
    )
    link, remarks = Straight(search), list[str]()
    job = job_of(learner, **changes)
    loop = fused_loop(job, "w", learner, checkpoints, link, folder / "scratch", remarks.append)
    assert loop is not None, remarks
    return Worker(link, loop, checkpoints, remarks)


def config(trial: int, **changes: Any) -> dict[str, Any]:
    return {"lr": 0.003 * (trial + 1), "dropout": 0.1 * (trial % 4), "smoothing": 0.02 * trial, **changes}


def segment(trial: int, start: int, stop: int, parent: Segment | None = None, **changes: Any) -> Segment:
    ordinal = 0 if parent is None else (parent.id & 0xFF) + 1
    above = None if parent is None else parent.id
    return Segment(
        segment_id(trial, ordinal),
        trial,
        above,
        config(trial, **changes),
        start,
        stop,
        100 + trial,
        "as told",
    )


def alone(
    path: list[Segment], folder: Path, learner: type[Any] = learners.Perceptron
) -> dict[str, list[float]]:
    """The last segment's curve, trained by itself from a fresh model."""
    host = Host(learner, metric="val_loss", scratch=folder, constants=FIXED, seed_as="seed")
    return host.train(Lease(path[-1], None, None, tuple(path[:-1])), None, lambda iteration: False).curve


def same(curve: Any, expected: Any) -> bool:
    return all(
        curve[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5)
        for name in ("train_loss", "val_loss")
    )


def test_every_segment_of_a_search_has_the_curve_that_it_has_alone(tmp_path: Path) -> None:
    space = Space.from_dict(
        {
            "lr": {"loguniform": [1e-4, 3e-2]},
            "dropout": {"uniform": [0, 0.5]},
            "smoothing": {"uniform": [0, 0.2]},
        }
    )
    recipe = Caviar(samples=30, max_iterations=9, min_iterations=1, sampler="random", finish=None)
    strategy = recipe.start(space, metric="val_loss", mode="min", seed=3)
    told = worker(strategy, tmp_path).run()
    assert {o.status for o in told.values()} == {Status.COMPLETED}
    assert sum(o.segment.stop == 9 for o in told.values()) >= 1
    for outcome in told.values():
        path, step = [outcome.segment], outcome.segment
        while step.parent is not None:
            step = told[step.parent].segment
            path.insert(0, step)
        assert same(outcome.curve, alone(path, tmp_path / "alone")), outcome.segment


def test_models_of_several_structures_train_in_packs_of_their_own(tmp_path: Path) -> None:
    todo = [
        segment(t, 0, 1 + t % 3, hidden=(4, 8)[t % 2], batch_size=(16, 30)[t % 3 == 0]) for t in range(12)
    ]
    fixed = {k: v for k, v in FIXED.items() if k != "batch_size"}
    told = worker(Scripted(todo), tmp_path, constants=fixed).run()
    assert [len(told[s.id].curve["val_loss"]) for s in todo] == [1 + t % 3 for t in range(12)]
    host = Host(
        learners.Perceptron, metric="val_loss", scratch=tmp_path / "h", constants=fixed, seed_as="seed"
    )
    for of in todo:
        assert same(told[of.id].curve, host.train(Lease(of), None, lambda i: False).curve)


def test_a_promotion_goes_on_from_memory_and_elsewhere_from_its_checkpoint(tmp_path: Path) -> None:
    first = [segment(t, 0, 2) for t in range(3)]
    then = [segment(t, 2, 4, parent) for t, parent in enumerate(first)]
    here = worker(Scripted([*first, *then], keep=[s.id for s in first]), tmp_path / "a")
    told = here.run()
    for parent, of in zip(first, then, strict=True):
        assert same(told[of.id].curve, alone([parent, of], tmp_path / "alone"))
    leases = [
        Lease(of, told[parent.id].checkpoint, parent.id) for parent, of in zip(first, then, strict=True)
    ]
    assert all(lease.checkpoint is not None for lease in leases)
    stranger = worker(Scripted([]), tmp_path / "b")
    stranger.loop._crew._checkpoints = here.checkpoints
    stranger.loop._queue.extend(leases)
    stranger.loop._take_on()
    team = stranger.loop._crew.next_team()
    assert team is not None
    stranger.loop._crew.iterate(team)
    leavers = {leaver.lease.segment.id: leaver for leaver in stranger.loop._crew.iterate(team)}
    for of in then:
        assert same(leavers[of.id].trained.curve, told[of.id].curve)


def test_models_saved_together_share_a_file_and_are_read_one_by_one(tmp_path: Path) -> None:
    todo = [segment(t, 0, 2) for t in range(3)]
    done = worker(Scripted(todo, keep=[s.id for s in todo]), tmp_path)
    told = done.run()
    folders = [done.checkpoints.path(told[s.id].checkpoint or "") for s in todo]
    assert len({(folder / checkpoint_files.ROWS).stat().st_ino for folder in folders}) == 1
    done.checkpoints.delete([folders[0].name])
    for of, folder in zip(todo[1:], folders[1:], strict=True):
        one = learners.Perceptron(config={**FIXED, **config(of.trial), "seed": of.seed})
        one.load_checkpoint(str(folder))
        row, report = one._alone.row(), one.step()
        expected = learners.Perceptron(config={**FIXED, **config(of.trial), "seed": of.seed})
        curve = [expected.step()["val_loss"] for _ in range(3)]
        assert report["val_loss"] == pytest.approx(curve[-1], rel=1e-4)
        restored = learners.Perceptron.restored(folder)
        assert restored[0].weight.flatten().tolist() == pytest.approx(row.parameters[: 12 * 16].tolist())


def test_ancestors_without_a_checkpoint_are_grown_again_on_the_way(tmp_path: Path) -> None:
    first = segment(0, 0, 2)
    then = segment(0, 2, 3, first, lr=0.05)
    last = segment(0, 3, 5, then, lr=0.001)
    one = worker(Scripted([]), tmp_path)
    one.loop._queue.append(Lease(last, None, None, (first, then)))
    one.loop._take_on()
    leavers: list[Any] = []
    while not leavers:
        team = one.loop._crew.next_team()
        assert team is not None
        leavers = one.loop._crew.iterate(team)
    assert len(leavers[0].trained.curve["val_loss"]) == 2
    assert same(leavers[0].trained.curve, alone([first, then, last], tmp_path / "alone"))


def test_a_torn_checkpoint_is_told_and_the_segment_grown_again(tmp_path: Path) -> None:
    (first,) = todo = [segment(0, 0, 2)]
    then = segment(0, 2, 4, first)
    one = worker(Scripted([*todo, then], keep=[first.id]), tmp_path)
    one.loop._crew.paused.put = lambda *args: None  # type: ignore[method-assign]
    send = one.link.send

    def tear(turn: Turn) -> Straight:
        for outcome in turn.outcomes:
            if outcome.segment.id == first.id and outcome.checkpoint:
                rows = one.checkpoints.path(outcome.checkpoint) / checkpoint_files.ROWS
                rows.write_bytes(rows.read_bytes()[:100])
        return send(turn)

    one.link.send = tear  # type: ignore[method-assign]
    told = one.run()
    assert same(told[then.id].curve, alone([first, then], tmp_path / "alone"))
    unreadable = [u for turn in one.link.turns for u in turn.unreadable]
    assert [(u[0], u[1]) for u in unreadable] == [(told[first.id].checkpoint, first.id)]


def test_a_model_that_diverges_or_cannot_be_made_ends_alone(tmp_path: Path) -> None:
    class Picky(learners.Diverging):
        def model(self, config: Any) -> Any:
            if config["bad"] < 0:
                raise ValueError("bad must not be negative")
            return super().model(config)

    todo = [segment(t, 0, 2, bad=bad) for t, bad in enumerate((0.0, 1.0, -1.0, 0.0))]
    todo.append(segment(4, 0, 2, bad=0.0, warmup_steps=3, schedule="cosine"))
    samples = tuple({**s, "bad": 0.0} for s in SAMPLES)
    told = worker(Scripted(todo), tmp_path, Picky, samples=samples).run()
    statuses = [told[s.id].status for s in todo]
    assert statuses == [Status.COMPLETED, Status.DIVERGED, Status.FAILED, Status.COMPLETED, Status.FAILED]
    assert "schedule: cosine needs total_steps" in told[todo[4].id].error
    assert told[todo[1].id].error == "val_loss was nan at iteration 1"
    assert told[todo[2].id].error == "ValueError: bad must not be negative"
    assert len(told[todo[3].id].curve["val_loss"]) == 2


def test_a_metric_that_is_not_reported_fails_with_those_that_were(tmp_path: Path) -> None:
    class Silent(learners.Perceptron):
        def metrics(self, model: Any, batch: Any) -> Any:
            return {"accuracy": super().metrics(model, batch)["val_accuracy"]}

        paired: ClassVar = {}

    told = worker(Scripted([segment(0, 0, 2)]), tmp_path, Silent).run()
    (outcome,) = told.values()
    assert outcome.error.startswith(
        "TrainableError: metric 'val_loss' was never reported; reported were: accuracy, train_loss. If it "
    )


def test_models_that_cannot_train_together_are_told_and_left_to_the_other_loop(tmp_path: Path) -> None:
    remarks: list[str] = []
    search = Search(Scripted([]), metric="val_loss", mode="min")
    args = (
        job_of(learners.Recurrent),
        "w",
        learners.Recurrent,
        Checkpoints(tmp_path),
        Straight(search),
        tmp_path,
    )
    assert fused_loop(*args, remarks.append) is None
    assert remarks[0].startswith(
        "models are trained one at a time: module recur (GRU) cannot be trained in a pack"
    )


def test_what_is_asked_for_fills_what_the_next_iteration_will_free(tmp_path: Path) -> None:
    todo = [segment(t, 0, 1) for t in range(80)]
    one = worker(Scripted(todo), tmp_path)
    one.run()
    sizes = [len(turn.outcomes) for turn in one.link.turns if turn.outcomes]
    assert sizes[:4] == [4] * 4  # the first width, while it is found out whether packs pay
    assert sum(sizes) == 80


def test_the_job_of_a_turn_says_all_that_is_in_hand(tmp_path: Path) -> None:
    todo = [segment(t, 0, 3) for t in range(4)]
    one = worker(Scripted(todo), tmp_path)
    one.loop.run(time.monotonic())  # takes the first answer
    one.loop._take_on()
    assert {lease.segment.id for lease in one.loop.held()} == {s.id for s in todo}
    one.loop.drop()
    assert one.loop.held() == ()


def test_models_told_to_leave_are_saved_as_they_stand_and_go_on_elsewhere(tmp_path: Path) -> None:
    todo = [segment(trial, 0, 3 + trial) for trial in range(4)]
    first = worker(Scripted(todo), tmp_path)
    iterate, turns = first.loop._crew.iterate, []

    def iterating(team: Any) -> Any:
        turns.append(team)
        if len(turns) == 2:
            first.loop.leaving = "was told to go (SIGTERM)"
        return iterate(team)

    first.loop._crew.iterate = iterating  # type: ignore[method-assign]
    first.run()
    begun = {o.segment.id: o for o in first.link.outcomes if o.status is Status.LOST}
    assert begun.keys() == {s.id for s in todo}
    assert first.link.turns[-1].leaving
    assert begun[todo[2].id].error == "its worker was told to go (SIGTERM); it goes on from iteration 2 of 5"
    second = worker(Scripted([]), tmp_path)
    second.link.search = first.link.search
    second.loop.name = "v"
    told = second.run()
    for asked in todo:
        assert len(begun[asked.id].curve["val_loss"]) == 2
        assert same(told[asked.id].curve, alone([asked], tmp_path / "alone"))


def test_packs_that_are_empty_are_gone_and_what_was_found_of_them_is_not(tmp_path: Path) -> None:
    segments = [segment(trial, 0, 2, hidden=4 + trial) for trial in range(5)]
    one = worker(Scripted(segments), tmp_path)
    told = one.run()
    assert {o.status for o in told.values()} == {Status.COMPLETED}
    assert one.loop._crew.next_team() is None
    gc.collect()
    assert [each for each in gc.get_objects() if type(each) is Pack] == []
    assert len(one.loop._crew._widths) == 5


def test_a_model_whose_configuration_lacks_a_number_of_its_neighbours_has_its_own_loss(
    tmp_path: Path,
) -> None:
    segments = [segment(trial, 0, 3) for trial in range(4)]
    segments[1::2] = [
        replace(each, config={k: v for k, v in each.config.items() if k != "smoothing"})
        for each in segments[1::2]
    ]
    told = worker(Scripted(segments), tmp_path).run()
    for each in segments:
        assert same(told[each.id].curve, alone([each], tmp_path / "alone")), each
