"""The documentation builds with every warning an error; every page opens in a browser, offline."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE_S

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / ".ci" / "site" / "mkdocs.yml"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIGURES = ("1_first_search", "2_panda_lineage", "3_reading_a_report")
PRACTICE = ("memory", "plan", "retest", "scaling", "stop_when")
# What people look for -> the page of the site that has it.
TASKS = {
    "search a Lightning model": "from_lightning.html",
    "resume": "guides/resume.html",
    "add samples": "guides/resume.html",
    "read the winner": "guides/results.html",
    "stop when it is not worth its cost": "stop_when.html",
    "send to W&B": "guides/wandb.html",
    "run on Slurm": "guides/clusters.html",
    "raise one model": "guides/panda.html",
    "come from an Optuna study": "from_optuna.html",
    "import an Optuna study": "past_results.html",
    "add a strategy": "contributing.html",
    "find what an error means": "troubleshooting.html",
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tools() -> Iterator[Any]:
    """The modules of .ci/site."""
    pytest.importorskip("nbclient", reason="nbclient is not installed (extra docs)")
    sys.path.insert(0, str(CONFIG.parent))
    import notebook_pages

    yield notebook_pages
    sys.path.remove(str(CONFIG.parent))


@pytest.fixture(scope="module")
def executed(tools: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all notebooks, run from top to bottom, or those that the environment names."""
    if given := os.environ.get("RAYSEARCH_EXECUTED_NOTEBOOKS"):
        return ROOT / given
    folder = tmp_path_factory.mktemp("executed")
    tools.execute(NOTEBOOKS, folder)
    return folder


def build(site: Path, executed: Path, config: Path = CONFIG) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "-f", str(config), "-d", str(site)]
    environment = {**os.environ, "RAYSEARCH_EXECUTED_NOTEBOOKS": str(executed), "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(executed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as `make docs` builds it."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (extra docs)")
    folder = tmp_path_factory.mktemp("site")
    done = build(folder, executed)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_notebooks_are_kept_without_outputs() -> None:
    assert [path.stem for path in NOTEBOOKS] == [*FIGURES, *PRACTICE]
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text())["cells"]:
            assert cell.get("outputs", []) == []
            assert cell.get("execution_count") is None


@pytest.mark.filterwarnings("ignore")  # of the kernel and its client, which are not ours
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_is_about(path: Path, executed: Path) -> None:
    cells = [
        cell
        for cell in json.loads((executed / path.name).read_text())["cells"]
        if cell["cell_type"] == "code"
    ]
    shown = [data for cell in cells for output in cell["outputs"] for data in output.get("data", {})]
    assert shown
    last = ["".join(cell["source"]).splitlines()[-1] for cell in cells]
    figures = [line for line in last if "results.plot." in line or line.endswith(".figure()")]
    assert bool(figures) == (path.stem in (*FIGURES, "scaling"))
    assert shown.count("application/vnd.plotly.v1+json") == len(figures)


def test_the_site_has_every_page_and_the_text_of_what_they_link_to(site: Path) -> None:
    pages = {str(path.relative_to(site)) for path in site.glob("**/*.html")}
    made_of = [path.relative_to(ROOT / "notebooks") for path in (ROOT / "notebooks").glob("**/*.md")]
    assert {str(path.with_suffix(".html")) for path in made_of} <= pages
    assert {f"tutorials/{path.stem}.html" for path in NOTEBOOKS} <= pages
    assert {"index.html", "contributing.html", "changelog.html"} <= pages
    assert "source/raysearch/examples/digits.yaml.html" in pages


def test_no_page_names_a_script_a_style_or_a_font_of_another_site(site: Path) -> None:
    outside = re.compile(OUTSIDE)
    found = {path.name: outside.findall(path.read_text()) for path in site.glob("**/*.html")}
    assert {name: what for name, what in found.items() if what} == {}


OUTSIDE = (
    r"""<(?:script|img|iframe)[^>]+src="?https?:|<link[^>]+rel="?(?:stylesheet|preconnect)[^>]+https?:"""
)
NEEDED = (".ci/site", "raysearch", "strategies", "cluster", "notebooks/reference")


