"""Specs: a YAML file or keyword arguments become one checked SearchSpec, and mistakes are named."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from raysearch.core.quantities import seconds, size
from raysearch.core.yaml_io import read_yaml, write_yaml
from raysearch.errors import LocatedError, SpecError
from raysearch.space import Space
from raysearch.space.domains import LogUniform, Uniform
from raysearch.spec import (
    Budget,
    SearchSpec,
    Workers,
    apply_overrides,
    default_name,
    load_spec,
    make_spec,
    trainable_name,
)
from raysearch.strategies.caviar import Caviar


def bomb(first: str, level: str, times: int = 8, levels: int = 8) -> str:
    """A list in which each anchor names the one before it so many times."""
    named = (f"&a{k} {level.format(','.join([f'*a{k - 1}'] * times))}" for k in range(1, levels))
    return f"a: [&a0 {first}, {', '.join(named)}]"


FULL = """
name: digits
trainable: raysearch.examples.digits:Digits
metric: val_loss
mode: min
space:
  lr: {loguniform: [1e-4, 1]}
  optimizer: {choice: [sgd, adamw]}
  beta2: {uniform: [0.9, 0.999], when: {optimizer: adamw}}
  net: {layers: {randint: [1, 4]}, width: {lograndint: [8, 512]}}
constraints: ["net.layers * net.width <= 1024"]
strategy: {name: caviar, samples: 100, max_iterations: 27, finish: off}
workers: {count: 3, cpu: 2, gpu: 0.25, resources: {tpu: 1}}
storage: runs/
storage_timeout: 2m
budget: {hours: 8, gpu_hours: 64, trials: 1000}
seed: 7
baseline: {lr: 1e-3, optimizer: sgd, net: {layers: 2, width: 64}}
wandb: {mode: off, project: digits, entity: team, tags: [a, b]}
isolate: true
stall_timeout: 10m
retries: 2
quota: 50 GB
seed_as: seed
config: {data: mnist, epochs: 3}
"""
KEYWORDS: dict[str, Any] = {
    "trainable": "pkg.module:Train",
    "space": {"lr": {"uniform": [0, 1]}},
    "metric": "loss",
    "mode": "min",
    "strategy": {"name": "caviar", "samples": 5, "max_iterations": 9},
}


def train(config: dict[str, Any]) -> None:
    """A trainable."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "search.yaml"


def error_of(file: Path, text: str, overrides: Any = ()) -> str:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as error:
        load_spec(file, overrides)
    return str(error.value)


# What is understood.


def test_every_field_of_a_file_is_read(file: Path) -> None:
    file.write_text(FULL)
    spec = load_spec(file)
    assert spec == SearchSpec(
        name="digits",
        trainable="raysearch.examples.digits:Digits",
        metric="val_loss",
        mode="min",
        space=spec.space,
        strategy=Caviar(samples=100, max_iterations=27, finish=None),
        workers=Workers(3, 2.0, 0.25, {"tpu": 1.0}),
        storage="runs/",
        storage_timeout_s=120.0,
        budget=Budget(8.0, 64.0, 1000),
        seed=7,
        baseline={"lr": 1e-3, "optimizer": "sgd", "net": {"layers": 2, "width": 64}},
        wandb={"mode": "off", "project": "digits", "entity": "team", "tags": ["a", "b"]},
        isolate=True,
        stall_timeout_s=600.0,
        retries=2,
        quota=50 * 10**9,
        seed_as="seed",
        config={"data": "mnist", "epochs": 3},
    )
    assert spec.space.names == ("lr", "optimizer", "beta2", "net/layers", "net/width")
    assert [c.text for c in spec.space.constraints] == ["net.layers * net.width <= 1024"]


def test_the_resolved_yaml_is_read_back_as_the_same_spec(file: Path) -> None:
    file.write_text(FULL)
    spec = load_spec(file)
    file.write_text(spec.to_yaml())
    assert load_spec(file) == spec
    assert load_spec(file).to_yaml() == spec.to_yaml()
    assert yaml.safe_load(spec.to_yaml())["stall_timeout"] == 600.0


