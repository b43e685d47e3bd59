"""The page on other frameworks: its code compiles, its specs are valid, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raysearch.spec import load_spec
from raysearch.spec.program import Program

FILE = Path(__file__).parents[1] / "notebooks" / "from_other_frameworks.md"
PAGE = FILE.read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("code", blocks("python"))
def test_its_python_compiles(code: str) -> None:
    compile(code, FILE.name, "exec")


@pytest.mark.parametrize("text", blocks("yaml"))
def test_its_specs_run_the_script_beside_them(text: str, tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text(text)
    script = tmp_path / "train.py"
    script.write_text("")
    spec = load_spec(tmp_path / "search.yaml")
    assert isinstance(spec.trainable, Program)
    assert (spec.trainable.program, spec.trainable.folder) == (str(script), str(tmp_path))
    assert (spec.metric, spec.mode) == ("val_loss", "min")


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert len(links) >= 5
    assert [link for link in links if not (FILE.parent / link).exists()] == []
