"""Models at the start of a leased segment: fresh ones, those of a checkpoint, and reconfigured ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from raysearch.core.segment import Segment
from raysearch.errors import CheckpointError
from raysearch.fused import checkpoint_files
from raysearch.fused.contract import Describes, PackMember
from raysearch.fused.member import member
from raysearch.fused.packed_state import RowLayout
from raysearch.fused.paused_models import Rested
from raysearch.fused.single import fresh
from raysearch.fused.structure import Lifting, Structure, lifted_values, structure_of
from raysearch.storage.checkpoints.meta import read_meta
from raysearch.worker.job import Job
from raysearch.worker.rng import seed_of


class ModelFactory:
    """Makes the models of a worker, and remembers the layout of each structure."""

    def __init__(self, job: Job, learner: Describes, lifting: Lifting) -> None:
        self._job, self._learner, self._lifting = job, learner, lifting
        self._layouts: dict[Structure, RowLayout] = {}

    def layout_of(self, model: Rested) -> RowLayout:
        """Where the parameters of such a model lie in its row."""
        return self._layouts[model.structure]

    def member(self, rested: Rested) -> PackMember:
        """The model as a member of a pack."""
        return member(self._learner, rested.config, rested.seed, rested.at)

    def config_of(self, segment: Segment) -> dict[str, Any]:
        """The configuration that the learner gets: constants, the segment's own, and its seed."""
        seed = {self._job.seed_as: segment.seed} if self._job.seed_as else {}
        return {**self._job.constants, **segment.config, **seed}

    def fresh(self, segment: Segment) -> Rested:
        """A model at its first iteration."""
        config = self.config_of(segment)
        seed = config.get("seed")
        chosen = int(seed) if seed is not None else seed_of(segment)
        model = fresh(self._learner, config, chosen)
        structure, lifted = self._structure(model, config)
        return Rested(self._layout(structure, model).row_of(model), chosen, 0, config, structure, lifted, 0.0)

    def loaded(self, segment: Segment, folder: Path) -> Rested:
        """The model of a checkpoint.

        Raises:
            CheckpointError: it cannot be read.
        """
        config = self.config_of(segment)
        note = checkpoint_files.read_note(folder)
        seed = int(config["seed"]) if config.get("seed") is not None else note.seed
        model = fresh(self._learner, config, seed)
        structure, lifted = self._structure(model, config)
        row = checkpoint_files.read_row(folder, self._layout(structure, model))
        return Rested(row, seed, note.iteration, config, structure, lifted, read_meta(folder)["grown_s"])

    def reconfigured(self, rested: Rested, config: dict[str, Any]) -> Rested:
        """The model under another configuration.

        Raises:
            CheckpointError: its shapes would change.
        """
        seed = int(config["seed"]) if config.get("seed") is not None else rested.seed
        model = fresh(self._learner, config, seed)
        structure, lifted = self._structure(model, config)
        layout = self._layout(structure, model)
        fits = layout.size == len(rested.row.parameters) and layout.kept.keys() == rested.row.kept.keys()
        if not fits:
            raise CheckpointError("the model's shapes change with the configuration along the path")
        return replace(rested, seed=seed, config=config, structure=structure, lifted=lifted)

    def _structure(
        self, model: torch.nn.Module, config: Mapping[str, Any]
    ) -> tuple[Structure, tuple[float, ...]]:
        structure = structure_of(model, member(self._learner, config, 0), self._lifting)
        return structure, tuple(lifted_values(model, structure))

    def _layout(self, structure: Structure, model: torch.nn.Module) -> RowLayout:
        if structure not in self._layouts:
            self._layouts[structure] = RowLayout(model)
        return self._layouts[structure]
