"""Models of a Learner on disk: rows in one safetensors file, and beside it which row is meant.

FOLDER/
  rows.safetensors    parameters/NAME (rows, ...), vectors/NAME (rows, P), kept/NAME (rows, ...)
  learner.json        {"row": 3, "seed": 7, "iteration": 9, "config": {...}}

Models that a worker saves at one moment share a file: each one's folder has a link to it. When the last
link is deleted, so is the file.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from raysearch.errors import CheckpointError
from raysearch.fused.contract import Config
from raysearch.fused.packed_state import ModelRow, RowLayout

ROWS = "rows.safetensors"
NOTE = "learner.json"


@dataclass(frozen=True, slots=True)
class Note:
    """Which model a folder holds."""

    row: int
    seed: int
    iteration: int
    config: Config


def write_rows(file: Path, rows: Sequence[ModelRow], layout: RowLayout) -> None:
    """Writes rows of one layout into a file. Raises OSError if it cannot be written."""
    tensors: dict[str, Tensor] = {}
    stacked = torch.stack([row.parameters for row in rows])
    for part in layout.parts:
        values = stacked[:, part.start : part.start + part.size]
        tensors[f"parameters/{part.name}"] = values.reshape(len(rows), *part.shape).contiguous()
    for name in rows[0].vectors:
        tensors[f"vectors/{name}"] = torch.stack([row.vectors[name] for row in rows])
    for name in rows[0].kept:
        tensors[f"kept/{name}"] = torch.stack([row.kept[name] for row in rows])
    try:
        save_file(tensors, file)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def write_note(folder: Path, note: Note) -> None:
    """Says which row of the folder's file is meant."""
    fields = {"row": note.row, "seed": note.seed, "iteration": note.iteration, "config": dict(note.config)}
    (folder / NOTE).write_text(json.dumps(fields, default=repr), encoding="utf-8")


def link_rows(file: Path, folder: Path) -> None:
    """Puts the file into the folder too; a copy where the file system has no links."""
    try:
        os.link(file, folder / ROWS)
    except OSError:
        shutil.copy2(file, folder / ROWS)


def read_note(folder: Path) -> Note:
    """Which model a folder holds.

    Raises:
        CheckpointError: it holds none.
    """
    try:
        fields: dict[str, Any] = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        note = Note(int(fields["row"]), int(fields["seed"]), int(fields["iteration"]), dict(fields["config"]))
        if note.row < 0 or note.iteration < 0:
            raise ValueError(f"row {note.row} after iteration {note.iteration}")
        return note
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise CheckpointError(f"{folder / NOTE} cannot be read: {type(error).__name__}: {error}") from error


def read_row(folder: Path, layout: RowLayout) -> ModelRow:
    """The model that a folder holds, as a row of this layout; no other row is read.

    Raises:
        CheckpointError: the file is torn or gone, or the model has another structure.
    """
    at = read_note(folder).row
    try:
        with safe_open(folder / ROWS, framework="pt") as file:
            names = set(file.keys())
            parts = [file.get_slice(f"parameters/{part.name}")[at] for part in layout.parts]
            kept = {name: file.get_slice(f"kept/{name}")[at] for name in layout.kept}
            vectors = {
                name.removeprefix("vectors/"): file.get_slice(name)[at]
                for name in names
                if name.startswith("vectors/")
            }
    except (OSError, SafetensorError, IndexError) as error:
        raise CheckpointError(f"{folder / ROWS}: {error}") from error
    for part, value in zip(layout.parts, parts, strict=True):
        if tuple(value.shape) != part.shape:
            raise CheckpointError(
                f"{folder / ROWS}: {part.name} has shape {tuple(value.shape)}; the model's has {part.shape}"
            )
    for name, value in vectors.items():
        if tuple(value.shape) != (layout.size,):
            raise CheckpointError(
                f"{folder / ROWS}: {name} has shape {tuple(value.shape)}, not {layout.size}"
            )
    flat = torch.cat([value.reshape(-1).float() for value in parts])
    return ModelRow(flat, vectors, kept)
