"""The pictures in notebooks/pictures, made of real searches: `make pictures`.

    python .ci/site/pictures.py FOLDER    # searches in FOLDER, if it is not there yet, what README searches

Needs Chromium, and for the diagrams npm, from which Mermaid comes. The panel is what a terminal shows in the
midst of `raysearch launch digits`; the report is the top of the page that `raysearch report` writes
of README's search.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pages
from rich.console import Console

PICTURES = pages.ROOT / "notebooks" / "pictures"
SHOWN_AT = 0.6  # of the trials
COLUMNS = 100
TALL = 800  # pixels of the report that are shown
MERMAID = "mermaid@11"


def draw_panel(folder: Path) -> None:
    """Searches the example `digits` until most trials have begun, and writes the picture of its panel."""
    from raysearch import How, launch, load_spec
    from raysearch.examples import path
    from raysearch.run.display.panel import Screen
    from raysearch.run.display.status_text import about
    from raysearch.run.location import run_folder

    spec = load_spec(path("digits"), {"storage": str(folder), "name": "digits"})
    screen = Screen(about(run_folder(spec), spec))
    taken: list[Any] = []

    def note(status: Any) -> None:
        screen.show(status)
        if not taken and status.trials >= SHOWN_AT * spec.strategy.samples:
            taken.append(status)
            write_panel(screen)
            os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C: the search is not needed any more

    launch.launch(spec, How(local=True, on_status=note, returns_when_stopped=True))


def search(folder: Path) -> Path:
    """The run of README's first search, in YAML."""
    from raysearch import How, launch, load_spec

    folder.mkdir(parents=True)
    text = (pages.ROOT / "README.md").read_text()
    for language, file in (("python", "first.py"), ("yaml", "search.yaml")):
        code = re.search(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
        assert code is not None
        (folder / file).write_text(code[1])
    spec = load_spec(folder / "search.yaml", {"storage": str(folder)})
    return Path(launch.launch(spec, How(local=True)).path)


def write_panel(screen: Any) -> None:
    """The panel as SVG."""
    console = Console(file=io.StringIO(), record=True, width=COLUMNS, height=30, force_terminal=True)
    console.print(screen)
    svg = console.export_svg(title="raysearch launch digits", unique_id="panel")
    local = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # fonts of another site
    (PICTURES / "panel.svg").write_text(local.replace(f"{Path.cwd()}/", ""))


def photograph(run: Path, browser: Any) -> None:
    """The top of the run's report."""
    report = run / "report.html"
    subprocess.run([sys.executable, "-m", "raysearch.cli", "report", str(run), "-o", str(report)], check=True)
    page = browser.new_page(viewport={"width": 1000, "height": TALL}, color_scheme="light")
    page.goto(report.resolve().as_uri())
    page.wait_for_selector("html[data-drawn]", state="attached")
    page.screenshot(path=str(PICTURES / "report.png"))


def draw_diagrams(browser: Any, folder: Path) -> None:
    """An SVG for each Mermaid diagram of a page that has none yet; old ones are removed."""
    texts = [
        code for file in pages.ROOT.glob("notebooks/**/*.md") for code in pages.diagrams(file.read_text())
    ]
    wanted = {pages.diagram_name(code): code for code in texts}
    for file in PICTURES.glob("diagram-*.svg"):
        if f"pictures/{file.name}" not in wanted:
            file.unlink()
    missing = {name: code for name, code in wanted.items() if not (PICTURES.parent / name).is_file()}
    if not missing:
        return
    script = folder / "node_modules" / "mermaid" / "dist" / "mermaid.min.js"
    if not script.is_file():
        subprocess.run(["npm", "install", "--silent", "--prefix", str(folder), MERMAID], check=True)
    page = browser.new_page()
    page.add_script_tag(path=str(script))
    page.evaluate("mermaid.initialize({startOnLoad: false, theme: 'neutral', htmlLabels: false, "
                  "flowchart: {htmlLabels: false}, fontFamily: 'sans-serif'})")  # fmt: skip
    for name, code in missing.items():
        svg = page.evaluate("async code => (await mermaid.render('diagram', code)).svg", code)
        (PICTURES.parent / name).write_text(svg)


def main() -> None:
    """Searches what was not searched yet, and makes the pictures."""
    from playwright.sync_api import sync_playwright

    folder = Path(sys.argv[1])
    PICTURES.mkdir(exist_ok=True)
    if not (folder / "digits").is_dir():
        draw_panel(folder)
    first = folder / "first"
    run = first / "first-yaml" if first.is_dir() else search(first)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        photograph(run, browser)
        draw_diagrams(browser, folder)


if __name__ == "__main__":
    main()
