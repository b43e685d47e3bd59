"""What optimizers hold at their steps, and multipliers that hold during a step and at no other time.

torch calls hooks before and after every `Optimizer.step` of a process. Before it a watch multiplies what is
to be multiplied and notes what the parameter groups hold; after it the groups get their own values back. So
no scheduler, checkpoint or framework sees a multiplier, and none can undo it or apply it twice.
"""

from __future__ import annotations

import math
import sys
import threading
import weakref
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from types import FrameType
from typing import Any

import torch
from torch.optim import optimizer as torch_optimizer

from raysearch.core.used_values import HELD, KNOWN, Held, Wanted
from raysearch.torch.bindings import SAME, Levels, bind, is_made_of
from raysearch.torch.group_values import BETAS, Series, Watched, joined, levels_of, place_of
from raysearch.torch.trained_weights import TrainedWeights

Groups = list[dict[str, Any]]
Place = tuple[str, int, str, str]  # optimizer, group, slot, name of the hyper-parameter
ONE = 1e-12  # a factor that is nearer to 1 than this is none


@dataclass(slots=True)
class Met:
    """An optimizer that has taken a step.

    Attributes:
        values, tensors: what is noted: (group, key, value); tensors are looked at although they stay the same
            objects.
        undo: while it steps: (group, key, the value before, the value during the step).
        depth: where it is multiplied, calls of `step` within one another; a subclass that calls
            `super().step()` has two.
    """

    ref: weakref.ref[torch.optim.Optimizer]
    groups: int
    values: list[tuple[int, str, Watched]]
    tensors: list[tuple[int, str, Watched]]
    scaled: list[tuple[int, Watched]]
    undo: list[tuple[dict[str, Any], str, Any, Any]] = field(default_factory=list)
    depth: int = 0


