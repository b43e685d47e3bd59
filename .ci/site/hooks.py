"""What MkDocs asks while it builds the site: pages from README and notebooks, local scripts, strict checks.

Warnings end the build, since mkdocs.yml says `strict`.
"""

from __future__ import annotations

import logging
import os
import posixpath
from pathlib import Path
from typing import Any

import docstrings
import notebook_pages
import pages
from commands import commands_text
from mkdocs.structure.files import File, Files

ASSETS = Path(__file__).parent / "assets"
LOG = logging.getLogger("mkdocs.hooks.raysearch")
_outputs: dict[str, dict[str, str]] = {}  # of a page, by its src_uri


def on_config(config: Any) -> Any:
    """Puts pages that `nav` does not name under the guides; the switch of versions is mike's alone."""
    named = set(_leaves(config.nav))
    guides = next(part["Guides"] for part in config.nav if "Guides" in part)
    for folder in ("", "guides/"):
        found = sorted(f"{folder}{file.name}" for file in Path(config.docs_dir, folder).glob("*.md"))
        guides.extend(page for page in found if page not in named)
    tutorials = sorted(f"tutorials/{file.stem}.md" for file in Path(config.docs_dir).glob("*.ipynb"))
    guides.extend(page for page in tutorials if page not in named)
    if "MIKE_DOCS_VERSION" in os.environ:
        config.extra["version"] = {"provider": "mike"}
    return config


def _leaves(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    children = nav.values() if isinstance(nav, dict) else nav
    return [leaf for child in children for leaf in _leaves(child)]


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that do not lie in notebooks/ as they are: README, notebooks, commands, sources."""

    def add(src_uri: str, text: str) -> None:
        files.append(File.generated(config, src_uri, content=text))

    for path, page in pages.NAMED.items():
        add(page, (pages.ROOT / path).read_text("utf-8"))
    _add_notebooks(add)
    _add_sources(files, add)
    for asset in sorted(ASSETS.iterdir()):
        files.append(File.generated(config, f"assets/{asset.name}", abs_src_path=str(asset)))
    files.append(File.generated(config, "assets/plotly.min.js", content=_plotly()))
    for wrong in docstrings.missing(Path(config.docs_dir, "reference")):
        LOG.warning(wrong)
    return files


def _add_notebooks(add: Any) -> None:
    executed = Path(os.environ.get("RAYSEARCH_EXECUTED_NOTEBOOKS", notebook_pages.EXECUTED))
    for notebook in sorted(notebook_pages.FOLDER.glob("*.ipynb")):
        src_uri = pages.site_path(f"notebooks/{notebook.name}")
        why = notebook_pages.outputs_missing(notebook, executed)
        if why is not None:
            LOG.warning(why)
            add(src_uri, f"# {notebook.stem}\n\n{why}\n")
            continue
        text, _outputs[src_uri] = notebook_pages.page(executed / notebook.name)
        add(src_uri, text)


def _add_sources(files: Files, add: Any) -> None:
    """Pages of the files that others link to, so that no link leaves the site."""
    wanted: set[str] = set()
    for file in files.documentation_pages():
        wanted.update(pages.linked_sources(file.content_string, pages.repository_path(file.src_uri)))
    for folder in [path for path in wanted if (pages.ROOT / path).is_dir()]:
        wanted.update(f"{folder}/{name}" for name in pages.files_of(folder))
    for path in sorted(wanted):
        add(pages.site_path(path), pages.source_page(path))


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links to files become links to pages, and diagrams pictures."""
    src_uri = page.file.src_uri
    if src_uri.startswith("source/"):
        return markdown
    if src_uri == "reference/commands.md":
        markdown += f"\n{commands_text()}"
    for code in pages.diagrams(markdown):
        if not Path(config.docs_dir, pages.diagram_name(code)).is_file():
            LOG.warning("%s: a diagram changed and has no picture yet: make pictures draws it", src_uri)
    text = pages.with_site_links(markdown, pages.repository_path(src_uri))
    return pages.with_pictures(text, src_uri)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Outputs of notebooks come to where they were shown, with the script that draws figures."""
    outputs = _outputs.get(page.file.src_uri, {})
    for place, shown in outputs.items():
        html = html.replace(place, shown)
    if any('class="figure"' in shown for shown in outputs.values()):
        up = posixpath.relpath("assets", posixpath.dirname(page.file.src_uri))
        html += "".join(f'<script src="{up}/{name}"></script>' for name in ("plotly.min.js", "figures.js"))
    return html
