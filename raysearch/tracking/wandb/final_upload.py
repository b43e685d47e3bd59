"""The final upload of the search's own run: verdict, tables, figures, artifacts. Runs in the tracking process."""  # noqa: E501

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wandb

from raysearch.storage.journal.reading import read_events

if TYPE_CHECKING:
    from raysearch.tracking.wandb.sender import Sender

COPIED_BYTES = 2 << 30  # a larger checkpoint is referred to, not copied


def send_finals(sender: Sender) -> None:
    """Puts the whole search beside its run: summary, table, figures, artifacts.

    All of it goes into the summary and into artifacts, which are replaced when it is sent again, and not
    into the history, whose rows are counted.
    """
    folder = sender.paths.tracking_tables
    run = sender.runs.handle(sender.id_of(sender.search.feed))
    facts = json.loads((folder / "facts.json").read_text())
    run.summary.update({**facts, **_media(folder)})
    checkpoint = facts.get("best/checkpoint")
    run.log_artifact(_tables(sender, folder))
    if checkpoint and Path(checkpoint).is_dir():
        run.log_artifact(_checkpoint(sender, Path(checkpoint), facts))


def _media(folder: Path) -> dict[str, Any]:
    import plotly.io

    found: dict[str, Any] = {}
    for name in ("trials", "lineage"):
        if (file := folder / f"{name}.json").exists():
            table = json.loads(file.read_text())
            found[f"tables/{name}"] = wandb.Table(
                columns=table["columns"], data=table["data"], allow_mixed_types=True
            )
    if (file := folder / "importance.json").exists():
        shares = json.loads(file.read_text())
        found["tables/importance"] = wandb.Table(
            columns=["hyper-parameter", "share"], data=[[*row] for row in shares.items()]
        )
    for file in sorted(folder.glob("*.plotly.json")):
        found[f"figures/{file.name.partition('.')[0]}"] = wandb.Plotly(plotly.io.from_json(file.read_text()))
    return found


def _tables(sender: Sender, folder: Path) -> Any:
    artifact = wandb.Artifact(
        _name(sender, "search"), "search", description="every trial and segment of the search"
    )
    for file in sorted(folder.glob("*.parquet")):
        artifact.add_file(str(file), name=file.name)
    artifact.add_file(str(sender.paths.spec), name="spec.yaml")
    starts = [e.detail for e in read_events(sender.paths.journal) if e.kind == "start"]
    with artifact.new_file("versions.json") as file:
        json.dump(starts[-1] if starts else {}, file)
    return artifact


def _checkpoint(sender: Sender, folder: Path, facts: dict[str, Any]) -> Any:
    about = {k: v for k, v in facts.items() if k in ("best/trial", "best/value", "best/iteration")}
    artifact = wandb.Artifact(_name(sender, "winner"), "model", metadata=about)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if size <= COPIED_BYTES:
        artifact.add_dir(str(folder))
    else:
        artifact.add_reference(folder.absolute().as_uri(), checksum=False)
    return artifact


def _name(sender: Sender, what: str) -> str:
    return f"{sender.id_of(sender.search.feed).removesuffix('-search')}-{what}"
