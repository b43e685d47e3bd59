"""README's first search runs, in Python and in YAML; the specs of the guides are valid."""

from __future__ import annotations

import functools
import json
import re
import runpy
from pathlib import Path

import pytest
import yaml

import raysearch
from raysearch.spec import load_spec

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in that language."""
    text = (ROOT / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_the_caviar_guide_s_spec_is_valid_and_its_baseline_lies_in_the_space(tmp_path: Path) -> None:
    (text,) = blocks("notebooks/guides/caviar.md", "yaml")
    (group,) = blocks("notebooks/guides/processes.md", "yaml")
    (tmp_path / "search.yaml").write_text(text)
    spec = load_spec(tmp_path / "search.yaml")
    assert spec.name == "first"
    assert spec.baseline is not None
    assert spec.space.why_not(spec.baseline) is None
    parts = {**yaml.safe_load(text), **yaml.safe_load(group)}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(parts))
    assert load_spec(tmp_path / "search.yaml").workers.processes == 4


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with README's two files, in which the test works."""
    (tmp_path / "first.py").write_text(*blocks("README.md", "python"))
    (tmp_path / "search.yaml").write_text(*blocks("README.md", "yaml"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


SMALL = {"samples": 3, "max_iterations": 3, "finish": {"top": 1, "seeds": 2}}


@pytest.mark.filterwarnings("ignore")  # of Ray
def test_readme_s_first_search_runs_and_ends_with_a_verdict(
    folder: Path, storage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"executor": "inline", "storage": str(storage), "say": lambda line: None, "progress": False}
    search = functools.partial(raysearch.search)
    small = raysearch.Caviar(samples=3, max_iterations=3, finish=raysearch.Finish(top=1, seeds=2))
    monkeypatch.setattr(
        raysearch, "search", lambda *args, **more: search(*args, **{**more, **given, "strategy": small})
    )
    runpy.run_path("first.py", run_name="__main__")
    results = raysearch.load(storage / "first")
    assert str(results.verdict()) in capsys.readouterr().out
    assert set(results.best.config) == {"lr", "momentum", "hidden"}
    assert results.best.value < 2.4, "of ten classes: better than a guess"


@pytest.mark.filterwarnings("ignore")  # of Ray
def test_readme_s_spec_searches_the_same_function_in_the_same_space(folder: Path, storage: Path) -> None:
    given = {f"strategy.{name}": value for name, value in SMALL.items()}
    spec = load_spec(folder / "search.yaml", {"storage": str(storage), **given})
    python = (folder / "first.py").read_text()
    for name, domain in spec.space.to_dict().items():
        (kind, values) = next(iter(domain.items()))
        (said,) = re.findall(rf'"{name}": {{"{kind}": (\[.*?\])}}', python)
        assert json.loads(said) == values
    results = raysearch.launch.launch(spec, raysearch.How("inline", say=lambda line: None))
    assert not results.trials().error.any()
