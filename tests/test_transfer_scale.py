"""Settings across scale: the spec's `scale`, rules, fitted laws, and `raysearch transfer`."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import tune

import raysearch
from raysearch.bench import scaling as bench
from raysearch.cli import main
from raysearch.errors import LocatedError, SpecError
from raysearch.space import Space
from raysearch.spec import load_spec, make_spec
from raysearch.spec.scale import read_scale, scale_of
from raysearch.strategies.scale_laws import Along, BestValue, Kind, best_value, fit_law, kind_of, ruled
from raysearch.torch.scaling import CoordinateCheck
from raysearch.torch.scaling.coordinates import Change
from raysearch.workflows.memory.across_scale import judged, past, remember, with_past
from raysearch.workflows.memory.store import Memory
from raysearch.workflows.scaling import Transferred, _narrow, _transferred, _with_edge

SPACE = {
    "lr": {"loguniform": [1e-3, 1.0]},
    "weight_decay": {"loguniform": [1e-3, 1.0]},
    "dropout": {"uniform": [0.0, 0.5]},
    "activation": {"choice": ["relu", "gelu"]},
}


class Wide(tune.Trainable):  # type: ignore[misc]
    """Its best rate is 6.4 / width, whatever the width."""

    def setup(self, config: dict[str, Any]) -> None:
        self.width, self.lr = config["width"], config["lr"]

    def step(self) -> dict[str, float]:
        return {"loss": abs(math.log(self.lr * self.width / 6.4))}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "empty").touch()

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        assert Path(checkpoint_dir, "empty").exists()


def fields(**more: Any) -> dict[str, Any]:
    return {
        "trainable": Wide,
        "space": SPACE,
        "metric": "loss",
        "mode": "min",
        "strategy": {
            "name": "caviar",
            "samples": 16,
            "max_iterations": 3,
            "finish": None,
            "sampler": "sobol",
        },
        "scale": {"width": 64, "target": 1024},
        **more,
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same search at widths 64, 128 and 256."""
    root = tmp_path_factory.mktemp("scales")
    for width in (64, 128, 256):
        scale = {"width": width, "target": 1024}
        given = fields(scale=scale, name=f"w{width}", storage=root, seed_as="seed")
        raysearch.search(given.pop("trainable"), executor="inline", **given)
    return root


def passed(slope: float) -> CoordinateCheck:
    return CoordinateCheck({"0": slope}, 0.3, (Change(64, 0, 1, "0", 1.0, 1.0),))


# ---- the spec


def test_sizes_reach_the_trainable_and_the_spec_is_read_back_as_it_was(tmp_path: Path) -> None:
    spec = make_spec(
        **fields(config={"depth": 2}, scale={"width": 64, "target": 1024, "rules": {"lr": "same"}})
    )
    assert spec.config == {"depth": 2, "width": 64}
    (tmp_path / "spec.yaml").write_text(spec.to_yaml())
    again = load_spec(tmp_path / "spec.yaml")
    assert again.scale == spec.scale == {"width": 64, "target": {"width": 1024}, "rules": {"lr": "same"}}
    assert again.config == spec.config
    assert load_spec(tmp_path / "spec.yaml", ["scale.width=128"]).config["width"] == 128
    assert "scale" not in make_spec(**fields(scale=None)).to_dict()


