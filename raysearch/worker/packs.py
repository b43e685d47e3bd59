"""Models on their way through leased segments, and the packs they train in."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from raysearch.core.error_text import print_traceback
from raysearch.core.library_errors import is_out_of_memory
from raysearch.core.segment import Segment, Status
from raysearch.engine.messages import Lease
from raysearch.errors import first_line
from raysearch.fused.contract import Describes, PackMember
from raysearch.fused.data import Data
from raysearch.fused.pack import Pack
from raysearch.fused.pack_width import Width
from raysearch.fused.packed_state import RowLayout
from raysearch.fused.paused_models import Paused, Rested
from raysearch.fused.single import form_of
from raysearch.fused.structure import Lifting, Structure
from raysearch.fused.traced_shapes import Traces
from raysearch.storage.checkpoints.local import Checkpoints
from raysearch.worker.job import Job
from raysearch.worker.model_factory import ModelFactory
from raysearch.worker.reports import Trained, check_metric, record

PACKS = 24  # a worker that has so many packs asks for as many models as it finishes


@dataclass(slots=True)
class Trainee:
    """A model on its way through a lease.

    Attributes:
        todo: the segments left, the one in training first; only the last one's curve is kept.
        model: its state while it is in no pack.
        seconds: its share of the worker's time so far.
    """

    lease: Lease
    todo: deque[Segment]
    model: Rested
    member: PackMember
    trained: Trained
    names: set[str] = field(default_factory=set)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Leaver:
    """A model whose lease has ended, or that failed: then `model` is None."""

    lease: Lease
    trained: Trained
    model: Rested | None
    seconds: float


@dataclass(slots=True)
class Team:
    """A pack, the trainees in its rows, and those that wait for a row."""

    pack: Pack
    trainees: list[Trainee] = field(default_factory=list)
    waiting: deque[Trainee] = field(default_factory=deque)
    width: Width = field(default_factory=Width)

    def fill(self) -> None:
        """Moves waiting trainees into free rows, up to the width."""
        while self.waiting and len(self.trainees) < self.width.limit:
            model = self.waiting[0].model
            try:
                self.pack.join(self.waiting[0].member, model.row, list(model.lifted))
            except Exception as error:
                if not is_out_of_memory(error) or not self.trainees:
                    raise
                self.width.ran_out(len(self.trainees))
                return
            self.trainees.append(self.waiting.popleft())

    def ending(self) -> int:
        """How many leases end with the next iteration, failures apart."""
        return sum(len(t.todo) == 1 and t.member.at + 1 >= t.todo[0].stop for t in self.trainees)


class PackCrew:
    """All packs of a worker."""

    def __init__(
        self,
        job: Job,
        learner: Describes,
        data: Data,
        device: torch.device,
        lifting: Lifting,
        checkpoints: Checkpoints,
        scratch: Path,
        remark: Callable[[str], object],
    ) -> None:
        self._job, self._learner, self._lifting = job, learner, lifting
        self._models = ModelFactory(job, learner, lifting)
        self._data, self._device = data, device
        self._checkpoints, self._remark = checkpoints, remark
        self._teams: dict[Structure | int, Team] = {}  # by structure, or by the segment that trains alone
        self._reserved: int | None = None
        self._pays = False  # a pack of another structure was much faster than single models
        self._widths: dict[Structure, Width] = {}  # what was found, for packs that empty and fill again
        self._traces: dict[Structure, Traces] = {}
        self._told_refused = self._told_uncompiled = False
        self.paused = Paused(scratch / "paused")

    # ---- counts

    @property
    def live(self) -> int:
        """How many models train or wait for a row."""
        return sum(len(team.trainees) + len(team.waiting) for team in self._teams.values())

    @property
    def is_reserved(self) -> bool:
        """True while one model trains and all others wait."""
        return self._reserved is not None

    def room(self) -> int:
        """How many more models should come so that no row is empty at the end of the next iteration.

        With PACKS packs or more: as many as leave. 0 while one model trains alone.
        """
        if self._reserved is not None:
            return 0
        teams = self._teams.values()
        ending = sum(team.ending() for team in teams)
        if len(teams) >= PACKS:
            return ending
        free = sum(team.width.limit - len(team.trainees) - len(team.waiting) for team in teams)
        return (free if teams else self._width().limit) + ending

    def by_layout(self, leavers: Sequence[Leaver]) -> list[list[Leaver]]:
        """Groups whose models can be rows of one file."""
        groups: dict[Structure, list[Leaver]] = {}
        for leaver in leavers:
            if leaver.model is not None:
                groups.setdefault(leaver.model.structure, []).append(leaver)
        return list(groups.values())

    def layout_of(self, model: Rested) -> RowLayout:
        """Where the parameters of such a model lie in its row."""
        return self._models.layout_of(model)

    def clear(self) -> None:
        """Ends every training, and drops the waiting trainees."""
        self._teams.clear()
        self._reserved = None
        self.paused.clear()

    # ---- coming

    def take_on(self, lease: Lease) -> None:
        """Brings a leased model to its start: from memory, from a checkpoint, or a fresh one.

        Raises:
            CheckpointError: the lease's checkpoint cannot be loaded.
            Exception: any error of the learner for this configuration.
        """
        path = [*lease.chain, lease.segment]
        known = reversed(range(len(path))) if lease.begun is None else ()  # else it stands in the midst
        for i in known:
            parent = path[i].parent
            rested = self.paused.get(parent) if parent is not None else None
            if rested is not None:
                self._admit(lease, path[i:], rested)
                return
        if lease.checkpoint is None:
            self._admit(lease, path, self._models.fresh(path[0]))
        else:
            folder = self._checkpoints.verified(lease.checkpoint)
            self._admit(lease, path, self._models.loaded(path[0], folder))

    def _admit(self, lease: Lease, path: list[Segment], rested: Rested) -> None:
        trained = Trained(grown_s=rested.grown_s)
        if lease.begun is not None:
            trained.begun(lease.begun, rested.at - lease.segment.start)
        names = set(trained.curve)
        self._place(Trainee(lease, deque(path), rested, self._models.member(rested), trained, names))

    def _place(self, trainee: Trainee) -> None:
        """Puts a trainee in line for the pack that fits its next segment's configuration."""
        config = self._models.config_of(trainee.todo[0])
        if config != trainee.model.config:
            trainee.model = self._models.reconfigured(trainee.model, config)
            trainee.member = self._models.member(trainee.model)
        structure, segment = trainee.model.structure, trainee.lease.segment.id
        if trainee.lease.alone:
            self._teams[segment] = self._team(trainee)
            self._teams[segment].waiting.append(trainee)
            self._reserved = segment
            return
        if structure not in self._teams:
            self._teams[structure] = self._team(trainee)
        self._teams[structure].waiting.append(trainee)

    def _team(self, trainee: Trainee) -> Team:
        """An empty pack for models like this one."""
        form = form_of(self._learner, trainee.model.config)
        structure = trainee.model.structure
        args = (self._learner, self._data, self._device, form, structure, trainee.member, self._lifting)
        known = self._traces.get(structure) or Traces()
        team = Team(Pack(*args, known))
        if not trainee.lease.alone:
            self._traces[structure] = known
            team.width = self._widths.setdefault(structure, self._width())
        pack = weakref.ref(team.pack)  # widths outlive packs
        team.width.fits = lambda models: (known := pack()) is None or known.fits(models)
        return team

    def _width(self) -> Width:
        """The width of a structure that the worker has not trained yet."""
        return Width(trusted=self._pays)

    # ---- training

    def next_team(self) -> Team | None:
        """The pack whose turn it is, filled; None if there is nothing to train."""
        for structure in list(self._teams) if self._reserved is None else [self._reserved]:
            team = self._teams.pop(structure)
            team.fill()
            if team.trainees:
                self._teams[structure] = team  # behind the others
                return team
        return None

    def iterate(self, team: Team) -> list[Leaver]:
        """Trains a pack for one iteration; returns the models whose leases have ended."""
        began = time.perf_counter()
        reports = team.pack.iterate(team.width)
        seconds = time.perf_counter() - began
        if team.pack.ran_out:
            team.width.ran_out(team.pack.width)
        if team.pack.trouble:
            self._remark(f"models had to be trained one at a time: {first_line(team.pack.trouble)}")
        if team.pack.refused and not self._told_refused:
            self._told_refused = True
            self._remark(f"steps run as they are written, not as a list: {first_line(team.pack.refused)}")
        if team.pack.uncompiled and not self._told_uncompiled:
            self._told_uncompiled = True
            self._remark(f"steps are not compiled: {first_line(team.pack.uncompiled)}")
        self._pays = self._pays or team.width.pays
        through: list[int] = []
        for place, report in enumerate(reports):
            trainee = team.trainees[place]
            share = seconds / len(reports)
            trainee.seconds += share
            trainee.trained.grown_s += share
            if self._is_through(trainee, report):
                through.append(place)
        return self._released(team, through)

    def pause(self) -> list[Leaver]:
        """Takes out every model in the midst of a leased segment, in its present state."""
        found: list[Leaver] = []
        for team in self._teams.values():
            midway = [
                i for i, t in enumerate(team.trainees) if len(t.todo) == 1 and t.member.at > t.todo[0].start
            ]
            for place, row in zip(midway, team.pack.take(midway) if midway else [], strict=True):
                trainee, trained = team.trainees[place], team.trainees[place].trained
                model = replace(trainee.model, row=row, at=trainee.member.at, grown_s=trained.grown_s)
                trained.status, trained.paused = Status.LOST, True
                found.append(Leaver(trainee.lease, trained, model, trainee.seconds))
        self.clear()
        return found

    def _is_through(self, trainee: Trainee, report: Any) -> bool:
        """Notes a report; True if the trainee's segment has ended, well or badly."""
        segment, trained = trainee.todo[0], trainee.trained
        try:
            if isinstance(report, Exception):
                raise report
            if trainee.member.at > segment.start and len(trainee.todo) == 1:
                names = record(trained, report, self._job.metric, segment, trainee.member.at)
                trainee.names.update(names)
            ended = trained.status is not Status.COMPLETED or trainee.member.at >= segment.stop
            if ended and len(trainee.todo) == 1:
                check_metric(trained, self._job.metric, segment, trainee.names)
        except Exception as error:  # noqa: BLE001  (whatever the user's code raised for this model)
            print_traceback()
            trained.fail(error)
            return True
        return ended

    def _released(self, team: Team, places: list[int]) -> list[Leaver]:
        """Takes out trainees whose segment has ended; places those with a further segment again."""
        whole = [place for place in places if team.trainees[place].trained.status is Status.COMPLETED]
        for place, row in zip(whole, team.pack.take(whole) if whole else [], strict=True):
            trainee = team.trainees[place]
            trainee.model = replace(
                trainee.model, row=row, at=trainee.member.at, grown_s=trainee.trained.grown_s
            )
        ended = [team.trainees[place] for place in places]
        for place in sorted(places, reverse=True):  # the pack moves its last rows into the free places
            team.trainees[place] = team.trainees[-1]
            team.trainees.pop()
        team.pack.leave(places)
        return [leaver for trainee in ended if (leaver := self._moved_on(trainee)) is not None]

    def _moved_on(self, trainee: Trainee) -> Leaver | None:
        """None for a trainee that goes on with the next segment of its path."""
        whole = trainee.trained.status is Status.COMPLETED
        if whole and len(trainee.todo) > 1:
            trainee.todo.popleft()
            try:
                self._place(trainee)
                return None
            except Exception as error:  # noqa: BLE001  (the user's model may raise anything)
                trainee.trained.fail(error)
                whole = False
        if trainee.lease.segment.id == self._reserved:
            del self._teams[self._reserved]
            self._reserved = None
        return Leaver(trainee.lease, trainee.trained, trainee.model if whole else None, trainee.seconds)