def test_keywords_and_their_yaml_are_the_same(file: Path) -> None:
    timeouts = {"stall_timeout_s": 90, "storage_timeout_s": 600}
    spec = make_spec(**KEYWORDS, name="x", quota="1.5 GiB", workers=4, wandb="offline", **timeouts)
    file.write_text(spec.to_yaml())
    assert load_spec(file) == spec
    assert (spec.quota, spec.workers.count) == (1.5 * 2**30, 4)
    assert (spec.stall_timeout_s, spec.storage_timeout_s) == (90.0, 600.0)
    assert spec.wandb == {"mode": "offline"}


def test_what_is_not_said_has_a_default() -> None:
    spec = make_spec(**KEYWORDS, stall_timeout=None, quota=None, budget=None)
    assert (spec.name, spec.storage, spec.seed, spec.retries) == ("train", "runs", 0, 1)
    assert spec.storage_timeout_s == 60.0
    assert (spec.workers, spec.budget) == (Workers("auto", 1.0, 0.0, {}), Budget(None, None, None))
    assert (spec.baseline, spec.isolate, spec.stall_timeout_s, spec.quota) == (None, False, None, None)


def test_a_strategy_is_a_mapping_or_a_recipe() -> None:
    recipe = Caviar(samples=5, max_iterations=9)
    assert make_spec(**KEYWORDS).strategy == recipe
    assert make_spec(**{**KEYWORDS, "strategy": recipe}).strategy is recipe


def test_values_made_in_python_are_accepted(tmp_path: Path) -> None:
    space = Space({"lr": LogUniform(1e-4, 1)})
    spec = make_spec(
        **{**KEYWORDS, "space": space, "trainable": train},
        storage=tmp_path,
        workers=Workers(2),
        budget=Budget(hours=1),
        constraints="lr < 0.5",
    )
    assert spec.trainable is train
    assert spec.storage == str(tmp_path)
    assert (spec.workers.count, spec.budget.hours) == (2, 1.0)
    assert [c.text for c in spec.space.constraints] == ["lr < 0.5"]


def test_a_trainable_object_is_written_as_its_name(file: Path) -> None:
    spec = make_spec(**{**KEYWORDS, "trainable": functools.partial(train, {})})
    assert spec.name == "train"
    assert spec.to_dict()["trainable"] == f"{__name__}:train.<partial>"
    assert trainable_name(Path) == f"{Path.__module__}:Path"
    assert default_name("a/b.py:My.Net") == "net"


def test_a_sampler_object_is_written_as_its_class() -> None:
    class Mine:
        def propose(self) -> None: ...
        def observe(self) -> None: ...

    spec = make_spec(**{**KEYWORDS, "strategy": Caviar(samples=5, max_iterations=9, sampler=Mine())})  # type: ignore[arg-type]
    assert spec.to_dict()["strategy"]["sampler"].endswith("Mine")


def test_a_trainable_in_a_file_beside_the_spec_is_found_from_anywhere(file: Path) -> None:
    (file.parent / "model.py").write_text("")
    file.write_text(FULL.replace("raysearch.examples.digits:Digits", "model.py:Net"))
    assert load_spec(file).trainable == f"{file.parent / 'model.py'}:Net"
    file.write_text(FULL.replace("raysearch.examples.digits:Digits", "elsewhere.py:Net"))
    assert load_spec(file).trainable == "elsewhere.py:Net"


@pytest.mark.parametrize("line", ["", "name:\n", "name: null\n"])
def test_a_file_names_the_run_that_has_no_name(tmp_path: Path, line: str) -> None:
    file = tmp_path / "my search!.yaml"
    file.write_text(FULL.replace("name: digits\n", line))
    assert load_spec(file).name == "my-search"


