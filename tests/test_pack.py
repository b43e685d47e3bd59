"""A pack: every model in it has the numbers that it has alone, whatever happens around it."""

from __future__ import annotations

import math
import traceback
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import learners
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch.core.library_errors import is_out_of_memory
from raysearch.fused import evaluation, op_list, traced_shapes, traced_step
from raysearch.fused.contract import PackMember, Report
from raysearch.fused.data import Data
from raysearch.fused.member import member
from raysearch.fused.pack import Pack
from raysearch.fused.pack_width import FEW, MEASURED, STRETCH, Width
from raysearch.fused.packed_state import ModelRow
from raysearch.fused.plan import make_plan
from raysearch.fused.single import Alone, fresh
from raysearch.fused.structure import Lifting, lifted_values, structure_of

CPU = torch.device("cpu")
LIFTED = Lifting(frozenset({(learners._Attention, "rate"), (learners._Sloped, "temperature")}))
KNOWN: dict[Any, traced_shapes.Traces] = {}  # as a worker has it: for all packs of a structure
RULES: list[dict[str, Any]] = [
    {"optimizer": "sgd", "momentum": 0.9},
    {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
    {"optimizer": "adam"},
    {"optimizer": "adamw", "clip_norm": 0.5},
    {"optimizer": "lion", "ema_decay": 0.9},
]


@pytest.fixture(scope="module", params=[0, 1 << 30], ids=["traced", "as written"], autouse=True)
def patience(request: pytest.FixtureRequest) -> Iterator[int]:
    """Steps before one is written down as a list of operations: everything holds with and without."""
    before = traced_step.PATIENCE, evaluation.PATIENCE
    traced_step.PATIENCE = evaluation.PATIENCE = request.param
    yield request.param
    traced_step.PATIENCE, evaluation.PATIENCE = before


def data_of(learner: Any) -> Data:
    return learner.prepared()[0]


class Group:
    """A pack and what it takes to put models into it."""

    def __init__(self, learner: type[Any], config: dict[str, Any]) -> None:
        self.learner = learner.plain()
        self.data = data_of(learner)
        model = fresh(self.learner, config, 0)
        first = member(self.learner, config, 0)
        self.structure = structure_of(model, first, LIFTED)
        known = KNOWN.setdefault((learner, self.structure, traced_step.PATIENCE), traced_shapes.Traces())
        self.pack = Pack(self.learner, self.data, CPU, model, self.structure, first, LIFTED, known)

    def join(self, config: dict[str, Any], seed: int) -> None:
        model = fresh(self.learner, config, seed)
        mine = member(self.learner, config, seed)
        assert structure_of(model, mine, LIFTED) == self.structure
        self.pack.join(mine, self.pack.layout.row_of(model), lifted_values(model, self.structure))

    def join_again(self, row: ModelRow, old: PackMember) -> None:
        model = fresh(self.learner, old.config, old.seed)
        mine = member(self.learner, old.config, old.seed, old.at)
        self.pack.join(mine, row, lifted_values(model, self.structure))

    def alone(self, config: dict[str, Any], seed: int, iterations: int) -> tuple[ModelRow, Report]:
        one = Alone(self.learner, self.data, CPU, config, seed)
        reports = [one.iterate() for _ in range(iterations)]
        return one.row(), reports[-1]


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one - other).norm().item() / max(other.norm().item(), 1e-12)


def agree(report: Report, alone: Report, row: ModelRow, expected: ModelRow, tolerance: float = 1e-4) -> None:
    assert distance(row.parameters, expected.parameters) <= tolerance
    for name, value in expected.kept.items():
        assert distance(row.kept[name].float(), value.float()) <= tolerance
    assert report.keys() == alone.keys()
    for name, value in alone.items():
        if isinstance(value, dict):
            assert report[name] == pytest.approx(value, rel=tolerance, abs=tolerance)
        else:
            assert report[name] == pytest.approx(value, rel=tolerance, abs=1e-6 if "loss" in name else 0.021)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: "-".join(map(str, r.values())))
