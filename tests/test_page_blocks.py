"""Every page of notebooks/ and README.md: commands exist, Python compiles, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from raysearch.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "notebooks").glob("**/*.md"))]
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of that language."""
    return [found[3] for found in FENCED.finditer(page.read_text()) if found[2] == language]


PYTHON = [
    pytest.param(page, code, id=f"{name(page)}-{i}")
    for page in PAGES
    for i, code in enumerate(blocks(page, "python"))
]
COMMANDS = [
    pytest.param(line, id=f"{name(page)}: {line[:60]}")
    for page in PAGES
    for code in blocks(page, "")
    for line in re.findall(r"^raysearch .*", code, flags=re.MULTILINE)
]


@pytest.mark.parametrize(("page", "code"), PYTHON)
def test_the_python_of_a_page_compiles(page: Path, code: str) -> None:
    compile(code, name(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", FENCED.sub("", page.read_text()))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_of_a_page_and_their_options_exist(line: str) -> None:
    first, *words = re.split(r"\s#|\s\s", line)[0].split()[1:]
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    if first.startswith("--"):
        assert first in {option for each in typer.main.get_command(app).params for option in each.opts}
        return
    command = commands[first]
    while hasattr(command, "commands"):  # a group, such as memory
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}
    ours = words[: words.index("--")] if "--" in words else words  # the rest is a command for a job
    if first != "bench":  # whose options are those of each bench
        assert {word for word in ours if word.startswith("-")} <= options


def test_readme_is_two_screens_and_names_every_guide() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") <= 200
    guides = {page.name for page in (ROOT / "notebooks" / "guides").glob("*.md")}
    assert {each for each in guides if f"guides/{each}" not in text} <= {"failures.md"}
