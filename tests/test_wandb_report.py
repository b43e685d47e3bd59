"""The W&B report: built without a network, the same sections as the page, saved once and then updated."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("wandb_workspaces", reason="the extra wandb-report is not installed")
from wandb_runs import written
from wandb_standin import CANARY, StandIn

import raysearch
from raysearch.cli import main
from raysearch.report.sections import content_of
from raysearch.tracking.wandb import report as wandb_report

GOLDEN = Path(__file__).parent / "golden" / "wandb-report.json"


def normalised(value: Any) -> Any:
    """Without the ids that the client draws at random, and without times and versions."""
    if isinstance(value, dict):
        return {
            k: "ID" if k in ("id", "key", "__id__", "ref", "refId") else normalised(v)
            for k, v in sorted(value.items())
        }
    if isinstance(value, list):
        return [normalised(v) for v in value]
    if isinstance(value, str):
        return re.sub(r"/[^ ]*/run\b", "RUN", value)
    return value


def test_the_report_is_the_golden_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    written(tmp_path / "run", 12)
    made = normalised(wandb_report.spec_of(wandb_report.build(raysearch.load(tmp_path / "run"), "team")))
    if not GOLDEN.exists():
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(made, indent=1) + "\n")
        pytest.fail("there was no golden report; look at the new one and commit it")
    assert made == json.loads(GOLDEN.read_text())


def test_every_section_of_the_page_is_in_the_report(tmp_path: Path) -> None:
    written(tmp_path / "run", 12)
    results = raysearch.load(tmp_path / "run")
    text = json.dumps(wandb_report.spec_of(wandb_report.build(results, "team")))
    for section in content_of(results).sections:
        assert json.dumps(section.title)[1:-1] in text
    assert "figures/parallel" in text


def test_a_long_title_is_cut_to_what_wandb_takes(tmp_path: Path) -> None:
    written(tmp_path / "run", 12)
    spec = (tmp_path / "run/spec.yaml").read_text()
    (tmp_path / "run/spec.yaml").write_text(spec.replace("name: demo", f"name: {'x' * 120}"))
    report = wandb_report.build(raysearch.load(tmp_path / "run"), "team")
    assert len(report.title) == 128


def test_saving_again_updates_the_report_and_makes_no_second_one(
    server: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "run", 3)
    for _ in range(2):
        assert main(["report", str(tmp_path / "run"), "--wandb"]) == 0
    assert [*server.views] == ["view0"]
    assert json.loads((tmp_path / "run/tracking/wandb-report.json").read_text())["id"] == "view0"
    assert "W&B report: http" in capsys.readouterr().out
    assert CANARY not in (tmp_path / "run/tracking/wandb-report.json").read_text()
