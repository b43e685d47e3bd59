from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from raysearch import examples
from raysearch.errors import SpecError
from raysearch.launch import How, launch
from raysearch.spec import load_spec
from raysearch.spec.trainables import is_learner, load_trainable

OF_PROCESSES = ["ddp_digits", "fsdp_transformer"]
NEEDS = {"jax": "flax", "keras": "keras", "xgboost": "xgboost"}  # packages that the tests do not install
OF_FRAMEWORKS = [
    *("accelerate", "function", "huggingface", "hydra", "lightning", "optuna", "script"),
    *NEEDS,
]


def test_the_examples_by_name() -> None:
    ours = [
        "chars",
        "ddp_digits",
        "digits",
        "fsdp_transformer",
        "mnist",
        "panda_chars",
        "panda_mnist1d",
        "transformer",
    ]
    assert examples.names() == sorted([*ours, *OF_FRAMEWORKS])
    assert examples.path("digits").read_text().startswith("# Handwritten digits")


def test_an_unknown_example_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="unknown example 'digit'; did you mean 'digits'"):
        examples.path("digit")


def test_naming_the_examples_loads_neither_ray_nor_torch() -> None:
    code = "import sys, raysearch.examples as e; e.path('digits'); print({'ray', 'torch'} & {*sys.modules})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize("name", examples.names())
def test_the_baseline_of_each_example_lies_in_its_space(name: str) -> None:
    spec = load_spec(examples.path(name))
    assert spec.name == name
    assert spec.space.why_not(spec.baseline) is None
    assert spec.seed_as == (None if name == "optuna" else "seed")


@pytest.mark.parametrize("name", sorted({*examples.names()} - {*OF_FRAMEWORKS, *OF_PROCESSES}))
def test_each_example_trains_whatever_its_space_can_give(name: str) -> None:
    spec = load_spec(examples.path(name))
    cls = load_trainable(spec.trainable)
    for i in range(5):
        config = {**spec.config, **spec.space.sample(1, i)}
        if is_learner(cls):
            (inputs, labels), model = cls.prepared()[0].train, cls.plain().model(config)
        else:
            (inputs, labels), model = cls.problem().train, cls.problem().build(config)
        assert model(inputs[:2]).shape[:-1] == labels[:2].shape


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*OF_FRAMEWORKS, *OF_PROCESSES])
def test_each_example_of_a_framework_or_of_processes_is_searched_as_it_is(name: str, storage: Path) -> None:
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"needs `pip install {NEEDS[name]}`")
    size = {"strategy.samples": 1, "strategy.max_iterations": 1, "strategy.finish": None}
    spec = load_spec(examples.path(name), {**size, "storage": str(storage)})
    results = launch(spec, How("inline", say=lambda line: None))
    assert results.trials().status.tolist() == ["completed"]
