"""Which page of the site a file of the repository becomes, and links between them."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    ".github/CONTRIBUTING.md": "contributing.md",
    ".github/SECURITY.md": "security.md",
}
LANGUAGES = {
    ".py": "python",
    ".sh": "bash",
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
}
_FENCE = re.compile(r"^(```+).*?^\1$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")
_DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def site_path(path: str) -> str:
    """Where a file or folder of the repository stands on the site: a Markdown page, or a picture.

    >>> site_path("notebooks/plan.ipynb"), site_path("raysearch/examples/digits.py")
    ('tutorials/plan.md', 'source/raysearch/examples/digits.py.md')
    """
    if path in NAMED:
        return NAMED[path]
    if path.startswith("notebooks/"):
        inner = path.removeprefix("notebooks/")
        return f"tutorials/{Path(inner).stem}.md" if inner.endswith(".ipynb") else inner
    return f"source/{path}.md"


def repository_path(src_uri: str) -> str:
    """The file that a Markdown page of the site was made of; `site_path` the other way round.

    >>> repository_path("contributing.md"), repository_path("guides/panda.md")
    ('.github/CONTRIBUTING.md', 'notebooks/guides/panda.md')
    """
    for path, page in NAMED.items():
        if page == src_uri:
            return path
    if src_uri.startswith("source/"):
        return src_uri.removeprefix("source/").removesuffix(".md")
    if src_uri.startswith("tutorials/"):
        return f"notebooks/{Path(src_uri).stem}.ipynb"
    return f"notebooks/{src_uri}"


def _outside_of_code(text: str, change: Callable[[str], str]) -> str:
    """The text with `change` made to what stands in no fenced block."""
    parts, at = [], 0
    for block in _FENCE.finditer(text):
        parts += [change(text[at : block.start()]), block[0]]
        at = block.end()
    return "".join([*parts, change(text[at:])])


def _target(link: str, path: str) -> str | None:
    """The file or folder of the repository that a link of `path` leads to; None if there is none."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    return target if not target.startswith("..") and (ROOT / target).exists() else None


def with_site_links(text: str, path: str) -> str:
    """A page's text with its links to files as links to the site's pages; those that lead nowhere stay."""
    folder = posixpath.dirname(site_path(path))

    def changed(link: re.Match[str]) -> str:
        target = _target(link[2], path)
        return link[0] if target is None else f"{link[1]}{_relative(site_path(target), folder)}{link[3]}"

    return _outside_of_code(text, lambda part: _LINK.sub(changed, part))


def _relative(page: str, folder: str) -> str:
    return posixpath.relpath(page, folder or ".")


def linked_sources(text: str, path: str) -> Iterator[str]:
    """Files and folders outside of the pages that a page's links lead to: the site shows their text."""
    found: list[str] = []
    _outside_of_code(text, lambda part: found.extend(link[2] for link in _LINK.finditer(part)) or part)
    for link in found:
        target = _target(link, path)
        if target is not None and target not in NAMED and not target.startswith("notebooks"):
            yield target


def source_page(path: str) -> str:
    """The page that shows a file of the repository, or lists the files of a folder with links."""
    file = ROOT / path
    if file.is_dir():
        lines = [f"- [{each}]({posixpath.basename(path)}/{each}.md)" for each in files_of(path)]
        return "\n".join([f"# {path}", "", *lines, ""])
    return f"# {path}\n\n``````{LANGUAGES.get(file.suffix, 'text')}\n{file.read_text('utf-8')}\n``````\n"


def files_of(folder: str) -> list[str]:
    """The names of a folder's files that the site shows."""
    shown = [file for file in (ROOT / folder).iterdir() if file.suffix in LANGUAGES and file.is_file()]
    return sorted(file.name for file in shown)


def diagram_name(code: str) -> str:
    """The picture of a Mermaid diagram; its name has a digest of the diagram's text.

    >>> diagram_name("graph LR")
    'pictures/diagram-c4f8ff4c61.svg'
    """
    return f"pictures/diagram-{hashlib.sha256(code.encode()).hexdigest()[:10]}.svg"


def diagrams(text: str) -> list[str]:
    """The Mermaid diagrams of a page."""
    return [found[1] for found in _DIAGRAM.finditer(text)]


def with_pictures(text: str, src_uri: str) -> str:
    """A page's text with the picture in place of each Mermaid diagram, which browsers cannot draw alone."""
    folder = posixpath.dirname(src_uri)

    def picture(found: re.Match[str]) -> str:
        return f"![a diagram]({_relative(diagram_name(found[1]), folder)}){{ .diagram }}"

    return _DIAGRAM.sub(picture, text)
