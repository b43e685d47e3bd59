"""Compiled steps: the same numbers, one compilation for all, and training that goes on without."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import learners
import pytest
import torch
from waiting import wait_for

import raysearch.fused.compile_cache as compiled
from raysearch.core.cache_dir import why_shared
from raysearch.errors import TrainableError
from raysearch.fused import traced_shapes, traced_step
from raysearch.fused.member import member
from raysearch.fused.pack import Pack
from raysearch.fused.plan import Moment, make_plan
from raysearch.fused.single import Alone, fresh
from raysearch.fused.step import StepBlock
from raysearch.fused.structure import Lifting, lifted_values, structure_of

COMPILE_S = 3600.0  # half a minute of work, for which the compiler takes only what everybody else leaves it
CPU = torch.device("cpu")
CONFIG = {**learners.CONFIG, "optimizer": "adamw", "batch_size": 30}  # all batches are of one size


class Quick(learners.Perceptron):
    """Compiled as soon as it is known to be a list."""

    compile = True


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(traced_step, "PATIENCE", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def pack_of(learner: type[Any], models: int) -> Pack:
    plain, (data, _) = learner.plain(), learner.prepared()
    form, first = fresh(plain, CONFIG, 0), member(plain, CONFIG, 0)
    structure = structure_of(form, first, Lifting())
    pack = Pack(plain, data, CPU, form, structure, first, Lifting())
    for seed in range(models):
        model = fresh(plain, {**CONFIG, "lr": 0.01 / (seed + 1)}, seed)
        config = {**CONFIG, "lr": 0.01 / (seed + 1)}
        own = member(plain, config, seed)
        pack.join(own, pack.layout.row_of(model), lifted_values(model, structure))
    return pack


def libraries(pack: Pack) -> list[compiled.Library]:
    return [shape.library for shape in pack._traces.steps._shapes.values() if shape.library is not None]


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one - other).norm().item() / other.norm().item()


@pytest.mark.skipif(bool(compiled.missing(CPU)), reason=compiled.missing(CPU))
@pytest.mark.slow
def test_two_hundred_steps_some_of_them_compiled_end_where_the_model_alone_does() -> None:
    pack = pack_of(Quick, 4)
    pack.width = 2  # models in a step: two steps share what is compiled
    for _ in range(20):  # three steps each, by the list
        pack.iterate()
    (library,) = libraries(pack)
    wait_for(lambda: not library.is_busy(), COMPILE_S)
    assert library.ready(), library.trouble
    for _ in range(47):
        pack.iterate()
    assert (pack.uncompiled, pack._traces.steps.proven) == ("", True)
    for seed, row in enumerate(pack.take(range(4))):
        plain = Quick.plain()
        one = Alone(plain, Quick.prepared()[0], CPU, {**CONFIG, "lr": 0.01 / (seed + 1)}, seed)
        for _ in range(67):
            one.iterate()
        assert distance(row.parameters, one.row().parameters) <= 1e-4
    again = pack_of(Quick, 4)  # as another worker finds it: nothing is compiled, one look and two proofs
    again.width = 2
    again.iterate()
    again.iterate()
    assert [library.is_busy() for library in libraries(again)] == [False]
    assert again._traces.steps.proven


def test_without_a_compiler_training_goes_on_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    pack = pack_of(Quick, 3)
    for _ in range(2):
        reports = pack.iterate()
    assert pack.uncompiled == "there is no C++ compiler (no-such-compiler) on this machine"
    assert all(isinstance(report, dict) for report in reports)
    assert not pack.refused


def test_a_compiler_that_fails_is_quoted_and_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\necho 'in file x' >&2\necho 'OSError: no space left' >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(failing))
    monkeypatch.setenv("CXX", "sh")  # something that is there
    pack = pack_of(Quick, 3)
    pack.iterate()
    (library,) = libraries(pack)
    wait_for(lambda: not library.is_busy())
    assert not library.ready()
    reports = pack.iterate()
    assert pack.uncompiled == "OSError: no space left"
    assert all(isinstance(report, dict) for report in reports)


def test_a_library_that_is_torn_is_thrown_away_and_training_goes_on(tmp_path: Path) -> None:
    pack = pack_of(Quick, 3)
    block, moment = block_of(pack)
    steps, inputs = compiled.listed(pack._plain_step, block, moment)
    file = tmp_path / f"{compiled._key(steps, inputs)}.pt2"
    file.write_bytes(b"half a file")
    library = compiled.Library(steps, inputs, tmp_path)
    assert not library.ready()
    assert library.trouble.startswith("what was compiled cannot be loaded")
    assert not file.exists()


def test_a_library_where_others_can_write_is_neither_loaded_nor_made(tmp_path: Path) -> None:
    pack = pack_of(Quick, 3)
    steps, inputs = compiled.listed(pack._plain_step, *block_of(pack))
    home = tmp_path / "cache"
    home.mkdir()
    home.chmod(0o777)
    words = rf"kept where others could change it: others may write to {home} \(chmod go-w"
    library = compiled.Library(steps, inputs, home)
    assert not library.ready()
    assert re.search(words, library.trouble)
    assert [*home.iterdir()] == []
    home.chmod(0o755)
    planted = home / f"{compiled._key(steps, inputs)}.pt2"
    planted.touch()
    planted.chmod(0o666)
    library = compiled.Library(steps, inputs, home)
    assert not library.ready()
    assert f"others may write to {planted}" in library.trouble


def test_a_job_that_another_process_wrote_is_not_unpickled(tmp_path: Path) -> None:
    class Planted:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "it ran"),)

    command = [sys.executable, "-m", "raysearch.fused.compile_worker", str(tmp_path / "made.pt2"), "0" * 64]
    ran = subprocess.run(command, input=pickle.dumps(Planted()), capture_output=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.endswith(b"ValueError: the list of operations is not the one that was sent\n")
    assert {file.name for file in tmp_path.iterdir()} == {"made.lock"}


def test_folders_of_other_users_and_of_their_groups_are_shared_and_sticky_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert why_shared(inner) == ""  # below /tmp, which is sticky
    inner.parent.chmod(0o775)
    assert why_shared(inner) == ""
    gid = os.getgid()
    monkeypatch.setattr(os, "getgid", lambda: gid + 1)
    assert f"others may write to {inner.parent}" in why_shared(inner)
    inner.parent.chmod(0o755)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    if inner.stat().st_uid != 0:
        assert f"{inner} belongs to user" in why_shared(inner)


def test_inputs_that_lie_in_memory_in_another_way_are_refused(tmp_path: Path) -> None:
    pack = pack_of(Quick, 3)
    steps, inputs = compiled.listed(pack._plain_step, *block_of(pack))
    (tmp_path / f"{compiled._key(steps, inputs)}.pt2").touch()
    library = compiled.Library(steps, inputs, tmp_path)
    with pytest.raises(RuntimeError, match="in another way than before"):
        library([inputs[0].t().contiguous().t(), *inputs[1:]])


def block_of(pack: Pack) -> tuple[StepBlock, Moment]:
    plan = make_plan(pack._learner, pack.members, pack._data, CPU)
    block = pack._block(plan, 0, len(pack))
    return block, block.moments()[0]


def test_auto_compiles_what_has_taken_as_long_as_compiling_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quick, "compile", "auto")
    monkeypatch.setenv("CXX", "no-such-compiler")
    pack = pack_of(Quick, 3)
    for _ in range(3):
        pack.iterate()
    assert not pack.uncompiled
    monkeypatch.setattr(traced_shapes, "WORTH_S", 0.0)
    pack.iterate()
    assert pack.uncompiled


def test_a_library_that_does_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traced_step, "Library", Wrong)
    pack, plain = pack_of(Quick, 3), pack_of(learners.Perceptron, 3)
    for _ in range(3):
        pack.iterate()
        plain.iterate()
    assert pack.uncompiled == "it came out different"
    for mine, theirs in zip(pack.take(range(3)), plain.take(range(3)), strict=True):
        assert torch.equal(mine.parameters, theirs.parameters)


class Wrong:
    """A library that moves no weight."""

    trouble = ""

    def __init__(self, steps: Any, inputs: list[torch.Tensor]) -> None:
        self._models = len(inputs[0])

    def ready(self) -> bool:
        return True

    def is_busy(self) -> bool:
        return False

    def __call__(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.zeros(self._models)


def test_another_value_of_compile_is_an_error_where_the_class_is_made() -> None:
    with pytest.raises(TrainableError, match=r'Odd\.compile: \'yes\' is not one of False, "auto", True'):
        type("Odd", (learners.Perceptron,), {"compile": "yes"})