@pytest.mark.parametrize(
    ("scale", "place", "words"),
    [
        ({"target": 4}, "scale", "names no dimension"),
        ({"width": 64}, "scale", "has no target"),
        ({"width": 0, "target": 4}, "scale.width", "must be above zero, not 0"),
        ({"width": "x", "target": 4}, "scale.width", "must be a number"),
        ({"width": 64, "depth": 2, "target": 4}, "scale.target", "for 2 dimensions"),
        ({"width": 64, "depth": 2, "target": {"width": 4}}, "scale.target", "says no depth"),
        ({"width": 64, "target": {"widht": 4}}, "scale.target.widht", "did you mean 'width'"),
        ({"k": 64, "target": 4}, "scale.k", "add dimensions: {k: width}"),
        ({"k": 64, "target": 4, "dimensions": {"k": "wide"}}, "scale.dimensions.k", "did you mean 'width'"),
        ({"width": 64, "target": 4, "parametrization": "mu"}, "scale.parametrization", "did you mean 'mup'"),
        ({"width": 64, "target": 4, "rules": {"lrr": "same"}}, "scale.rules.lrr", "did you mean 'lr'"),
        (
            {"width": 64, "target": 4, "rules": {"lr": "no"}},
            "scale.rules.lr",
            "give same, search, or exponents",
        ),
        ({"width": 64, "target": 4, "rules": {"lr": {"w": 1}}}, "scale.rules.lr.w", "unknown dimension 'w'"),
        (
            {"width": 64, "target": 4, "rules": {"lr": {"width": "a"}}},
            "scale.rules.lr.width",
            "is no exponent",
        ),
        (64, "scale", "must be a mapping such as"),
    ],
)
def test_a_wrong_scale_is_named_with_its_place(scale: Any, place: str, words: str) -> None:
    with pytest.raises(LocatedError, match=words) as caught:
        make_spec(**fields(scale=scale))
    assert caught.value.place == place


def test_a_dimension_is_neither_in_the_space_nor_in_config() -> None:
    with pytest.raises(LocatedError, match="is a dimension of scale too") as caught:
        make_spec(**fields(config={"width": 3}))
    assert caught.value.place == "config.width"
    with pytest.raises(LocatedError, match="is in the space too"):
        make_spec(**fields(space={**SPACE, "width": {"randint": [1, 4]}}))


# ---- rules and laws


@pytest.mark.parametrize(
    ("name", "kind"),
    [("optim/head_lr", Kind.RATE), ("wd", Kind.WEIGHT_DECAY), ("init_std", Kind.INIT), ("bs", Kind.BATCH),
     ("warmup_steps", Kind.DURATION), ("dropout", Kind.OTHER), ("beta1", Kind.OTHER)],
)  # fmt: skip
def test_kinds_are_known_by_names(name: str, kind: Kind) -> None:
    assert kind_of(name) is kind


@pytest.mark.parametrize(
    ("name", "growth", "how", "factor"),
    [
        ("lr", {Along.WIDTH: 16.0}, ("mup", "adamw"), 1.0),
        ("lr", {Along.WIDTH: 16.0, Along.DEPTH: 4.0}, ("mup", "adamw"), 1.0),
        ("lr", {Along.WIDTH: 16.0}, ("standard", "adamw"), 1 / 16),
        ("weight_decay", {Along.WIDTH: 16.0}, ("standard", "adamw"), 16.0),
        ("init_std", {Along.WIDTH: 16.0}, ("standard", "adamw"), 1 / 4),
        ("lr", {Along.BATCH: 16.0}, ("mup", "adamw"), 4.0),
        ("lr", {Along.BATCH: 16.0}, ("mup", "sgd"), 16.0),
        ("weight_decay", {Along.DURATION: 10.0}, ("mup", "adamw"), 10**-0.68),
    ],
)
def test_rules_are_those_of_the_papers(
    name: str, growth: Mapping[Along, float], how: tuple[str, str], factor: float
) -> None:
    found = ruled(name, growth, *how)
    assert found.factor == pytest.approx(factor)
    assert found.transfers
    assert found.sources


def test_what_no_rule_is_known_for_is_carried_and_said() -> None:
    for name, growth in (
        ("dropout", {Along.WIDTH: 2.0}),
        ("lr", {Along.DEPTH: 2.0}),
        ("log_lr", {Along.WIDTH: 2.0}),
    ):
        found = ruled(name, growth, "standard")
        assert (found.factor, found.transfers) == (1.0, False)
        assert "carried as it is" in found.doubts[0]


def test_a_fitted_law_covers_the_truth_as_often_as_its_interval_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        errors = rng.uniform(0.1, 0.4, 3)
        seen = [
            BestValue(w, math.log(5.0) - 0.7 * math.log(w) + e * rng.normal(), float(e))
            for w, e in zip((64, 128, 256), errors, strict=True)
        ]
        value, low, high = fit_law(seen).at(1024)
        assert low < value < high
        covered += low <= 5.0 * 1024**-0.7 <= high
    assert 0.92 <= covered / 400 <= 1.0


