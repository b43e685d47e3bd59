from __future__ import annotations

import subprocess
import sys

import pytest

from raysearch import examples
from raysearch.errors import SpecError
from raysearch.spec import load_spec
from raysearch.spec.trainables import is_learner, load_trainable


def test_the_examples_by_name() -> None:
    assert examples.names() == ["chars", "digits", "mnist", "panda_chars", "panda_mnist1d", "transformer"]
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
    assert spec.seed_as == "seed"


@pytest.mark.parametrize("name", examples.names())
def test_each_example_trains_whatever_its_space_can_give(name: str) -> None:
    spec = load_spec(examples.path(name))
    cls = load_trainable(spec.trainable)
    for i in range(20):
        config = {**spec.config, **spec.space.sample(1, i)}
        if is_learner(cls):
            (inputs, labels), model = cls.prepared()[0].train, cls.plain().model(config)
        else:
            (inputs, labels), model = cls.problem().train, cls.problem().build(config)
        assert model(inputs[:2]).shape[:-1] == labels[:2].shape