def test_overrides_take_the_place_of_what_the_file_says(file: Path) -> None:
    file.write_text(FULL)
    texts = ["strategy.samples=50", "space.lr={loguniform: [1e-3, 1e-1]}", "budget.hours=2", "mode=max"]
    spec = load_spec(file, [*texts, "baseline=null"])
    assert spec.strategy == Caviar(samples=50, max_iterations=27, finish=None)
    assert spec.space.domains["lr"] == LogUniform(1e-3, 0.1)
    assert (spec.budget.hours, spec.mode, spec.baseline) == (2.0, "max", None)
    assert load_spec(file, {"strategy.samples": 50, "seed": 3}).seed == 3


def test_an_override_makes_room_for_itself() -> None:
    settings: dict[str, Any] = {"strategy": "caviar", "budget": None}
    apply_overrides(settings, ["strategy.samples=5", "budget.hours=1", "wandb.mode=off"])
    assert settings == {
        "strategy": {"name": "caviar", "samples": 5},
        "budget": {"hours": 1},
        "wandb": {"mode": "off"},
    }


def test_notes_of_the_reader_come_with_the_spec() -> None:
    from ray import tune

    spec = make_spec(**{**KEYWORDS, "space": {"lr": tune.uniform(0, 1), "s": tune.grid_search([1, 2])}})
    assert spec.notes == ("space.s: grid_search is read as a choice: values are drawn, not enumerated",)
    assert spec.space.domains["lr"] == Uniform(0, 1)


def test_a_space_may_stand_in_a_file_of_its_own_such_as_a_sweep(file: Path) -> None:
    rest = (
        "metric: loss\nmode: min\ntrainable: a:b\nstrategy: {name: caviar, samples: 1, max_iterations: 1}\n"
    )
    file.write_text("space: other.yaml\n" + rest)
    other = file.parent / "other.yaml"
    for text in (
        "method: bayes\nmetric: {name: a}\nparameters: {lr: {min: 0.0, max: 1.0}}\n",
        "space: {lr: {uniform: [0.0, 1.0]}}\n",
        "lr: {uniform: [0.0, 1.0]}\n",
    ):
        other.write_text(text)
        assert load_spec(file).space.to_dict() == {"lr": {"uniform": [0.0, 1.0]}}
    other.unlink()
    with pytest.raises(SpecError, match=r"other\.yaml"):
        load_spec(file)


def test_a_wandb_sweep_file_is_read(file: Path) -> None:
    file.write_text(
        "program: train.py\nmethod: bayes\nrun_cap: 30\nproject: p\n"
        "metric: {name: acc, goal: maximize}\n"
        "parameters:\n  lr: {distribution: log_uniform_values, min: 1e-4, max: 1}\n  n: {values: [1, 2]}\n"
    )
    overrides = ["trainable=a:b", "strategy.max_iterations=27", "space.n={choice: [3]}"]
    spec = load_spec(file, overrides)
    assert (spec.metric, spec.mode, spec.wandb) == ("acc", "max", {"project": "p"})
    assert spec.strategy == Caviar(samples=30, max_iterations=27)
    assert spec.space.domains["lr"] == LogUniform(1e-4, 1)
    assert spec.space.sample(0, 0)["n"] == 3
    assert spec.notes[0].startswith("program: 'train.py' of the W&B sweep is ignored")
    file.write_text("parameters: {lr: {distribution: beta}}\nmetric: {name: a}\n")
    with pytest.raises(
        SpecError, match=r"search.yaml \[parameters.lr\]: distribution 'beta' is not supported"
    ):
        load_spec(file)


