"""A resume compares what it goes on with: spec.yaml edited by hand, and code that has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import raysearch
from raysearch.errors import SpecError
from raysearch.launch import more_samples
from raysearch.results.remarks import kept_spec
from raysearch.run.fingerprint import changes
from raysearch.run.own_modules import own_modules
from raysearch.storage.journal.reading import read_events

CODE = """from ray import tune
SCALE = 1.0
def train(config):
    for i in range(9): tune.report({"loss": SCALE * config["lr"] / (i + 1)})
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "tr.py").write_text(CODE)
    raysearch.search(
        f"{tmp_path}/tr.py:train", space={"lr": {"uniform": [0.5, 1.0]}}, metric="loss", mode="min",
        storage=str(tmp_path), name="r", executor="inline",
        strategy=raysearch.Caviar(samples=4, max_iterations=3, finish=None),
    )  # fmt: skip
    return tmp_path / "r"


def resume(run: Path, **more: Any) -> Any:
    return raysearch.resume(run, raysearch.How("inline"), **more)


def edit(run: Path, **fields: Any) -> None:
    spec = yaml.safe_load((run / "spec.yaml").read_text())
    for name, value in fields.items():
        spec[name] = {**spec[name], **value} if isinstance(value, dict) and name == "strategy" else value
    (run / "spec.yaml").write_text(yaml.safe_dump(spec))


def test_the_journal_keeps_the_spec_of_a_launch_and_of_an_edit(run: Path) -> None:
    assert kept_spec(run / "journal") == (run / "spec.yaml").read_text()
    resume(run, edits=lambda spec: more_samples(spec, "+1"))
    assert kept_spec(run / "journal") == (run / "spec.yaml").read_text()


def test_a_resume_reads_the_events_before_its_lock_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(journal: Path) -> Any:
        read.append(journal)
        return read_events(journal)

    monkeypatch.setattr("raysearch.run.going_on.read_events", counted)
    resume(run, edits=lambda spec: more_samples(spec, "+1"))
    assert read == [run / "journal"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"metric": "other"}, "metric: the run was searched with 'loss'"),
        ({"mode": "max"}, "mode: the run was searched with 'min'"),
        ({"seed": 7}, "seed: the run was searched with 0"),
        ({"strategy": {"samples": 2}}, "strategy.samples: 2 is less than the 4 that the run has"),
        ({"space": {"momentum": {"uniform": [0.0, 1.0]}}}, "shares no hyper-parameter with the run's"),
    ],
)
def test_a_spec_edited_by_hand_is_checked_as_an_edit_is(run: Path, fields: Any, words: str) -> None:
    edit(run, **fields)
    with pytest.raises(SpecError, match=words):
        resume(run)


def test_an_edit_by_hand_that_goes_with_the_run_is_said_and_kept(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(run, strategy={"samples": 6}, space={"lr": {"uniform": [0.4, 1.0]}})
    assert len(resume(run).trials()) == 6
    assert "spec.yaml was edited by hand since the run was last started: space, strategy" in (
        capsys.readouterr().err
    )
    assert kept_spec(run / "journal") == (run / "spec.yaml").read_text()


def test_changed_code_is_said_with_its_file(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resume(run, edits=lambda spec: more_samples(spec, "+1"))
    assert "code has changed" not in capsys.readouterr().err
    file = run.parent / "tr.py"
    file.write_text(CODE.replace("SCALE = 1.0", "SCALE = 0.001"))
    resume(run, edits=lambda spec: more_samples(spec, "+1"))
    said = capsys.readouterr().err
    assert f"since the run was last started: the trainable's code has changed ({file})" in said
    assert "begin a new run" in said


FILES = {
    "tr.py": "import json, torch\nfrom helper_a import SCALE\nimport pack_b.deep\n" + CODE,
    "helper_a.py": "import pack_b\nSCALE = 1.0\n",
    "pack_b/__init__.py": "from . import sibling\nfrom .inner.core import K\n",
    "pack_b/sibling.py": "A = 1\n",
    "pack_b/deep.py": "B = 1\n",
    "pack_b/inner/__init__.py": "",
    "pack_b/inner/core.py": "K = 1\n\ndef later():\n    import lazy_c\n    from ..sibling import A\n",
    "lazy_c.py": "C = 1\n",
    "alone_d.py": "D = 1\n",
}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "tr.py"


def test_the_modules_of_ones_own_that_code_imports_are_found_and_others_are_not(code: Path) -> None:
    imported = {"helper_a", "lazy_c", "pack_b", "pack_b.deep", "pack_b.inner", "pack_b.inner.core"}
    assert set(own_modules(code)) == {*imported, "pack_b.sibling"}


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("tr.py", "alone_d.py")])
def test_a_changed_module_is_said_by_its_name(code: Path, name: str) -> None:
    before = {"code": "same", "modules": own_modules(code)}
    assert changes(before, {"code": "same", "modules": own_modules(code)}) == []
    with (code.parent / name).open("a") as file:
        file.write("# edited\n")
    module = name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    (text,) = changes(before, {"code": "same", "modules": own_modules(code)})
    assert text == f"modules that the trainable imports have changed ({module})"


def test_a_module_that_is_none_of_the_trainables_may_change(code: Path) -> None:
    before = own_modules(code)
    (code.parent / "alone_d.py").write_text("D = 2\n")
    assert own_modules(code) == before
    assert changes({}, {"modules": before}) == []  # a journal that holds none


def test_a_resume_says_that_an_imported_module_has_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scale_of_resume.py").write_text("SCALE = 1.0\n")
    (tmp_path / "tr.py").write_text(CODE.replace("SCALE = 1.0", "from scale_of_resume import SCALE"))
    raysearch.search(
        f"{tmp_path}/tr.py:train", space={"lr": {"uniform": [0.5, 1.0]}}, metric="loss", mode="min",
        storage=str(tmp_path), name="r", executor="inline",
        strategy=raysearch.Caviar(samples=4, max_iterations=3, finish=None),
    )  # fmt: skip
    (tmp_path / "scale_of_resume.py").write_text("SCALE = 0.001\n")
    resume(tmp_path / "r", edits=lambda spec: more_samples(spec, "+1"))
    assert "modules that the trainable imports have changed (scale_of_resume)" in capsys.readouterr().err