@pytest.mark.parametrize(
    "learner",
    [
        learners.Perceptron,
        learners.Convolutional,
        learners.Signal,
        learners.Attending,
        learners.Normed,
        learners.Sloped,
        learners.Tied,
        learners.Padded,
    ],
    ids=lambda c: c.__name__,
)
def test_a_model_in_a_pack_has_the_numbers_that_it_has_alone(
    learner: type[Any], rule: dict[str, Any]
) -> None:
    configs = [
        {**learners.CONFIG, **rule, "lr": lr, "dropout": d, "smoothing": s, "temperature": 0.5 + d}
        for lr, d, s in ((1e-3, 0.05, 0.0), (1e-2, 0.3, 0.1), (3e-3, 0.6, 0.2))
    ]
    group = Group(learner, configs[0])
    for seed, config in enumerate(configs):
        group.join(config, seed)
    for _ in range(4):
        reports = group.pack.iterate()
    assert group.pack.trouble == ""
    for place, (row, report) in enumerate(zip(group.pack.take([0, 1, 2]), reports, strict=True)):
        assert isinstance(report, dict)
        expected, alone = group.alone(configs[place], place, 4)
        agree(report, alone, row, expected)


@pytest.mark.slow
def test_two_hundred_steps_in_a_pack_stay_within_a_ten_thousandth_of_the_model_alone() -> None:
    configs = [
        {
            **learners.CONFIG,
            "lr": lr,
            "dropout": 0.2,
            "schedule": "cosine",
            "total_steps": 300,
            "warmup_steps": 10,
        }
        for lr in (1e-3, 3e-3, 1e-2, 3e-2)
    ]
    group = Group(learners.Perceptron, configs[0])
    for seed, config in enumerate(configs):
        group.join(config, seed)
    curves: list[list[Any]] = [group.pack.iterate() for _ in range(34)]  # six steps each: 204
    rows = group.pack.take(range(4))
    for place, config in enumerate(configs):
        one = Alone(group.learner, group.data, CPU, config, place)
        for reports in curves:
            assert reports[place]["val_loss"] == pytest.approx(one.iterate()["val_loss"], rel=1e-4)
        assert distance(rows[place].parameters, one.row().parameters) <= 1e-4


@settings(max_examples=15)
@given(data=st.data())
def test_neighbours_rows_refills_pauses_and_copies_change_no_models_numbers(data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from(RULES))
    draw_config = st.fixed_dictionaries(
        {
            "lr": st.floats(1e-4, 1e-2),
            "dropout": st.floats(0.01, 0.9),
            "smoothing": st.floats(0.0, 0.3),
            "weight_decay": st.floats(0.0, 0.1),
        }
    )
    watched = {**learners.CONFIG, **rule, **data.draw(draw_config)}
    group = Group(learners.Perceptron, watched)
    pack, place, paused = group.pack, 0, None
    group.join(watched, 7)
    for turn in range(data.draw(st.integers(1, 5))):
        for _ in range(data.draw(st.integers(0, 3))):
            group.join({**learners.CONFIG, **rule, **data.draw(draw_config)}, 100 + turn)
        pack.width = data.draw(st.integers(1, 4))
        pack.iterate()
        going = [i for i in range(len(pack)) if i != place and data.draw(st.booleans())]
        if data.draw(st.booleans()):  # the watched one pauses, in memory
            row, old = pack.take([place])[0], pack.members[place]
            pack.leave([*going, place])
            group.join_again(row, old)
        else:
            pack.leave(going)
        place = next(i for i, m in enumerate(pack.members) if m.seed == 7)
    paused = pack.take([place])[0]
    expected, _ = group.alone(watched, 7, pack.members[place].at)
    assert distance(paused.parameters, expected.parameters) <= 1e-4


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_neighbour_that_diverges_changes_nobody(bad: int) -> None:
    group = Group(learners.Diverging, {**learners.CONFIG, "bad": 0.0})
    for seed in range(3):
        group.join({**learners.CONFIG, "bad": float(seed == bad)}, seed)
    for _ in range(2):
        reports = group.pack.iterate()
    rows = group.pack.take(range(3))
    for seed in range(3):
        report = reports[seed]
        assert isinstance(report, dict)
        assert math.isnan(report["val_loss"]) == (seed == bad)
        if seed != bad:
            expected, alone = group.alone({**learners.CONFIG, "bad": 0.0}, seed, 2)
            agree(report, alone, rows[seed], expected)


class Hungry(learners.Perceptron):
    """Runs out of memory above a number of models, and raises for one configuration."""

    fits, seen = 2, []

    def loss(self, model: Any, batch: Any, config: Any) -> Any:
        models = sum(_models(p) for p in list(model.parameters())[:1])
        type(self).seen.append(models)
        if models > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().loss(model, batch, config)