# What is refused.


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"spce": {}}, "spce: unknown field 'spce'; did you mean 'space'? known: baseline, budget, "),
        ({"metric": None}, "metric: is missing: the name under which"),
        ({"space": None}, "space: is missing"),
        ({"metric": 3}, "metric: must be text, not 3"),
        ({"mode": "minimum"}, "mode: unknown mode 'minimum'; did you mean 'min'? known: max, min"),
        ({"space": {"lr": {"logunifrom": [1, 2]}}}, "space.lr: unknown domain 'logunifrom'; did you mean"),
        (
            {"space": {"lr": 1, "constraints": ["lx > 1"]}},
            "space.constraints: constraint 'lx > 1': unknown name",
        ),
        ({"space": 3}, "space: 3 is no search space"),
        ({"constraints": ["lr > 2"]}, "space.constraints: the constraints leave next to nothing"),
        ({"constraints": ["lx > 2"]}, "constraints: constraint 'lx > 2': unknown name 'lx'; "),
        ({"constraints": ["lr >"]}, "constraints: constraint 'lr >' is not an expression"),
        ({"constraints": 3}, "constraints: 3 is not a list of expressions"),
        ({"strategy": "cavair"}, "strategy: unknown strategy 'cavair'; did you mean 'caviar'?"),
        (
            {"strategy": {"samples": 3}},
            "strategy: needs a name, such as {name: caviar, samples: 100}; known: ",
        ),
        ({"strategy": {"name": "caviar", "smples": 3}}, "unknown field 'smples'; did you mean 'samples'?"),
        ({"strategy": 3}, "strategy: 3 is no strategy"),
        ({"strategy": Caviar}, "is no strategy; give a name, a mapping with name, or a recipe"),
        ({"workers": {"count": 0}}, "workers.count: must be a whole number from 1, not 0"),
        ({"workers": "many"}, "workers.count: must be a whole number from 1, or auto, not 'many'"),
        ({"workers": {"count": 1.5}}, "workers.count: the value must be an integer, not 1.5"),
        ({"workers": {"gpus": 1}}, "workers.gpus: unknown field 'gpus'; did you mean 'gpu'?"),
        ({"workers": {"gpu": 1.5}}, "workers.gpu: 1.5: above one, Ray gives out whole GPUs only"),
        ({"workers": {"cpu": -1}}, "workers.cpu: must not be negative: -1.0"),
        ({"workers": {"cpu": 0}}, "workers: a worker that takes nothing fits any number of times"),
        ({"workers": {"resources": {"x": 0}}}, "workers.resources: must be above zero"),
        ({"workers": [1]}, "workers.count: the value must be a number, not [1]"),
        ({"budget": {"hours": 0}}, "budget.hours: must be above zero, not 0.0"),
        ({"budget": {"trials": 0}}, "budget.trials: must be a whole number from 1"),
        ({"budget": {"minutes": 3}}, "budget.minutes: unknown field 'minutes'"),
        ({"budget": 3}, "budget: must be a mapping with hours, gpu_hours, cpu_hours, money, "),
        ({"seed": -1}, "seed: must be a whole number from 0, not -1"),
        ({"seed": "x"}, "seed: the value must be a number, not 'x'"),
        ({"retries": 1.5}, "retries: the value must be an integer, not 1.5"),
        ({"quota": "50 GX"}, "quota: '50 GX' is not a size: bytes, or text such as"),
        ({"quota": 0}, "quota: 0 must be above zero and finite"),
        ({"quota": 0.1}, "quota: 0.1 is less than a byte"),
        ({"stall_timeout": "soon"}, "stall_timeout: 'soon' is not a time: seconds, or text such as"),
        ({"isolate": "yes"}, "isolate: must be true or false, not 'yes'"),
        ({"name": "a/b"}, "name: 'a/b' cannot name a folder"),
        ({"name": ".."}, "name: '..' cannot name a folder"),
        ({"storage": ""}, "storage: must be text, not ''"),
        ({"trainable": "train"}, "trainable: 'train' is not of the form module:attribute"),
        ({"trainable": "a:b c"}, "trainable: 'a:b c' is not of the form"),
        ({"trainable": 3}, "trainable: 3 is neither a class, a function, nor text"),
        ({"wandb": {"mode": "no"}}, "wandb.mode: unknown mode 'no'; known: auto, off, offline, online"),
        ({"wandb": {"projct": "x"}}, "wandb.projct: unknown field 'projct'; did you mean 'project'?"),
        ({"wandb": {"tags": "x"}}, "wandb.tags: must be a list of texts, not 'x'"),
        (
            {"baseline": {"lr": 2}},
            "baseline: lr = 2 is outside [0.0, 1.0]; the baseline must lie in the space",
        ),
        ({"baseline": 3}, "baseline: must be a mapping, not 3"),
        ({"config": {"lr": 1}}, "config.lr: is in the space too"),
        ({"config": {"f": print}}, "config: <built-in function print> is a builtin_function"),
        ({"seed_as": "lr"}, "seed_as: 'lr' is in the space too, and would be overwritten"),
        ({"seed_as": "s", "config": {"s": 1}}, "seed_as: 's' is in the config too"),
    ],
)
def test_a_keyword_that_cannot_be_is_told_where_and_why(change: dict[str, Any], text: str) -> None:
    with pytest.raises(LocatedError) as error:
        make_spec(**{**KEYWORDS, **change})
    assert text in str(error.value)
    if ": " in text and not text.startswith(("unknown", "is no")):
        assert str(error.value).startswith(text.split(": ")[0] + ": ")


