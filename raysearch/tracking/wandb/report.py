"""The report as W&B takes it: panels over the search's runs, the same sections as the HTML report.

Built without a network; saving asks for one. Run as `python -m raysearch.tracking.wandb.report RUN [--save]`
with the key on stdin: it writes `tracking/wandb-report.json`, and with --save saves it at W&B under the id that
it had before, so that saving again updates it.
"""  # noqa: E501

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import wandb_workspaces.reports.v2 as wr

from raysearch.core.formatting import cut
from raysearch.errors import RunError
from raysearch.report.sections import Content, Section, content_of
from raysearch.results.results import Results
from raysearch.storage.atomic import read_text, replace_text
from raysearch.storage.checked_json import from_text, to_text
from raysearch.storage.paths import RunPaths
from raysearch.tracking.wandb.api_key import VARIABLE

UNKNOWN = "entity"  # stands in a report that was not saved yet
TITLE = 128  # characters that W&B takes
CELL = 300  # characters of a cell of a table
FIGURES = {
    "front": ("front", "hypervolume"),
    "progress": ("progress", "rungs"),
    "space": ("parallel", "importance", "slices"),
    "raised": ("schedules", "lineage"),
    "curves": ("curves",),
    "cluster": ("timeline",),
}


def build(results: Results, entity: str) -> Any:
    """The report of a run, a `wandb_workspaces.reports.v2.Report`; calls no server."""
    content = content_of(results)
    wandb = results.spec.get("wandb") or {}
    project = str(wandb.get("project") or "raysearch")
    blocks: list[Any] = [
        wr.TableOfContents(),
        wr.P(f"{content.headline} {content.metric}, {content.better}."),
    ]
    for section in content.sections:
        blocks += _blocks(section, results, content)
    blocks += _decision(content)
    title = f"{content.name}: {content.headline}"
    return wr.Report(
        project=project,
        entity=entity,
        title=title if len(title) <= TITLE else title[: TITLE - 1] + "…",
        description=content.headline,
        blocks=blocks,
        width="fixed",
    )


def _blocks(section: Section, results: Results, content: Content) -> list[Any]:
    blocks: list[Any] = [wr.H2(section.title), *(wr.P(words) for words in section.words)]
    for words, command in section.steps:
        blocks += [wr.P(words), wr.CodeBlock(code=command, language=None)]
    for table in section.tables:
        blocks.append(wr.MarkdownBlock(text=_markdown(table.header, table.rows)))
    panels = [
        wr.MediaBrowser(title=name, media_keys=[f"figures/{name}"]) for name in FIGURES.get(section.key, ())
    ]
    panels += _native(section.key, results)
    if panels:
        # No entity and project here: with them the client would ask the server.
        blocks.append(
            wr.PanelGrid(runsets=[wr.Runset(name=content.name, query=_group(results))], panels=panels)
        )
    if section.code:
        blocks.append(wr.CodeBlock(code=section.code, language="yaml"))
    return blocks


def _native(key: str, results: Results) -> list[Any]:
    """Panels that W&B draws itself from the runs."""
    free = [wr.Config(name) for name in results.digest.free]
    metric, goals = results.metric, results.goals
    if key == "progress":
        x = "search/hours"
        return [
            *(wr.LinePlot(title=f"best {name}", x=x, y=[f"search/best_{name}"]) for name in goals.modes),
            wr.LinePlot(title="trials", x=x, y=["search/trials"]),
        ]
    if key == "front":
        on = [name for name in goals.metrics if name != metric]
        return [wr.ScatterPlot(x=wr.SummaryMetric(name), y=wr.SummaryMetric(metric)) for name in on]
    if key == "space":
        ends = [wr.SummaryMetric(name) for name in (*goals.metrics[1:], metric)]
        columns = [wr.ParallelCoordinatesPlotColumn(metric=m) for m in (*free, *ends)]
        return [
            wr.ParallelCoordinatesPlot(columns=columns),
            wr.ParameterImportancePlot(with_respect_to=metric),
            *(wr.ScatterPlot(x=name, y=wr.SummaryMetric(metric)) for name in free[:6]),
        ]
    if key == "trials":
        return [wr.RunComparer(diff_only="split")]
    if key == "curves":
        return [wr.LinePlot(title=name, x="training_iteration", y=[name]) for name in goals.metrics]
    if key == "raised":
        names = results.digest.free[:6]
        return [wr.LinePlot(title=name, x="training_iteration", y=[f"hp/{name}"]) for name in names]
    return []


def _decision(content: Content) -> list[Any]:
    items = [wr.CheckedListItem(text=check) for check in content.checks]
    return [wr.H2("Decision"), wr.CheckedList(items=items), wr.P("Owner:"), wr.P("Decision, and why:")]


def _group(results: Results) -> str:
    wandb = results.spec.get("wandb") or {}
    return str(wandb.get("group") or results.digest.name)


def _markdown(header: Any, rows: Any) -> str:
    def line(cells: Any) -> str:
        return "| " + " | ".join(_escaped(cut(str(cell), CELL)) for cell in cells) + " |"

    return "\n".join([line(header), "|" + "---|" * len(header), *(line(row) for row in rows)])


def _escaped(text: str) -> str:
    for mark in "\\`*_|<>[]#":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("\n", " ")


def spec_of(report: Any) -> dict[str, Any]:
    """The report as W&B takes it, as plain JSON values."""
    model = report._to_model()
    return {
        "displayName": model.display_name,
        "description": model.description,
        "project": model.project.name,
        "entity": model.project.entity_name,
        "spec": json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True)),
    }


def write(run: Path, save: bool) -> dict[str, Any]:
    """Writes the report's JSON beside the run; saves it at W&B too if asked. Returns what was written."""
    results, paths = Results(run), RunPaths(run)
    before = _written(paths.wandb_report)
    known = before.get("entity") if before.get("id") else None
    entity = str((results.spec.get("wandb") or {}).get("entity") or known or "")
    if save and not entity:
        import wandb

        entity = str(wandb.Api().default_entity)
    report = build(results, entity or UNKNOWN)
    made = {**spec_of(report), "id": before.get("id", ""), "url": before.get("url", "")}
    if save:
        report.id = made["id"]
        report.save()
        made |= {"id": report.id, "url": report.url}
    paths.tracking.mkdir(parents=True, exist_ok=True)
    replace_text(paths.wandb_report, to_text(made, indent=1) + "\n")
    return made


def _written(file: Path) -> dict[str, Any]:
    """What was written before; empty if nothing was."""
    try:
        return from_text(read_text(file)) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: cannot be read: {error}. Delete it: then a new report is made") from None


if __name__ == "__main__":
    os.environ[VARIABLE] = sys.stdin.readline().strip()
    os.environ["WANDB_SILENT"] = "true"
    print(write(Path(sys.argv[1]), "--save" in sys.argv)["url"])
