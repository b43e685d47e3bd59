from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main
import yaml

from raysearch.cli import app
from raysearch.spec import load_spec

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def test_the_readmes_spec_is_valid_and_its_baseline_lies_in_the_space(tmp_path: Path) -> None:
    text, group = blocks("yaml")
    (tmp_path / "search.yaml").write_text(text)
    spec = load_spec(tmp_path / "search.yaml")
    assert spec.name == "first"
    assert spec.baseline is not None
    assert spec.space.why_not(spec.baseline) is None
    parts = {**yaml.safe_load(text), **yaml.safe_load(group)}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(parts))
    assert load_spec(tmp_path / "search.yaml").workers.processes == 4


@pytest.mark.parametrize("code", blocks("python"))
def test_the_readmes_python_compiles(code: str) -> None:
    compile(code, "README.md", "exec")


def test_the_readmes_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (Path(__file__).parents[1] / link).exists()] == []


@pytest.mark.parametrize("line", re.findall(r"^raysearch .*", README, flags=re.MULTILINE))
def test_the_readmes_commands_and_their_options_exist(line: str) -> None:
    name, *words = line.partition(" #")[0].split()[1:]
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    command = commands[name]
    while hasattr(command, "commands"):  # a group, such as memory
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}
    ours = words[: words.index("--")] if "--" in words else words  # the rest is a command for a job
    assert {word for word in ours if word.startswith("-")} <= options