def test_a_missing_trainable_is_told() -> None:
    with pytest.raises(LocatedError, match=r"^trainable: is missing: the class or function that trains"):
        make_spec(metric="loss")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1\nb: 2", "search.yaml line 2, column 2: expected ',' or ']'"),
        ("name: a\nmode: min\nname: b", "yaml line 3, column 1: 'name' is given twice; it stands on line 1"),
        ("space:\n  lr: 1\n  lr: 2", "yaml line 3, column 3: 'lr' is given twice; it stands on line 2"),
        ("\tname: a", "search.yaml line 1, column 1: found character '\\t'"),
        ("a: *b", "search.yaml line 1, column 4: found undefined alias"),
        ("a: !!python/object:os.system x", "search.yaml line 1, column 4: could not determine a constructor"),
        ("a: !!timestamp x", "line 1, column 4: could not determine a constructor for the tag '!!timestamp'"),
        ("a: !!set {b}", "line 1, column 4: could not determine a constructor for the tag '!!set'"),
        ("a: !!bool x", "search.yaml line 1, column 4: 'x' is tagged !!bool, which it is not"),
        ("a: !!map [b]", "search.yaml line 1, column 4: expected a mapping node, but found sequence"),
        ("a: " + "9" * 310, "search.yaml line 1, column 4: a whole number of 310 digits; at most 309"),
        ("a: 0x" + "f" * 9000, "search.yaml line 1, column 4: a whole number of 9,002 digits; at most 309"),
        ("a: " + "[" * 400 + "]" * 400, "line 1, column 63: more than 60 lists and mappings stand"),
        (bomb("[x]", "[{}]"), "aliases (*) repeat more than 10,000 values"),
        (bomb("{x: 1}", "{{<<: [{}]}}"), "aliases (*) repeat more than 10,000 values"),
        (bomb("[x]", "[[[[[[[{}]]]]]]]", 1, 11), "more than 60 lists and mappings stand inside one another"),
        ("", "search.yaml is empty; it needs trainable, metric, mode, space, strategy"),
        ("- a", "search.yaml holds list, not a mapping"),
        ("1: a", "search.yaml [1]: unknown field 1"),
        (FULL + "sed: 1\n", "search.yaml [sed]: unknown field 'sed'; did you mean 'seed'?"),
        (FULL.replace("loguniform", "logunifrom"),
         "search.yaml [space.lr]: unknown domain 'logunifrom'; did you mean 'loguniform'? known: choice"),
        (FULL.replace("randint: [1, 4]", "randint: [4, 1]"), "[space.net.layers]: low = 4 is above high"),
        (FULL.replace("1024", "many"), "[constraints]: constraint 'net.layers * net.width <= many'"),
        (FULL.replace("gpu: 0.25", "gpu: a"), "[workers.gpu]: the value must be a number, not 'a'"),
        (FULL.replace("layers: 2", "layers: 9"), "search.yaml [baseline]: net.layers = 9 is outside [1, 4]"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_told_with_its_name_and_place(file: Path, text: str, says: str) -> None:
    assert says in error_of(file, text)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("samples", "--set 'samples' is not of the form path=value"),
        ("=3", "--set '=3' is not of the form path=value"),
        ("a..b=3", "is not of the form path=value"),
        ("space.lr=[1", "--set space.lr line 1"),
        ("name.x=3", "search.yaml [name.x]: cannot be set: name is 'digits', which has no members"),
        ("strategy.smples=3", "search.yaml [strategy]: strategy caviar: unknown field 'smples'"),
    ],
)
def test_an_override_that_cannot_be_is_told(file: Path, override: str, says: str) -> None:
    assert says in error_of(file, FULL, [override])


