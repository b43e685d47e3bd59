"""Random searches: the values that are recorded are those that the training code noted at its steps.

Every search is held against one training in one piece, in this process and without raysearch: where nothing
was nudged the losses are the same, and where something was, each value is that of the whole training times
what was asked for over what the line began with.

`RAYSEARCH_SEARCHES=1000` tries as many in place of a few, and `--hypothesis-seed=N` others.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_used_values_frameworks import hugging_face, lightning
from torch import nn
from training_lab import OPTIMIZERS, SCHEDULERS, Applying, Class, Reset, Searching, Training, close, function

import raysearch
import raysearch.torch
from raysearch.launch import more_samples
from raysearch.torch.learner import Learner

EXAMPLES = int(os.environ.get("RAYSEARCH_SEARCHES", "12"))
LENGTH = 8  # iterations of the longest training
Config = dict[str, Any]
KINDS: dict[str, Any] = {
    "class": Class,
    "applying": Applying,
    "searching": Searching,
    "reset": Reset,
    "function": function,
}


class Falling(Learner):
    """One weight w from 0, with a gradient of one: a step takes the learning rate away from it."""

    batch_size = 4  # two steps an iteration

    def data(self) -> raysearch.torch.Data:
        ones = torch.ones(8, 1)
        return raysearch.torch.Data(train=(ones,), validation=(ones,))

    def model(self, config: Any) -> nn.Module:
        line = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(line.weight)
        return line

    def loss(self, model: nn.Module, batch: Any, config: Any) -> torch.Tensor:
        return model(batch[0]).mean()

    def metrics(self, model: nn.Module, batch: Any) -> dict[str, torch.Tensor]:
        return {"loss": model(batch[0])[:, 0]}


FRAMEWORKS: dict[str, Any] = {"lightning": lightning, "hugging face": hugging_face("linear")}
LEARNER_SCALES: dict[str, Callable[[int], float]] = {
    "constant": lambda step: 1.0,
    "linear": lambda step: 1 - step / 40,
    "cosine": lambda step: (1 + np.cos(np.pi * step / 40)) / 2,
}


@dataclass(frozen=True)
class Case:
    """A search to be tried.

    Attributes:
        training: entries of the configuration that are the same in all trials.
        space: flat; `nested` puts it into a group called optim.
        more: how many samples are added once it has ended.
    """

    kind: str
    training: Config
    space: Config
    strategy: Any
    seed: int
    nested: bool = False
    more: int = 0
    isolate: bool = False
    executor: str = "inline"
    baseline: Config | None = field(default=None)

    @property
    def is_panda(self) -> bool:
        return isinstance(self.strategy, raysearch.Panda)

    @property
    def width(self) -> int:
        """Values that are noted at a step."""
        return 2 if self.training.get("gan") or self.training.get("groups") else 1

    def named(self, values: Config) -> Config:
        """Values under the names by which the search has them."""
        return {"optim": values} if self.nested else values

    def found(self, frame: pd.DataFrame, row: int) -> Config:
        """A row's configuration under the names of `space`."""
        prefix = "config.optim/" if self.nested else "config."
        values = {name: frame[prefix + name][row] for name in self.space if prefix + name in frame}
        return {k: v for k, v in values.items() if not pd.isna(v)}


def trainable_of(case: Case) -> Any:
    """The trainable of this kind, with the case's entries of its configuration for good."""
    found, more = {**KINDS, **FRAMEWORKS, "learner": Falling}[case.kind], case.training

    def whole(config: Config) -> Config:
        flat = {k: v for k, v in config.items() if k != "optim"}
        return {**flat, **config.get("optim", {}), **more}

    if case.kind == "learner":
        return found
    if not isinstance(found, type):

        def train(config: Config) -> None:
            found(whole(config))

        return train

    class Fixed(found):  # type: ignore[misc, valid-type]
        def setup(self, config: Config) -> None:
            super().setup(whole(config))

    return Fixed


# ---- what is tried

RATES = (
    {"loguniform": [1e-3, 0.5]},
    {"uniform": [0.01, 0.1]},
    {"choice": [0.5, 0.01, 0.003]},
    {"choice": [1, 0.1]},
    {"ordinal": [0.003, 0.03, 0.3]},
    {"loguniform": [1e-3, 0.1], "q": 0.001},
)
DECAYS = ({"loguniform": [1e-4, 0.1]}, {"choice": [0.0, 0.01]}, {"uniform": [0.0, 0.05]})