def copied(folder: Path) -> Path:
    """The configuration of a copy of the code and of few pages, without rendered docstrings."""
    for name in NEEDED:
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=skip)
    for name in ("architecture.md", "glossary.md", "plan.ipynb"):
        shutil.copy2(ROOT / "notebooks" / name, folder / "notebooks" / name)
    for name in ("README.md", "CHANGELOG.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("# A page\n")
    config = folder / ".ci" / "site" / "mkdocs.yml"
    begin, whole, rest = config.read_text().partition("  - mkdocstrings:\n")
    assert whole
    config.write_text(begin + rest[rest.index("\nmarkdown_extensions:") :])
    return config


def test_a_broken_link_a_missing_docstring_and_a_notebook_without_outputs_end_the_build(
    executed: Path, tmp_path: Path
) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (extra docs)")
    config = copied(tmp_path / "copy")
    notebooks = tmp_path / "copy" / "notebooks"
    with (notebooks / "glossary.md").open("a") as page:
        page.write("\n[nowhere](nowhere.md) and [no heading](architecture.md#nothing)\n")
    source = tmp_path / "copy" / "raysearch" / "sources.py"
    text = source.read_text()
    at = text.index("def from_optuna(")
    begin = text.index('"""', at)
    source.write_text(text[:begin] + text[text.index('"""', begin + 3) + 3 :].lstrip())
    plan = json.loads((notebooks / "plan.ipynb").read_text())
    plan["cells"][0]["source"] += ["\nChanged."]
    (notebooks / "plan.ipynb").write_text(json.dumps(plan))
    done = build(tmp_path / "site", executed, config)
    assert done.returncode == 1
    warned = [line for line in (done.stdout + done.stderr).splitlines() if "WARNING" in line]
    for words in (
        "nowhere.md",
        "#nothing",
        "raysearch.sources.from_optuna: public, and without a docstring",
        "plan.ipynb was changed after it was run",
    ):
        assert [line for line in warned if words in line], done.stdout + done.stderr


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *given: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Of a server of this machine that has the site."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def watched(browser: Any, width: int = 1280, scheme: str = "light") -> tuple[Any, list[str]]:
    """(A page of its own, what its console and its network said that they should not)."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(1000 * PATIENCE_S)
    page, wrong = context.new_page(), []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    left = "net::ERR_ABORTED"  # the page was left while it loaded
    page.on("requestfailed", lambda asked: None if asked.failure == left else wrong.append(asked.url))
    local = ("file:", "data:", "blob:", "about:", "http://127.0.0.1:")
    page.on("request", lambda asked: None if asked.url.startswith(local) else wrong.append(asked.url))
    return page, wrong


IS_WIDER = "document.documentElement.scrollWidth > window.innerWidth"


def look(page: Any, path: Path) -> list[str]:
    """Opens the page; gives what is wrong with what it shows."""
    page.goto(path.as_uri())
    found = []
    if path.stem in FIGURES:
        page.wait_for_selector("html[data-figures]", state="attached")
        if not page.locator(".figure .main-svg").count() >= page.locator(".figure").count() > 0:
            found.append(f"{path.name} lacks a figure")
    if page.evaluate(IS_WIDER):
        found.append(f"{path.name} is wider than the screen")
    return found


def longest_sources(site: Path) -> list[Path]:
    """Of the pages that show a file's text, which are all alike, the longest of each kind of file."""
    pages = sorted(site.glob("source/**/*.html"), key=lambda path: path.stat().st_size)
    return [*{Path(path.stem).suffix: path for path in pages}.values()]


def test_every_page_opens_without_an_error_and_none_is_wider_than_a_phone(browser: Any, site: Path) -> None:
    page, wrong = watched(browser, 390, "dark")
    paths = [
        path for path in site.glob("**/*.html") if "source" not in path.parts and path.name != "404.html"
    ]
    assert [what for path in paths + longest_sources(site) for what in look(page, path)] == []
    assert wrong == []
    page.context.close()


def test_a_page_of_each_kind_opens_on_a_laptop_without_an_error_and_is_not_wider(
    browser: Any, site: Path
) -> None:
    page, wrong = watched(browser)
    made_by_hand = ["index", "troubleshooting", "reference/commands", "reference/python"]
    kinds = [*made_by_hand, *(f"tutorials/{name}" for name in FIGURES)]
    paths = [site / f"{kind}.html" for kind in kinds] + longest_sources(site)
    assert [what for path in paths for what in look(page, path)] == []
    assert wrong == []
    page.context.close()


@pytest.mark.parametrize("by", ["file", "http"])
def test_the_search_finds_a_page(browser: Any, site: Path, address: str, by: str) -> None:
    page, wrong = watched(browser)
    page.goto((site / "index.html").as_uri() if by == "file" else f"{address}/index.html")
    page.click("input.md-search__input")
    page.keyboard.type("rollback")  # key by key, for which the search listens
    page.wait_for_selector("a.md-search-result__link", state="attached")
    found = page.locator("a.md-search-result__link").evaluate_all("links => links.map(link => link.href)")
    assert any("panda" in link for link in found), found
    assert wrong == []
    page.context.close()


def links_of(page: Any, address: str) -> set[str]:
    """Where the links lead that a person sees on the page."""
    page.goto(address)
    return set(
        page.locator("a[href]:visible").evaluate_all("all => all.map(link => link.href.split('#')[0])")
    )


def test_a_task_is_found_within_two_clicks(browser: Any, site: Path) -> None:
    page, _ = watched(browser)
    first = links_of(page, (site / "index.html").as_uri())
    missing = {task: link for task, name in TASKS.items() if (link := (site / name).as_uri()) not in first}
    for link in sorted(each for each in first if each.startswith("file:")):
        if not missing:
            break
        second = links_of(page, link)
        missing = {task: wanted for task, wanted in missing.items() if wanted not in second}
    assert missing == {}
    page.context.close()