def test_files_that_are_not_there_or_are_not_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no such file"):
        load_spec(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        load_spec(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="is not UTF-8 text"):
        load_spec(tmp_path / "b.yaml")


# YAML.


def test_plain_scalars_are_what_people_mean() -> None:
    numbers = "1e-4, 1E5, .5, -3, 1_000, 0x1f, 0o17"
    text = f"[{numbers}, on, off, yes, 12:30, 010, true, ~, null, .inf, 2020-01-01, 1.5.2]"
    assert read_yaml(text, "x") == [
        1e-4, 1e5, 0.5, -3, 1000, 31, 15, "on", "off", "yes", "12:30", 10, True, None, None, math.inf,
        "2020-01-01", "1.5.2",
    ]  # fmt: skip
    assert math.isnan(read_yaml(".nan", "x"))
    assert read_yaml("a: &x {b: 1}\nc: {<<: *x, d: 2}", "x")["c"] == {"b": 1, "d": 2}


texts = st.text(st.sampled_from("019aeEtrunofysxNTY.+-_:~ '\"#{}[]&*!|>%@`,?=<\n"), max_size=8) | st.text(
    st.sampled_from("a\x85\u2028\u2029\ufeff\r\n \t\x07é😀"), max_size=5
)
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(plain_values)
def test_what_is_written_is_read_back_here_and_by_any_yaml_reader(value: Any) -> None:
    try:
        written = write_yaml(value)
    except yaml.YAMLError:
        pytest.fail(f"cannot be written: {value!r}")
    assert read_yaml(written, "x") == value
    assert repr(read_yaml(written, "x")) == repr(value)
    assert repr(yaml.safe_load(written)) == repr(value)


# Amounts.


@pytest.mark.parametrize(
    ("text", "amount"),
    [(90, 90), ("90", 90), ("90s", 90), ("10m", 600), ("10 min", 600), ("2h", 7200), ("1h30m", 5400),
     ("1d", 86400), ("1h 30m", 5400), (" 0.5h ", 1800), (1.5, 1.5)],
)  # fmt: skip
def test_times_are_read(text: Any, amount: float) -> None:
    assert seconds(text) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        (5, 5),
        ("50 GB", 50 * 10**9),
        ("50GiB", 50 * 2**30),
        ("1.5 kb", 1500),
        ("2 TiB", 2**41),
        ("7", 7),
        ("3b", 3),
    ],
)
def test_sizes_are_read(text: Any, amount: int) -> None:
    assert size(text) == amount


@pytest.mark.parametrize(
    "wrong", ["", "m", "10 parsecs", "-5s", "5s x", 0, -1, math.nan, math.inf, True, None, []]
)
def test_what_is_no_time_is_refused(wrong: Any) -> None:
    with pytest.raises(SpecError):
        seconds(wrong)


def test_what_is_said_of_wandb_is_kept_without_a_note() -> None:
    fields: dict[str, Any] = {
        "trainable": "m:f",
        "metric": "loss",
        "mode": "min",
        "space": {"x": {"uniform": [0, 1]}},
        "strategy": {"name": "caviar", "samples": 3, "max_iterations": 3},
    }
    spec = make_spec(**fields, wandb={"mode": "online", "project": "digits"})
    assert spec.notes == ()
    assert spec.wandb == {"mode": "online", "project": "digits"}
    assert not make_spec(**fields).notes


def test_an_anchor_that_holds_itself_is_an_error_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text("space: &a {lr: *a}\n")
    with pytest.raises(SpecError, match=r"yaml line 1, column 16: an anchor \(&\) stands inside what it"):
        load_spec(file)