@st.composite
def caviars(draw: st.DrawFn) -> raysearch.Caviar:
    """Wide searches, cut at rungs that differ."""
    return raysearch.Caviar(
        samples=draw(st.integers(2, 4)),
        max_iterations=draw(st.integers(2, 5)),
        min_iterations=draw(st.integers(1, 2)),
        eta=draw(st.integers(2, 3)),
        variant=draw(st.sampled_from(["promotion", "stopping"])),
        sampler=draw(st.sampled_from(["random", "sobol", "model"])),
        finish=None,
    )


PANDAS = st.builds(
    raysearch.Panda,
    max_iterations=st.integers(6, LENGTH),
    interval=st.integers(1, 3),
    population=st.sampled_from([1, 1, 2]),
    base_schedule=st.sampled_from(["constant", "cosine"]),
)


@st.composite
def cases(draw: st.DrawFn, kinds: tuple[str, ...], **more: Any) -> Case:
    """A search of one of these kinds of trainables."""
    kind = draw(st.sampled_from(kinds))
    strategy = draw(st.one_of(PANDAS, caviars()))
    is_panda = isinstance(strategy, raysearch.Panda)
    training: Config = {}
    space: Config = {"lr": {"loguniform": [1e-4, 1.0]} if is_panda else draw(st.sampled_from(RATES))}
    if kind in KINDS:
        layout = draw(st.sampled_from(["one", "groups", "gan"]))
        training = {
            "scheduler": draw(st.sampled_from(sorted(SCHEDULERS))),
            "optimizer": draw(st.sampled_from(sorted(OPTIMIZERS))),
            **({layout: True} if layout != "one" else {}),
        }
        if layout == "gan":
            if 1 in space["lr"].get("choice", ()):  # the same number under both names: see the test of either
                space["lr"] = RATES[0]
            space["lr_d"] = space["lr"]
        if draw(st.booleans()):
            space["weight_decay"] = draw(st.sampled_from(DECAYS[::2] if is_panda else DECAYS))
        if training["optimizer"] == "SGD" and training["scheduler"] != "OneCycleLR" and draw(st.booleans()):
            space["momentum"] = {"uniform": [0.1, 0.9]}
    elif kind == "learner":
        training = {"optimizer": "sgd", "schedule": draw(st.sampled_from(sorted(LEARNER_SCALES)))}
        training |= {"total_steps": 40, "momentum": 0.0, "weight_decay": 0.0}
    else:
        training = {"weight_decay": 0.1}
    baseline = {"lr": 0.01, "lr_d": 0.02, "weight_decay": 0.001, "momentum": 0.5}
    return Case(
        kind,
        training,
        space,
        strategy,
        seed=draw(st.integers(0, 99)),
        nested=kind in KINDS and kind not in ("applying", "searching") and draw(st.booleans()),
        more=0 if is_panda else draw(st.sampled_from([0, 0, 2])),
        baseline={k: v for k, v in baseline.items() if k in space} if is_panda else None,
        **{name: draw(of) for name, of in more.items()},
    )


# ---- what is held against it


def check_noted(case: Case, curves: pd.DataFrame) -> None:
    """Each iteration's used values, against those that its steps noted."""
    for name, noted, offset in ((n, *place) for n in case.space for place in [_place(case, n)]):
        names = sorted(
            (c for c in curves if c.startswith(noted) and c[len(noted) :].isdigit()),
            key=lambda column: int(column[len(noted) :]),
        )[offset :: case.width]
        values = curves[names]
        expected = {
            "first": values[names[0]],
            "last": values[names[-1]],
            "least": values.min(axis=1),
            "greatest": values.max(axis=1),
        }
        prefix = "used.optim/" if case.nested else "used."
        for part, of in expected.items():
            assert curves[f"{prefix}{name}.{part}"].to_list() == close(of.to_list()), (name, part)


def _place(case: Case, name: str) -> tuple[str, int]:
    """(how the noted columns begin, the place in a step) of a hyper-parameter."""
    return ("rate" if name in ("lr", "lr_d") else name), int(name == "lr_d")