def test_the_best_value_lies_where_good_trials_do_and_its_error_says_when_they_lie_anywhere() -> None:
    rng = np.random.default_rng(1)
    values = np.exp(rng.uniform(math.log(1e-4), 0, 64))
    matters = [abs(math.log(v / 0.01)) for v in values]
    found = best_value(list(values), [*matters[:-1], math.nan], 64)
    assert found.log == pytest.approx(math.log(0.01), abs=3 * found.error)
    nowhere = best_value(list(values), list(rng.normal(size=64)), 64)
    assert nowhere.error > 3 * found.error
    with pytest.raises(ValueError, match="at least 4"):
        best_value([1.0], [1.0], 64)
    with pytest.raises(ValueError, match="two different scales"):
        fit_law([BestValue(64, 0, 1), BestValue(64, 0, 1)])


# ---- transfer


def test_a_best_value_at_an_edge_of_the_space_is_in_doubt() -> None:
    domain = Space.from_dict(SPACE).domains["lr"]
    at_edge, inside = (Transferred("lr", v, v, "as it is", None, True, ()) for v in (0.8, 0.1))
    assert "at an edge of the space" in _with_edge(at_edge, domain).doubts[0]
    assert _with_edge(inside, domain) == inside


def test_the_rule_carries_what_it_knows_and_says_what_it_does_not(runs: Path) -> None:
    results = raysearch.load(runs / "w64")
    found = raysearch.scaling.transfer(results, trainable=Wide)
    best = results.best.config
    by_name = {one.name: one for one in found.values}
    assert found.settings["lr"] == pytest.approx(best["lr"] / 16)
    assert found.settings["weight_decay"] == pytest.approx(best["weight_decay"] * 16)
    assert found.settings["dropout"] == best["dropout"]
    assert not by_name["dropout"].transfers
    assert by_name["activation"].doubts == ()
    assert found.verdict.startswith("in doubt: lr, weight_decay, dropout (see below); no coordinate check")
    assert "no one rate suits all layers" in str(found)
    assert "width 64 -> 1,024" in str(found)


def test_the_spec_at_the_target_trains_one_guarded_model_from_the_settings(runs: Path) -> None:
    found = raysearch.scaling.transfer(raysearch.load(runs / "w64"), trainable=Wide)
    assert found.spec.config["width"] == 1024
    assert found.spec.baseline == found.settings
    assert found.spec.scale == {}
    spec = dataclasses.replace(
        found.spec, strategy=dataclasses.replace(found.spec.strategy, max_iterations=24)
    )
    results = raysearch.launch.launch(spec, raysearch.How("inline"))
    assert raysearch.load(runs / "w64-at-target").spec["config"] == {"width": 1024}
    assert results.curves()["loss"].min() < 0.5 * math.log(16)  # what the small one's own rate would give


def test_a_law_over_three_widths_agrees_with_a_right_rule_and_overrules_a_wrong_one(runs: Path) -> None:
    small, *others = (raysearch.load(runs / f"w{width}") for width in (64, 128, 256))
    right = raysearch.scaling.transfer(small, others, trainable=Wide)
    lr = right.values[0]
    assert "agrees" in lr.by
    assert lr.interval is not None
    assert lr.interval[0] <= 6.4 / 1024 <= lr.interval[1]
    wrong = scale_of(read_scale({"width": 64, "target": 1024, "parametrization": "mup"}))
    law = fit_law([BestValue(width, math.log(6.4 / width), 0.1) for width in (64, 128, 256)])
    overruled = _transferred("lr", 0.1, wrong, "adamw", ("width", law), believed=True)
    assert overruled.value == pytest.approx(6.4 / 1024)
    assert "beyond what was found at the smaller scales" in overruled.doubts[-1]
    loose = fit_law([BestValue(width, math.log(6.4 / width), 3.0) for width in (64, 128, 256)])
    undecided = _transferred("lr", 0.1, wrong, "adamw", ("width", loose), believed=True)
    assert (undecided.value, undecided.transfers) == (0.1, True)
    assert "too wide to say more" in undecided.doubts[-1]


