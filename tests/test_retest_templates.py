"""The templates for cron, a Ray job and CI call commands and options that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import typer.main
import yaml

from raysearch.cli import app

FOLDER = Path(__file__).parents[1] / "cluster" / "templates"
FILES = ("retest.cron", "retest-job.sh", "retest-ci.yaml")


@pytest.mark.parametrize("name", FILES)
def test_the_commands_of_a_template_exist(name: str) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines = [line for line in (FOLDER / name).read_text().splitlines() if not line.lstrip().startswith("#")]
    found = re.findall(r"raysearch (retest|due)\b([^|>&]*)", "\n".join(lines))
    assert found
    for command, rest in found:
        options = {option for parameter in commands[command].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options


def test_the_job_is_valid_bash_and_the_workflow_valid_yaml() -> None:
    subprocess.run(["bash", "-n", str(FOLDER / "retest-job.sh")], check=True)
    workflow = yaml.safe_load((FOLDER / "retest-ci.yaml").read_text())
    assert workflow["jobs"]["retest"]["steps"]


def test_a_schedule_has_five_fields_and_a_command() -> None:
    lines = (FOLDER / "retest.cron").read_text().splitlines()
    (entry,) = [line for line in lines if re.match(r"[\d*]", line)]
    assert len(entry.split()) > 6
    assert re.fullmatch(r"[\d*/,-]+( +[\d*/,-]+){4}", " ".join(entry.split()[:5]))
