"""The pages on other frameworks and on scripts: the specs are valid and run the script beside them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raysearch.spec import load_spec
from raysearch.spec.program import Program

FOLDER = Path(__file__).parents[1] / "notebooks"
PAGES = ("from_other_frameworks.md", "guides/scripts.md")


def specs() -> list[str]:
    """The specs of the pages."""
    text = "\n".join((FOLDER / page).read_text() for page in PAGES)
    return re.findall(r"^```yaml\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_the_pages_have_a_sweep_and_a_spec() -> None:
    assert len(specs()) == 2


@pytest.mark.parametrize("text", specs())
def test_its_specs_run_the_script_beside_them(text: str, tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text(text)
    script = tmp_path / "train.py"
    script.write_text("")
    spec = load_spec(tmp_path / "search.yaml")
    assert isinstance(spec.trainable, Program)
    assert (spec.trainable.program, spec.trainable.folder) == (str(script), str(tmp_path))
    assert (spec.metric, spec.mode) == ("val_loss", "min")
