"""The notebooks run from top to bottom, and are kept without their outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


FIGURES = ("1_first_search", "2_panda_lineage", "3_reading_a_report")
PRACTICE = ("memory", "plan", "retest")


def test_their_outputs_are_stripped() -> None:
    assert [path.stem for path in NOTEBOOKS] == [*FIGURES, *PRACTICE]
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, 4).cells:
            assert cell.get("outputs", []) == []
            assert cell.get("execution_count") is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the kernel and its client, which are not ours
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_is_about(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, 4)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    shown = [
        data
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for data in output.get("data", {})
    ]
    assert shown
    figures = [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and "results.plot." in cell.source.splitlines()[-1]
    ]
    assert bool(figures) == (path.stem in FIGURES)
    assert shown.count("application/vnd.plotly.v1+json") == len(figures)
