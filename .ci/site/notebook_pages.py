"""Notebooks as pages: run them, and write their cells and outputs as Markdown and HTML.

    python .ci/site/notebook_pages.py          # runs those of notebooks/ that changed, into build/notebooks

No script of another site is named, which nbconvert's templates do; figures keep their data and are drawn by
the plotly.js that plotly has with it.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "notebooks"
EXECUTED = Path(__file__).parents[2] / "build" / "notebooks"
FIGURE = "application/vnd.plotly.v1+json"
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_SCRIPT = re.compile(r"<script.*?</script>", re.DOTALL)


def digest(notebook: Path) -> str:
    """Of a notebook's cells as they are committed."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return hashlib.sha256("\0".join("".join(cell["source"]) for cell in cells).encode()).hexdigest()


def execute(notebook: Path, out: Path) -> Path:
    """Runs a notebook in a folder of its own and writes it with its outputs into `out`.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    import nbformat
    from nbclient import NotebookClient

    read = nbformat.read(notebook, 4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(read, timeout=600, resources={"metadata": {"path": folder}}).execute()
    read.metadata["digest"] = digest(notebook)
    out.mkdir(parents=True, exist_ok=True)
    nbformat.write(read, out / notebook.name)
    return out / notebook.name


def outputs_missing(notebook: Path, executed: Path) -> str | None:
    """Why the executed copy of a notebook cannot be shown; None if it can."""
    copy = executed / notebook.name
    if not copy.is_file():
        return f"{notebook.name} was not run: make docs runs it"
    read = json.loads(copy.read_text("utf-8"))
    if read["metadata"].get("digest") != digest(notebook):
        return f"{notebook.name} was changed after it was run: make docs runs it again"
    if not any(cell.get("outputs") for cell in read["cells"]):
        return f"{notebook.name} was run and shows nothing"
    return None


def page(executed: Path) -> tuple[str, dict[str, str]]:
    """(The page as Markdown, HTML of each output by the comment that stands in its place)."""
    parts: list[str] = []
    outputs: dict[str, str] = {}
    for cell in json.loads(executed.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for shown in _shown(cell["outputs"]):
            place = f"<!-- output {len(outputs)} -->"
            outputs[place] = shown
            parts.append(place)
    return "\n\n".join(parts) + "\n", outputs


def _shown(outputs: list[Mapping[str, Any]]) -> Iterator[str]:
    """HTML of the outputs of a cell; lines that are printed one after the other are one."""
    printed = ""
    for output in outputs:
        if output["output_type"] == "stream":
            printed += "".join(output["text"]) if output["name"] == "stdout" else ""  # warnings of libraries
            continue
        if printed:
            yield _text(printed)
            printed = ""
        if output["output_type"] in ("display_data", "execute_result"):
            yield _rich(output["data"])
    if printed:
        yield _text(printed)


def _rich(data: Mapping[str, Any]) -> str:
    if FIGURE in data:
        figure = json.dumps({key: data[FIGURE][key] for key in ("data", "layout")}).replace("</", "<\\/")
        return f'<div class="figure"><div></div><script type="application/json">{figure}</script></div>'
    if "text/html" in data:
        return f'<div class="output">{_SCRIPT.sub("", "".join(data["text/html"]))}</div>'
    return _text("".join(data["text/plain"]))


def _text(printed: str) -> str:
    plain = _COLOURS.sub("", printed).strip("\n")
    return f'<div class="output"><pre>{html.escape(plain)}</pre></div>'


def main() -> None:
    """Runs the notebooks whose executed copy is not there, or is one of other cells."""
    for notebook in sorted(FOLDER.glob("*.ipynb")):
        if (why := outputs_missing(notebook, EXECUTED)) is not None:
            print(why, file=sys.stderr, flush=True)
            execute(notebook, EXECUTED)


if __name__ == "__main__":
    main()
