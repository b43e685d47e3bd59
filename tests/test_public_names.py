"""Names that people import from raysearch: signatures, facades, and names of earlier versions."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pickle
import pydoc
import subprocess
import sys
import typing
import warnings
from typing import Any

import pytest
import trainables

import raysearch
from raysearch.core.module_names import FACADES, OFFERED, OLD
from raysearch.errors import SpecError
from raysearch.spec import make_spec
from raysearch.spec.fields import READERS

REQUIRED: dict[str, Any] = {
    "space": {"rate": {"uniform": [0.0, 1.0]}},
    "metric": "loss",
    "mode": "min",
    "strategy": raysearch.Caviar(samples=3, max_iterations=3),
}
OF_THE_RUN = {field.name for field in dataclasses.fields(raysearch.How)} | {"from_checkpoint", "at_iteration"}
PARAMETERS = inspect.signature(raysearch.search).parameters


# ---- signatures


def test_search_takes_every_field_of_a_spec_by_keyword() -> None:
    named = {name for name, one in PARAMETERS.items() if one.kind is not inspect.Parameter.VAR_KEYWORD}
    assert named - OF_THE_RUN == set(READERS)
    assert named >= OF_THE_RUN
    by_place = {name for name, one in PARAMETERS.items() if one.kind is one.POSITIONAL_OR_KEYWORD}
    assert by_place == {"trainable"}


def test_every_default_of_search_is_the_one_of_the_spec() -> None:
    defaults = {name: one.default for name, one in PARAMETERS.items() if one.default is not one.empty}
    given = {name: value for name, value in defaults.items() if name in READERS and value is not None}
    plain = make_spec(trainable=trainables.Walk, **REQUIRED)
    assert make_spec(trainable=trainables.Walk, **REQUIRED, **given) == plain
    run = {name: value for name, value in defaults.items() if name in OF_THE_RUN and value is not None}
    how = raysearch.How()
    assert run == {name: getattr(how, name) for name in run}
    needed = set(REQUIRED) - {"metric", "mode"}  # which objectives may stand in for
    assert needed == {name for name in READERS if name not in defaults} - {"trainable"}


def test_every_parameter_of_search_and_resume_has_a_type_that_editors_can_read() -> None:
    for function in (raysearch.search, raysearch.resume):
        hints = typing.get_type_hints(function, include_extras=True)
        assert set(hints) == {*inspect.signature(function).parameters, "return"}


def test_help_shows_the_fields_with_their_defaults() -> None:
    text = pydoc.plain(pydoc.render_doc(raysearch.search))
    for words in ("retries: 'int' = 1", "priority: 'float' = 1.0", "executor: 'Executor' = 'tune'"):
        assert words in text


@pytest.mark.parametrize(("wrong", "near"), [("metrics_", "metric"), ("sead", "seed")])
def test_a_keyword_that_search_does_not_know_names_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(SpecError, match=f"unknown field '{wrong}'; did you mean '{near}'"):
        raysearch.search(trainables.Walk, **REQUIRED, **{wrong: 1})


# ---- facades and old names


@pytest.mark.parametrize("facade", FACADES)
def test_a_facade_offers_what_the_module_behind_it_makes_public(facade: str) -> None:
    module = importlib.import_module(FACADES[facade])
    assert getattr(raysearch, facade) is module
    stand_in = importlib.import_module(f"raysearch.{facade}")
    assert sorted(dir(stand_in)) == sorted(OFFERED[facade]) == sorted(module.__all__)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in OFFERED[facade]:
            assert getattr(stand_in, name) is getattr(module, name)
    assert facade in dir(raysearch)


@pytest.mark.parametrize(("module", "name"), [(old, name) for old, names in OLD.items() for name in names])
def test_an_old_name_works_and_says_the_new_one(module: str, name: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"{module}\.{name} is {OLD[module][name]}\.{name} now"):
        exec(f"from {module} import {name} as found", known := {})
    assert known["found"] is getattr(importlib.import_module(OLD[module][name]), name)


def test_stand_ins_load_nothing_until_one_of_their_names_is_taken() -> None:
    code = (
        "import sys, raysearch.memory, raysearch.retesting\n"
        "names = ('raysearch.memory', 'raysearch.retesting', 'raysearch.strategies.planning')\n"
        "assert not any(hasattr(sys.modules[name], 'add') for name in names)\n"
        "print(sorted({'pyarrow', 'ray', 'torch', 'raysearch.workflows'} & sys.modules.keys()))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_what_a_facade_offers_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(raysearch.memory.Memory)) is raysearch.memory.Memory