def test_a_failed_check_means_that_it_does_not_transfer(runs: Path, tmp_path: Path) -> None:
    results = raysearch.load(runs / "w128")
    file = passed(0.9).save(results.path)
    try:
        found = raysearch.scaling.transfer(results, trainable=Wide)
        assert found.verdict.startswith("does not transfer: the coordinate check failed: in 1 of 1 layers")
        passed(0.0).save(results.path)
        believed = raysearch.scaling.transfer(results, trainable=Wide)
        assert believed.verdict == "in doubt: lr, weight_decay, dropout (see below)"
    finally:
        file.unlink()


def test_a_narrow_proxy_is_in_doubt() -> None:
    sizes = {"width": 8, "target": 64, "parametrization": "mup"}
    assert _narrow(scale_of(read_scale(sizes))) == ["width 8 is narrow, and muP describes wide models"]
    assert not _narrow(scale_of(read_scale({**sizes, "width": 32})))
    assert not _narrow(scale_of(read_scale({**sizes, "target": 8})))


def test_other_runs_must_be_of_the_same_search(runs: Path) -> None:
    small = raysearch.load(runs / "w64")
    with pytest.raises(SpecError, match="the runs have all the same sizes"):
        raysearch.scaling.transfer(small, [small], trainable=Wide)