def check_against_a_whole(case: Case, segments: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Each line of segments, against one training in one piece of what it began with."""
    rows = {int(number): row for row, number in enumerate(segments["id"])}
    by_segment = dict(iter(curves.groupby("segment")))
    for number, row in rows.items():
        root = row
        is_nudged = False
        while not pd.isna(parent := segments["parent"][root]):
            is_nudged |= case.found(segments, root) != case.found(segments, rows[int(parent)])
            root = rows[int(parent)]
        begun, now = case.found(segments, root), case.found(segments, row)
        whole = Training({**begun, **case.training})
        reports = [whole.iterate() for _ in range(int(segments["stop"][row]))]
        curve = by_segment[number].sort_values("iteration")
        of = reports[int(segments["start"][row]) :][: len(curve)]
        for column in of[0]:
            name = {"rate": "lr"}.get(column.rstrip("0123456789"), column.rstrip("0123456789"))
            if name == "lr" and case.training.get("gan") and int(column[4:]) % 2:
                name = "lr_d"
            if name == "loss" and is_nudged:
                continue
            factor = 1.0 if name == "loss" or not begun.get(name) else now[name] / begun[name]
            expected = [report[column] * factor for report in of]
            assert np.allclose(curve[column], expected, rtol=1e-5, atol=1e-12, equal_nan=True), column


def check_learner(case: Case, segments: pd.DataFrame, curves: pd.DataFrame) -> None:
    """What each iteration took away from the weight, against the rates that were asked for."""
    scale = LEARNER_SCALES[case.training["schedule"]]
    ends = {int(n): curve.sort_values("iteration") for n, curve in curves.groupby("segment")}
    for row, number in enumerate(segments["id"]):
        parent, start = segments["parent"][row], int(segments["start"][row])
        before = 0.0 if pd.isna(parent) else ends[int(parent)]["loss"].iloc[-1]
        taken = -np.diff([before, *ends[int(number)]["loss"]])
        rate = case.found(segments, row)["lr"]
        expected = [rate * (scale(2 * i) + scale(2 * i + 1)) for i in range(start, start + len(taken))]
        assert np.allclose(taken, expected, rtol=1e-4, atol=1e-5)


def try_search(case: Case) -> None:
    """Runs the search and holds what it recorded against what was trained."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
        trainable = trainable_of(case)
        more: Config = {"config": case.training} if case.kind == "learner" else {}
        if case.executor == "tune":
            more["workers"] = 2
        results = raysearch.search(
            trainable,
            space=case.named(case.space),
            metric="loss",
            mode="min",
            storage=folder,
            name="random",
            executor=case.executor,  # type: ignore[arg-type]
            strategy=case.strategy,
            seed=case.seed,
            isolate=case.isolate,
            baseline=case.named(case.baseline) if case.baseline else None,
            say=lambda text: None,
            progress=False,
            **more,
        )
        if case.more:
            how = raysearch.How(case.executor, say=lambda text: None, progress=False)  # type: ignore[arg-type]
            results = raysearch.resume(
                Path(folder, "random"),
                how,
                trainable=trainable,
                edits=lambda spec: more_samples(spec, f"+{case.more}"),
            )
        segments, curves = results.segments(), results.curves()
    assert len(curves) > 0
    if case.kind == "learner":
        check_learner(case, segments, curves)
        return
    check_noted(case, curves)
    is_one_for_two = case.kind in ("applying", "searching") and case.training.get("gan")
    if case.kind in KINDS and not is_one_for_two:  # `apply` gives `lr` to the second optimizer too
        check_against_a_whole(case, segments, curves)


def tried(examples: int) -> Any:
    """The settings under which so many searches are tried; the same ones each time where they are few."""
    return settings(
        max_examples=max(1, examples),
        phases=[Phase.reuse, Phase.generate],  # what fails is small already
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        derandomize=EXAMPLES < 100,
    )


@given(case=cases((*KINDS, "learner")))
@tried(EXAMPLES)
def test_what_a_search_records_as_used_is_what_its_steps_were_taken_with(case: Case) -> None:
    try_search(case)


def test_a_rate_that_may_be_that_of_either_of_two_names_is_unknown_and_never_another(tmp_path: Path) -> None:
    """The same whole number under both names, or what a warm-up from a tenth makes of the other's."""
    results = raysearch.search(
        KINDS["applying"],
        space={"lr": {"choice": [1, 0.1]}, "lr_d": {"choice": [1, 0.1]}},
        config={"scheduler": "SequentialLR", "gan": True},
        metric="loss",
        mode="min",
        storage=str(tmp_path),
        executor="inline",
        strategy=raysearch.Caviar(samples=4, max_iterations=3, sampler="sobol", finish=None),
        say=lambda text: None,
        progress=False,
    )
    curves = results.curves()
    for name, first in (("lr", "rate0"), ("lr_d", "rate1")):
        recorded = curves[f"used.{name}.first"]
        assert 0 < recorded.notna().sum() < len(curves)
        assert recorded.dropna().tolist() == close(curves[first][recorded.notna()].tolist())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@given(case=cases(tuple(FRAMEWORKS)))
@tried(EXAMPLES // 20)
def test_so_it_is_within_frameworks(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    try_search(case)


@pytest.mark.slow
@given(
    case=cases(
        (*KINDS, "learner", "learner"),
        executor=st.just("tune"),
        isolate=st.sampled_from([False, False, True]),
    )
)
@tried(EXAMPLES // 40)
def test_so_it_is_on_workers_of_ray(ray_cluster: None, case: Case) -> None:
    try_search(case)