class StepWatch:
    """Notes and multiplies the values of all optimizers that step while it is active.

    Attributes:
        wanted: hyper-parameters that optimizers may hold.
        settled: (id of an optimizer, hyper-parameter) whose new value was written into the optimizer itself.
        places: where hyper-parameters were found, in this life of the trial or an earlier one.
        stale: hyper-parameter -> (slot, value) of an optimizer that its value of before may have given.
        multiplies: some optimizer was met whose values are multiplied, so that they must be taken back.
        strangers: threads that earlier trials left; their steps are none of this trial's.
        has_strangers: one of them took a step.
        weights: with which this trial began, and the one before it ended.
    """

    def __init__(self) -> None:
        self.wanted: tuple[Wanted, ...] = ()
        self.places: set[Place] = set()
        self.settled: set[str] = set()
        self.stale: dict[str, tuple[str, float]] = {}
        self._done: dict[tuple[int, str], float] = {}  # what the optimizer had before it was settled
        self._met: dict[int, Met] = {}
        self._gone: list[Met] = []  # optimizers that are no more, or were met anew, since `take`
        self.multiplies = False
        self._names: dict[tuple[str, int], str] = {}  # by the optimizer's kind and its first parameter
        self.strangers: Collection[threading.Thread] = ()
        self.has_strangers = False
        self.weights = TrainedWeights()

    def plan(self, wanted: Sequence[Wanted], places: Sequence[Place] = ()) -> None:
        """Begins a trial, or a trial's next life: all optimizers are new."""
        for met in self._met.values():
            _take_back(met)
        self.weights.begin()
        self.wanted, self.places = tuple(wanted), set(places)
        self.settled, self._done, self._met, self._names = set(), {}, {}, {}
        self._gone, self.multiplies, self.stale = [], False, {}

    @property
    def has_stepped(self) -> bool:
        """Whether an optimizer took a step since `plan`."""
        return bool(self._names)

    def find(self, name: str) -> Wanted | None:
        """The wanted hyper-parameter of this name."""
        return next((w for w in self.wanted if w.name == name), None)

    def settle(self, optimizer: torch.optim.Optimizer, name: str, before: float) -> bool:
        """Notes that an optimizer is given the asked value for good; False if it has been already.

        `before` is what it has now: if it has that again when it steps, its state was loaded afterwards.
        """
        key = (id(optimizer), name)
        if key in self._done:
            return False
        self._done[key] = before
        self.settled.add(name)
        if met := self._met.pop(id(optimizer), None):
            self._gone.append(met)
        return True

    def take(self) -> dict[Series, Held]:
        """What was held at the steps since the last call."""
        found: dict[Series, Held] = {}
        gone, self._gone = self._gone, []
        for met in (*gone, *list(self._met.values())):
            _take_back(met)
            met.depth = 0
            for value in [value for *_, value in (*met.values, *met.tensors) if value.first is not None]:
                before = found.get(value.series)
                found[value.series] = value.taken() if before is None else joined(before, value.taken())
        return found

    # ---- the hooks

    def before(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer is about to step. This runs at every step: it does nothing that can wait."""
        if self.strangers and threading.current_thread() in self.strangers:
            self.has_strangers = True
            return
        met = self._met.get(id(optimizer))
        groups: Groups = optimizer.param_groups
        if met is None or met.groups != len(groups):
            if _only_makes_state(optimizer):
                return
            met = self._meet(optimizer)
        if met.scaled and not self._has_begun(met, optimizer, groups):
            return
        for number, key, value in met.values:
            held = groups[number].get(key)
            if held is not value.seen:
                value.note(held)
        for number, key, value in met.tensors:
            value.note(groups[number].get(key))

    def after(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer has stepped."""
        met = self._met.get(id(optimizer))
        if met is not None and met.depth:
            met.depth -= 1
            if not met.depth and met.undo:
                _take_back(met)

    def _has_begun(self, met: Met, optimizer: torch.optim.Optimizer, groups: Groups) -> bool:
        """Applies the multipliers; False for a step within another one of the same optimizer."""
        if met.depth and is_within_step(optimizer):
            met.depth += 1
            return False
        if met.undo:
            _take_back(met)  # a step that raised left its multipliers
        met.depth = 1
        self._multiply(met, groups)
        return True

    def _multiply(self, met: Met, groups: Groups) -> None:
        others = [other for other in self._met.values() if other.undo] if len(self._met) > 1 else []
        held = {(id(group), key) for other in others for group, key, *_ in other.undo}
        for number, value in met.scaled:
            group = groups[number]
            if (id(group), value.key) in held:  # an optimizer around this one has multiplied it
                continue
            old = group[value.key]
            if isinstance(old, torch.Tensor):
                met.undo.append((group, value.key, old.clone(), old))
                old.mul_(value.factor)
                continue
            if old is not value.base:
                value.base, value.multiplied = old, value.times_factor(old)
            met.undo.append((group, value.key, old, value.multiplied))
            group[value.key] = value.multiplied

    # ---- meeting an optimizer

    def _meet(self, optimizer: torch.optim.Optimizer) -> Met:
        groups: Groups = optimizer.param_groups
        name = self._name_of(optimizer)
        number = [*self._names.values()].index(name)
        bound = self._bound(name, optimizer)
        self._note_stale(groups, set(bound.values()))
        values = [self._values(g, group, bound, number) for g, group in enumerate(groups)]
        done = self._still_settled(optimizer)
        scaled = [
            (g, v)
            for g, group_values in enumerate(values)
            for v in group_values
            if abs(v.factor - 1.0) > ONE and v.series.name not in done
        ]
        if old := self._met.get(id(optimizer)):
            self._gone.append(old)
        places = [(g, v.key, v) for g, of_group in enumerate(values) for v in of_group]
        met = Met(
            weakref.ref(optimizer, partial(self._bury, id(optimizer))),
            len(groups),
            [place for place in places if not isinstance(groups[place[0]][place[1]], torch.Tensor)],
            [place for place in places if isinstance(groups[place[0]][place[1]], torch.Tensor)],
            scaled,
        )
        self.multiplies = self.multiplies or bool(scaled)
        self._met[id(optimizer)] = met
        return met

    def _bury(self, identity: int, ref: weakref.ref[torch.optim.Optimizer]) -> None:
        """Keeps what was noted of an optimizer that is no more until it is taken."""
        met = self._met.get(identity)
        if met is not None and met.ref is ref:
            self._gone.append(self._met.pop(identity))

    def _still_settled(self, optimizer: torch.optim.Optimizer) -> set[str]:
        """The hyper-parameters whose asked values the optimizer has itself."""
        for name in [name for identity, name in self._done if identity == id(optimizer)]:
            wanted, before = self.find(name), self._done[id(optimizer), name]
            slots = {wanted.slot} if wanted is not None else set()
            levels = [
                v for g in optimizer.param_groups for vs in levels_of(g, slots).values() for v in vs[:1]
            ]
            now = next((level for level in levels if level), 0.0)
            if math.isclose(now, before, rel_tol=SAME):
                del self._done[id(optimizer), name]
                self.settled.discard(name)
        return {name for identity, name in self._done if identity == id(optimizer)}

    def _name_of(self, optimizer: torch.optim.Optimizer) -> str:
        """What it is called in `Place`: another optimizer for the same parameters is called the same."""
        params = optimizer.param_groups[0]["params"]
        kind = f"{type(optimizer).__name__}/{sum(p.numel() for p in params)}"
        key = (kind, id(params[0]) if params else 0)
        if key not in self._names:
            self.weights.meet(optimizer)
            self._names[key] = f"{kind}#{sum(known == kind for known, _ in self._names)}"
        return self._names[key]

    def _bound(self, name: str, optimizer: torch.optim.Optimizer) -> dict[tuple[int, str], str]:
        """(group, slot) -> hyper-parameter: as it was found in an earlier life, else as the values say."""
        known = {(g, slot): hyper for key, g, slot, hyper in self.places if key == name}
        names = {w.name for w in self.wanted}
        if known and len(optimizer.param_groups) <= 1 + max(g for g, _ in known):
            return {place: hyper for place, hyper in known.items() if hyper in names}
        slots = {w.slot for w in self.wanted}
        levels = [levels_of(group, slots) for group in optimizer.param_groups]
        bound = bind(levels, self.wanted) | known
        bound |= self._bound_to_saved(levels, set(bound.values()))
        self.places.update((name, g, slot, hyper) for (g, slot), hyper in bound.items())
        return bound

    def _note_stale(self, groups: Groups, bound: Set[str]) -> None:
        """Notes restored values that may be made of a hyper-parameter's value of before."""
        for w in self.wanted:
            if w.saved is None or w.saved == w.asked or w.name in bound:
                continue
            for slot, levels in ((slot, vs) for g in groups for slot, vs in levels_of(g, set(KNOWN)).items()):
                if levels and is_made_of(levels[-1], w.saved):
                    self.stale[w.name] = slot, levels[-1]

    def _bound_to_saved(self, levels: Sequence[Levels], bound: Set[str]) -> dict[tuple[int, str], str]:
        """The same for values that were restored as they had been saved, before another one was asked for."""
        older = [
            replace(w, given=w.saved) for w in self.wanted if w.saved is not None and w.name not in bound
        ]
        found = bind(levels, older)
        kept = {w.name: w for w in older if w.name in set(found.values())}
        self.wanted = tuple(kept.get(w.name, w) for w in self.wanted)
        return found

    def _values(
        self, number: int, group: dict[str, Any], bound: Mapping[tuple[int, str], str], optimizer: int
    ) -> list[Watched]:
        """What is noted of a group: the learning rate, and values that hyper-parameters are meant for."""
        found = []
        for slot in dict.fromkeys(("lr", *(w.slot for w in self.wanted))):
            place = place_of(group, slot)
            if place is None:
                continue
            name = bound.get((number, slot))
            wanted = self.find(name) if name is not None else None
            if wanted is None:
                if slot in KNOWN:
                    held_as = self._zero(slot, group) or HELD + slot
                    found.append(Watched(Series(held_as, optimizer, number), slot, *place))
                continue
            most = wanted.asked if slot == "momentum" or slot in BETAS else math.inf
            series = Series(wanted.name, optimizer, number)
            found.append(Watched(series, slot, *place, factor=wanted.factor, most=most))
        return found

    def _zero(self, slot: str, group: dict[str, Any]) -> str | None:
        """The hyper-parameter that is to be zero, and is; it is not bound, since no factor changes it."""
        names = [w.name for w in self.wanted if w.slot == slot]
        is_zero = all(not w.asked and not w.given for w in self.wanted if w.slot == slot)
        levels = levels_of(group, {slot}).get(slot, ())
        return names[0] if len(names) == 1 and is_zero and not any(levels) else None


_current: StepWatch | None = None
_handles: list[Any] = []  # of the hook before a step, and of the one after it


def current() -> StepWatch | None:
    """The watch that is active in this process."""
    return _current


def activate(watch: StepWatch | None) -> None:
    """Makes a watch the active one of this process, or none."""
    global _current
    _current = watch
    if watch is not None:
        install()


def uninstall() -> None:
    """Removes the hooks from torch; `activate` brings them back."""
    for handle in _handles:
        handle.remove()
    _handles.clear()


def install() -> None:
    """Installs the hooks, the first before a step and the last after it: others see what it is taken with."""
    before: Any = torch_optimizer._global_optimizer_pre_hooks
    after: Any = torch_optimizer._global_optimizer_post_hooks
    if not _handles or _handles[0].id not in before:
        _handles[:] = [
            torch_optimizer.register_optimizer_step_pre_hook(_before_step),
            torch_optimizer.register_optimizer_step_post_hook(_after_step),
        ]
    before.move_to_end(_handles[0].id, last=False)
    after.move_to_end(_handles[1].id)


def _before_step(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
    if _current is not None:
        _current.before(optimizer)


def _after_step(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
    if _current is not None and _current.multiplies:
        _current.after(optimizer)


def _only_makes_state(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step trains nothing: torch.distributed.checkpoint makes an optimizer's state by one.

    The optimizer is new, its rates are 0 and so are all gradients. In a warm-up from 0 gradients are not.
    """
    groups: Groups = optimizer.param_groups
    if optimizer.state or any(group.get("lr") != 0 for group in groups):
        return False
    grads = [param.grad for group in groups for param in group["params"] if param.grad is not None]
    return not any(bool(getattr(grad, "to_local", lambda grad=grad: grad)().any()) for grad in grads)


def _take_back(met: Met) -> None:
    """Gives groups the values that they had before the step; what the step itself wrote keeps its change."""
    for group, key, old, during in reversed(met.undo):
        if isinstance(during, torch.Tensor):
            during.copy_(old)
        elif group.get(key) is during:
            group[key] = old
        elif isinstance(group.get(key), float) and isinstance(during, float) and during:
            group[key] *= old / during
    met.undo.clear()


def is_within_step(optimizer: torch.optim.Optimizer) -> bool:
    """Whether this call of `step` lies within another one of the same optimizer."""
    steps = 0
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        is_step = (
            frame.f_code.co_name == "wrapper" and frame.f_globals.get("__name__") == torch_optimizer.__name__
        )
        if is_step and frame.f_locals.get("self") is optimizer:
            steps += 1
        frame = frame.f_back
    return steps > 1