def test_the_command_writes_both_files_and_prints_the_doubt(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = os.fspath(runs / "w64")
    assert main(["transfer", run, "--out", os.fspath(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "in doubt" in shown
    assert f"raysearch launch {tmp_path / 'target.yaml'}" in shown
    spec = load_spec(tmp_path / "target.yaml")
    assert (spec.strategy.name, spec.config["width"]) == ("panda", 1024)
    assert (
        main(["transfer", run, "--with", os.fspath(runs / "w256"), "--out", os.fspath(tmp_path), "--json"])
        == 0
    )
    printed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in printed["values"]] == [*SPACE]
    assert printed["values"][0]["interval"] is not None


def test_a_run_without_scale_says_how_to_have_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = fields(scale=None, config={"width": 64}, name="none", storage=tmp_path, seed_as=None)
    given["strategy"] = {**given["strategy"], "samples": 2}
    raysearch.search(given.pop("trainable"), executor="inline", **given)
    assert main(["transfer", os.fspath(tmp_path / "none")]) == 2
    assert "add one, such as scale: {width: 64, target: 1024}" in capsys.readouterr().err


# ---- what held, and is remembered


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> raysearch.Results:
    """The same search at the target, width 1,024."""
    given = fields(scale={"width": 1024, "target": 4096}, name="big", storage=tmp_path_factory.mktemp("big"))
    given["strategy"] = {**given["strategy"], "samples": 32}
    return raysearch.search(given.pop("trainable"), executor="inline", seed_as="seed", **given)


def test_a_search_at_the_target_says_which_carried_values_held(runs: Path, big: raysearch.Results) -> None:
    found = raysearch.scaling.transfer(raysearch.load(runs / "w64"), trainable=Wide)
    seen = judged(found, big, "perceptron")
    lr = seen.values["lr"]
    assert lr.held is True
    assert lr.low <= 6.4 / 1024 <= lr.high
    assert lr.carried == found.settings["lr"]
    assert seen.left == {"activation": "is no number"}
    assert (seen.growth, seen.parametrization) == ({"width": 16.0}, "standard")
    wrong = dataclasses.replace(found.values[0], value=16 * found.values[0].value)
    off = judged(dataclasses.replace(found, values=(wrong,)), big, "perceptron")
    assert off.values["lr"].held is False
    assert "did not hold" in str(off)


@pytest.mark.parametrize(
    ("of", "model", "words"),
    [
        ("w256", "mlp", "was not searched at the target, whose sizes are width 1024"),
        ("big", "m/l", "task 'm/l' cannot name a file"),
    ],
)
def test_what_cannot_judge_is_refused(
    runs: Path, big: raysearch.Results, of: str, model: str, words: str
) -> None:
    found = raysearch.scaling.transfer(raysearch.load(runs / "w64"), trainable=Wide)
    with pytest.raises(SpecError, match=words):
        judged(found, big if of == "big" else raysearch.load(runs / of), model)


def test_a_memory_says_how_often_a_hyper_parameter_held_before(
    runs: Path, big: raysearch.Results, tmp_path: Path
) -> None:
    memory = Memory(tmp_path / "memory")
    found = raysearch.scaling.transfer(raysearch.load(runs / "w64"), trainable=Wide)
    seen = judged(found, big, "perceptron")
    remember(memory, seen)
    remember(memory, seen)  # once more: it replaces itself
    lost = dataclasses.replace(seen.values["lr"], held=False)
    for model in ("cnn", "mlp"):
        remember(memory, dataclasses.replace(seen, model=model, values={"lr": lost}))
    remember(memory, dataclasses.replace(seen, model="other", parametrization="mup", values={"lr": lost}))
    remember(memory, dataclasses.replace(seen, model="deep", growth={"depth": 4.0}, values={"lr": lost}))
    known = past(memory)
    assert (len(known.good), known.bad) == (5, ())
    assert seen in known.good
    assert memory.records().good == ()  # they are none of its searches
    once = with_past(found, [seen]).values[0]
    assert once.past == "held in 1 of 1 earlier transfer (perceptron)"
    assert once.doubts == found.values[0].doubts
    often = with_past(found, known.good)
    assert often.values[0].doubts[-1] == "held in 1 of 3 earlier transfers (cnn, mlp, perceptron)"
    assert "held in 1 of 3" in str(often)
    (tmp_path / "memory" / "scale" / "broken.parquet").write_bytes(b"nothing")
    assert [name for name, _ in past(memory).bad] == ["broken.parquet"]


def test_the_command_judges_and_the_next_transfer_knows(
    runs: Path, big: raysearch.Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = ("--memory", os.fspath(tmp_path / "memory"))
    small = os.fspath(runs / "w64")
    assert main(["transfer", small, "--judge-by", os.fspath(big.path), "--model", "mlp", *held]) == 0
    shown = capsys.readouterr().out
    assert "mlp, width x 16, parametrization standard:" in shown
    assert "noted in" in shown
    assert main(["transfer", small, "--out", os.fspath(tmp_path), *held]) == 0
    assert "held in 1 of 1 earlier transfer (mlp)" in capsys.readouterr().out


# ---- the benchmark


def test_the_bench_judges_small_settings_on_seeds_that_no_search_saw(tmp_path: Path) -> None:
    """Losses made up: muP's best rate stays at all widths, that of torch's own models does not."""
    settings, file = bench.points("mlp", 4), tmp_path / "losses"
    lines = {}
    for width, is_scaled in ((0, True), (1, True), (2, True), (3, True), (3, False)):
        for point, seed in itertools.product(range(4), (0, bench.FRESH)):
            best = settings[0 if is_scaled else 1]["lr"]
            loss = 1.0 + abs(math.log(settings[point]["lr"] / best)) + (seed == bench.FRESH)
            lines[bench.Training("mlp", width, is_scaled, point, seed).key] = loss
    file.write_text(json.dumps(lines))
    losses = bench.Losses(4, file)
    row = bench.row("mlp", losses, searches=1, fresh_seeds=1)
    assert (row["gap_1/64"], row["search_mup"]) == (0.0, 2.0)
    apart = abs(math.log(settings[0]["lr"] / settings[1]["lr"]))
    assert row["gap_unchanged"] == pytest.approx(apart / 2, abs=1e-3)
    assert bench.at_edge("mlp", losses, 1) == 0
    assert bench.shifts("mlp", losses, 1)["lr"].startswith("+0.00")
    assert json.loads(file.read_text()) == lines  # nothing was trained
