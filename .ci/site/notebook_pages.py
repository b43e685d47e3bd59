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
from collections.abc import Iterable, Iterator, Mapping
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


def execute(notebooks: Iterable[Path], out: Path) -> None:
    """Runs the notebooks and writes each with its outputs into `out`.

    One kernel runs them all, since most of the time is that of its imports; each begins in a folder of its
    own, and with no name of the one before.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    import nbformat
    from nbclient import NotebookClient

    out.mkdir(parents=True, exist_ok=True)
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=600)
    with tempfile.TemporaryDirectory() as folder, client.setup_kernel(cwd=folder):
        for notebook in notebooks:
            read = nbformat.read(notebook, 4)
            own = Path(folder, notebook.stem)
            own.mkdir()
            begin = nbformat.v4.new_code_cell(f"import os\nos.chdir({str(own)!r})\n%reset -f")
            for cells in ([begin], read.cells):
                client.nb = nbformat.v4.new_notebook(cells=cells, metadata=read.metadata)
                client.reset_execution_trackers()
                for place, cell in enumerate(cells):
                    client.execute_cell(cell, place)
            read.metadata["digest"] = digest(notebook)
            nbformat.write(read, out / notebook.name)


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
    missing = {path: outputs_missing(path, EXECUTED) for path in sorted(FOLDER.glob("*.ipynb"))}
    old = {path: why for path, why in missing.items() if why is not None}
    if old:
        print(*old.values(), sep="\n", file=sys.stderr, flush=True)
        execute(old, EXECUTED)


if __name__ == "__main__":
    main()