def _models(parameter: torch.Tensor) -> int:
    """How many models a parameter inside of vmap stands for."""
    batched = torch._C._functorch.is_batchedtensor(parameter)
    return int(torch._C._functorch.get_unwrapped(parameter).shape[0]) if batched else 1


def test_where_memory_runs_out_halves_go_on_and_nothing_is_lost() -> None:
    Hungry.fits = 2
    group = Group(Hungry, learners.CONFIG)
    for seed in range(5):
        group.join(learners.CONFIG, seed)
    for _ in range(2):
        reports = group.pack.iterate()
    assert group.pack.ran_out
    assert group.pack.width in (1, 2)
    Hungry.fits = 99
    for seed, row in enumerate(group.pack.take(range(5))):
        report = reports[seed]
        assert isinstance(report, dict)
        expected, alone = group.alone(learners.CONFIG, seed, 2)
        agree(report, alone, row, expected)


class Judging(Hungry):
    """Runs out of memory where metrics of more than two models are computed at once."""

    def loss(self, model: Any, batch: Any, config: Any) -> Any:
        return learners.Perceptron.loss(self, model, batch, config)

    def metrics(self, model: Any, batch: Any) -> Any:
        if sum(_models(p) for p in list(model.parameters())[:1]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().metrics(model, batch)


def test_where_memory_runs_out_over_metrics_steps_stay_as_wide_as_they_were() -> None:
    group = Group(Judging, learners.CONFIG)
    for seed in range(5):
        group.join(learners.CONFIG, seed)
    width = group.pack.width
    for _ in range(2):
        assert all(isinstance(report, dict) for report in group.pack.iterate())
    assert (group.pack.ran_out, group.pack.width) == (False, width)


def test_where_memory_runs_out_over_a_comparison_no_step_is_taken_twice(
    patience: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if patience:
        pytest.skip("nothing is compared")
    asked: list[int] = []

    def agree_later(*args: Any) -> bool:
        asked.append(len(asked))
        if len(asked) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return op_list.agree(*args)

    monkeypatch.setattr(traced_step, "agree", agree_later)
    monkeypatch.setattr(traced_step, "LATER", 2)
    config = {**learners.CONFIG, "hidden": 13}
    group = Group(learners.Normed, config)
    for seed in range(4):
        group.join(config, seed)
    for _ in range(3):
        group.pack.iterate()
    assert len(asked) > 1
    assert (group.pack.ran_out, group.pack.refused) == (False, "")
    for seed, row in enumerate(group.pack.take(range(4))):
        expected, _ = group.alone(config, seed, 3)
        assert distance(row.parameters, expected.parameters) <= 1e-4


class Holding(learners.Perceptron):
    """Raises after it has made a tensor."""

    made: list[Any] = []  # noqa: RUF012

    def loss(self, model: Any, batch: Any, config: Any) -> Any:
        large = model(batch[0]) + 1.0
        self.made.append(weakref.ref(large))
        raise ValueError("this model cannot be trained")


def test_models_that_failed_hold_no_memory_of_their_steps() -> None:
    group = Group(Holding, learners.CONFIG)
    for seed in range(3):
        group.join(learners.CONFIG, seed)
    reports = group.pack.iterate()
    assert [type(report) for report in reports] == [ValueError] * 3
    assert "in loss" in "".join(traceback.format_exception(reports[0]))  # type: ignore[arg-type]
    assert [each() for each in Holding.made if each() is not None] == []


class Ignoring(learners.Perceptron):
    """Most examples are ignored, and some batches have no other."""

    def loss(self, model: Any, batch: Any, config: Any) -> Any:
        points, sides = batch
        kept = sides.where(points[..., 0] > 0.8, -100)
        return torch.nn.functional.cross_entropy(model(points), kept, label_smoothing=config["smoothing"])


def test_a_batch_of_which_all_is_ignored_moves_no_weight_by_its_gradient() -> None:
    config = {**learners.CONFIG, "batch_size": 3}
    group = Group(Ignoring, config)
    for seed in range(3):
        group.join(config, seed)
    reports = group.pack.iterate()
    for seed, row in enumerate(group.pack.take(range(3))):
        expected, alone = group.alone(config, seed, 1)
        assert math.isnan(alone["train_loss"])
        assert not math.isnan(alone["val_loss"])
        assert math.isnan(reports[seed].pop("train_loss"))  # type: ignore[union-attr]
        del alone["train_loss"]
        agree(reports[seed], alone, row, expected)  # type: ignore[arg-type]


class Dropping(learners.Perceptron):
    """A pass of 90 examples without the last 10."""

    drop_last = True


@pytest.mark.parametrize(("batch_size", "steps"), [(16, 5), (30, 3), (200, 1)])
def test_a_last_batch_that_is_smaller_can_be_left_out_unless_it_is_the_only_one(
    batch_size: int, steps: int
) -> None:
    config = {**learners.CONFIG, "batch_size": batch_size}
    group = Group(Dropping, config)
    for seed in range(2):
        group.join(config, seed)
    plan = make_plan(group.learner, group.pack.members, group.data, CPU)
    sizes = {moment.examples.shape[1] for moment in plan.moments(0, 2)}
    assert (plan.steps, sizes) == (steps, {min(batch_size, 90)})
    reports = group.pack.iterate()
    for seed, row in enumerate(group.pack.take(range(2))):
        expected, alone = group.alone(config, seed, 1)
        agree(reports[seed], alone, row, expected)  # type: ignore[arg-type]


class Raising(learners.Perceptron):
    """Raises for one of its models, when it is trained alone."""

    def loss(self, model: Any, batch: Any, config: Any) -> Any:
        loss = super().loss(model, batch, config)
        if (
            isinstance(config["bad"], torch.Tensor)
            and config["bad"].dim() == 0
            and not _is_many(config["bad"])
        ):
            if config["bad"] > 0.5:
                raise ValueError("this model cannot be trained")
        elif _is_many(config["bad"]):
            raise ValueError("one of these cannot be trained")
        return loss


def _is_many(value: torch.Tensor) -> bool:
    return bool(torch._C._functorch.is_batchedtensor(value))


def test_a_model_whose_loss_raises_fails_by_itself() -> None:
    group = Group(Raising, {**learners.CONFIG, "bad": 0.0})
    for seed in range(4):
        group.join({**learners.CONFIG, "bad": float(seed == 2)}, seed)
    reports = group.pack.iterate()
    assert [type(r) for r in reports] == [dict, dict, ValueError, dict]
    assert str(reports[2]) == "this model cannot be trained"


def test_the_first_step_after_a_warm_up_of_ten_is_a_tenth_as_long() -> None:
    config = {**learners.CONFIG, "optimizer": "sgd", "dropout": 0.0, "weight_decay": 0.0, "batch_size": 90}
    moves = [moved({**config, "warmup_steps": steps}) for steps in (0, 10)]
    assert moves[1] == pytest.approx(moves[0] / 10, rel=1e-3)


def moved(config: dict[str, Any]) -> float:
    one = Alone(learners.Perceptron.plain(), data_of(learners.Perceptron), CPU, config, 1)
    before = one.row().parameters
    one.iterate()
    return (one.row().parameters - before).norm().item()


def test_a_gradient_is_clipped_to_the_norm_that_each_model_says() -> None:
    config = {
        **learners.CONFIG,
        "optimizer": "sgd",
        "lr": 1.0,
        "dropout": 0.0,
        "weight_decay": 0.0,
        "batch_size": 90,
    }
    assert moved({**config, "clip_norm": 1e-3}) == pytest.approx(1e-3, rel=1e-2)
    assert moved(config) > 0.05


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (MemoryError(), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error: Exception, is_it: bool) -> None:
    assert is_out_of_memory(error) == is_it


def seeds_of(members: Sequence[PackMember]) -> list[int]:
    return [m.seed for m in members]


def test_who_leaves_makes_room_for_the_last_ones() -> None:
    group = Group(learners.Perceptron, learners.CONFIG)
    for seed in range(6):
        group.join(learners.CONFIG, seed)
    before = group.pack.take(range(6))
    group.pack.leave([0, 4])
    seeds = seeds_of(group.pack.members)
    assert sorted(seeds) == [1, 2, 3, 5]
    for seed, row in zip(seeds, group.pack.take(range(4)), strict=True):
        assert torch.equal(row.parameters, before[seed].parameters)


@pytest.mark.parametrize(("batch_size", "steps"), [(30, 3), (60, 2), (100, 0)])
def test_a_batch_that_is_smaller_says_nothing_of_how_long_steps_take(batch_size: int, steps: int) -> None:
    config = {**learners.CONFIG, "batch_size": batch_size}  # of 90 examples
    group, ways = Group(learners.Perceptron, config), Width()
    for seed in range(4):
        group.join(config, seed)
    group.pack.iterate(ways)
    assert ways.stretch(4) == STRETCH - steps


def test_while_ways_are_compared_every_model_has_its_own_numbers() -> None:
    group, ways = Group(learners.Perceptron, learners.CONFIG), Width()
    for seed in range(6):
        group.join(learners.CONFIG, seed)
    iterations = 0
    while not ways.settled and ways.limit == FEW:
        reports = group.pack.iterate(ways)
        iterations += 1
    assert 6 * iterations > STRETCH + 2 * MEASURED  # of six steps each, in two ways at least
    for seed, row in enumerate(group.pack.take(range(6))):
        expected, alone = group.alone(learners.CONFIG, seed, iterations)
        agree(reports[seed], alone, row, expected)  # type: ignore[arg-type]


def test_steps_of_many_shapes_run_as_lists_once_they_are_known_to_agree(patience: int) -> None:
    group = Group(learners.Perceptron, {**learners.CONFIG, "hidden": 9})
    for seed in range(5):
        group.join({**learners.CONFIG, "hidden": 9}, seed)
    for _ in range(3):
        group.pack.iterate()
    known = KNOWN[learners.Perceptron, group.structure, traced_step.PATIENCE]
    for shapes in (known.steps, known.metrics):
        assert (shapes.any, shapes.refused) == (patience == 0, "")


def test_a_model_that_begins_to_clip_changes_the_list_and_nobody_else() -> None:
    config = {**learners.CONFIG, "hidden": 10, "clip_norm": 0.0}
    group = Group(learners.Perceptron, config)
    configs = [config, {**config, "lr": 0.02}, config, {**config, "clip_norm": 0.05}]
    for seed in range(3):
        group.join(configs[seed], seed)
    for _ in range(3):
        group.pack.iterate()
    group.join(configs[3], 3)
    for _ in range(3):
        group.pack.iterate()
    for seed, row in enumerate(group.pack.take(range(4))):
        expected, _ = group.alone(configs[seed], seed, 3 if seed == 3 else 6)
        assert distance(row.parameters, expected.parameters) <= 1e-4


class Counting(learners.Perceptron):
    """Keeps state in Python, which a list of tensor operations would freeze."""

    calls = 0

    def loss(self, model: Any, batch: Any, config: Any) -> Any:
        type(self).calls += 1
        return super().loss(model, batch, config) * (1.0 + self.calls)


class Peeking(learners.Perceptron):
    """Looks at values, which cannot be written down; vmap refuses it too, so a single model does it."""

    def loss(self, model: Any, batch: Any, config: Any) -> Any:
        loss = super().loss(model, batch, config)
        return loss * 2 if float(loss.detach()) > 0.5 else loss


@pytest.mark.parametrize(
    ("learner", "models", "why"),
    [(Counting, 3, "it came out different"), (Peeking, 1, "RuntimeError: it looks at values")],
)
def test_a_step_that_cannot_be_a_list_runs_as_it_is_written(
    learner: type[Any], models: int, why: str, patience: int
) -> None:
    group = Group(learner, learners.CONFIG)
    for seed in range(models):
        group.join(learners.CONFIG, seed)
    Counting.calls = 0
    for _ in range(2):
        reports = group.pack.iterate()
    assert all(isinstance(report, dict) for report in reports)
    assert group.pack.trouble == ""
    assert group.pack.refused.startswith(why) if patience == 0 else not group.pack.refused


def test_a_list_that_fails_later_is_given_up_and_the_step_taken_as_written(patience: int) -> None:
    if patience:
        pytest.skip("there is no list")
    config = {**learners.CONFIG, "hidden": 11}
    group = Group(learners.Normed, config)
    for seed in range(4):
        group.join(config, seed)
    group.pack.iterate()
    for shape in KNOWN[learners.Normed, group.structure, 0].steps._shapes.values():
        shape.run = fails
    reports = group.pack.iterate()
    assert group.pack.refused == "RuntimeError: shapes do not match"
    assert group.pack.trouble == ""
    for seed, row in enumerate(group.pack.take(range(4))):
        expected, alone = group.alone(config, seed, 2)
        agree(reports[seed], alone, row, expected)  # type: ignore[arg-type]


def fails(*tensors: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("shapes do not match")
