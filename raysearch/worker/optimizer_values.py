"""The values of a trial's optimizers: what they are to be, what they were, and remarks on the difference.

A hyper-parameter that an optimizer holds is found there at the first step. From then on the trainable's
configuration keeps the value with which the trial's line began (`given`), and where another one is asked
for, the optimizer's own value is multiplied by their ratio during each step. So the trainable's schedulers,
checkpoints and frameworks work on as if nothing had happened, and what is trained with is what they make
of the given value, times the ratio. A hyper-parameter that no optimizer holds reaches the trainable
through its configuration alone.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from raysearch.core.used_values import HELD, KNOWN, Held, Wanted, apart, is_exponent, slot_of
from raysearch.core.values import fresh
from raysearch.worker.child_steps import ChildSteps
from raysearch.worker.torch_import import AFTER_TORCH, is_imported

if TYPE_CHECKING:
    from raysearch.torch.group_values import Series
    from raysearch.torch.step_watch import Place, StepWatch

Note = dict[str, Any]
ROUNDING = 1e-6  # relative difference up to which two values are the same
VALUES_TOLD = 4
OTHERS = (
    "optimizers take steps in other processes, which the trainable started: what they held was looked at "
    "where each took its first step, and not after it; what is recorded of them is what was asked for"
)
STRANGER = (
    "a thread that an earlier trial left running takes steps of an optimizer beside this trial's; they are "
    "not counted as its own. End the thread in cleanup(), or set isolate: true"
)


class OptimizerValues:
    """Drives the watch of this process for one host's trials; does nothing while torch is not imported.

    Attributes:
        strangers: threads that earlier trials left: what their optimizers hold is none of this trial's.
    """

    def __init__(self, is_observable: bool = True) -> None:
        """`is_observable`: the trainable learns by torch's optimizers, or nobody knows by which."""
        self._is_observable = is_observable
        self._wanted: list[Wanted] = []
        self._fresh: list[tuple[str, float]] = []  # numbers of a fresh model that nobody looked at yet
        self._places: list[Place] = []
        self._changed: dict[str, float] = {}  # hyper-parameter -> value before, where this life changed it
        self._watch: StepWatch | None = None
        self._is_active = False
        self._remarked: set[str | tuple[str, str]] = set()
        self._held: dict[str, list[float]] = {}  # slot -> [least, greatest] of what none is recognised in
        self.strangers: tuple[threading.Thread, ...] = ()
        self._children = ChildSteps()
        self._has_looked = True
        self._has_children = False  # optimizers in other processes were seen to step, in this life or earlier
        self._in_children: dict[str, list[float]] = {}  # slot -> what those of this life began with
        self._seen: set[str] = set()  # hyper-parameters under whose names something was taken

    def begin(self, config: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
        """Begins a trial's life; returns the configuration to give to the trainable.

        Args:
            config: what is asked for.
            meta: of the checkpoint to restore; empty for a fresh model.
        """
        numbers = [*_numbers(config)]
        self._held, self._changed, self._places, self._wanted, self._fresh = {}, {}, [], [], []
        self._seen, self._in_children = set(), {}
        if not self._has_looked:  # what began until now belongs to a trial that failed
            self._children.look()
        self._has_looked = False
        if meta:
            self._go_on(numbers, meta)
        elif self._watch is not None or len({value for _, value in numbers}) < len(numbers):
            self._wanted = _of_fresh(numbers)
        else:
            self._fresh = numbers
        if self._watch is not None:
            self._watch.plan(self._wanted, self._places)
        different = [w for w in self._wanted if w.given != w.asked or not meta]
        given: dict[str, Any] = fresh(config) if different else dict(config)
        for w in different:
            _put(given, w.name, w.given)
        return given

    def _go_on(self, numbers: Sequence[tuple[str, float]], meta: Mapping[str, Any]) -> None:
        note = meta.get("optimizer") or {}
        self._has_children = self._has_children or bool(note.get("children"))
        if self._has_children:  # no multiplier reaches them: the configuration carries what is asked for
            note = {}
        before = dict(_numbers(meta.get("config") or {}))
        self._wanted = [_wanted(name, value, note.get("given", {}), before) for name, value in numbers]
        self._places = [(str(o), int(g), str(s), str(n)) for o, g, s, n in note.get("places", ())]
        self._changed = {
            w.name: before[w.name] for w in self._wanted if w.name in before and before[w.name] != w.asked
        }

    def activate(self) -> None:
        """From here on, the optimizers that step in this process are this trial's."""
        self._is_active = True
        if self._watch is not None or is_imported():
            self._install_now()
        else:
            AFTER_TORCH.wait(self._install_now)

    def pause(self) -> None:
        """No trial trains in this process for now."""
        AFTER_TORCH.then = None
        self._is_active = False
        if self._watch is not None:
            from raysearch.torch import step_watch

            step_watch.activate(None)

    def take(self) -> dict[Series, Held]:
        """What optimizers held at their steps since the last call."""
        taken = self._watch.take() if self._watch is not None else {}
        for series, held in taken.items():
            if series.name.startswith(HELD):
                known = self._held.setdefault(series.name.removeprefix(HELD), [held.least, held.greatest])
                known[:] = min(known[0], held.least), max(known[1], held.greatest)
            else:
                self._seen.add(series.name)
        return taken

    def note(self) -> Note:
        """What a checkpoint's meta must say, so that another life of the trial can go on; see `begin`."""
        places = sorted(self._watch.places) if self._watch is not None else self._places
        settled = self._watch.settled if self._watch is not None else ()
        bound = {name for *_, name in places}
        wanted = self._watch.wanted if self._watch is not None else self._wanted
        given = {w.name: w.asked if w.name in settled else w.given for w in wanted if w.name in bound}
        found: Note = {"given": given, "places": places} if given else {}
        return {**found, "children": True} if self._has_children else found

    @property
    def watches(self) -> bool:
        """Whether there may be optimizers: torch is imported, or about to be."""
        return self._watch is not None or "torch" in sys.modules

    @property
    def are_the_last_ones(self) -> bool:
        """Whether this trial's first steps found the weights with which the trial before it had ended."""
        return self._watch is not None and self._watch.weights.are_the_last_ones

    @property
    def bound(self) -> set[str]:
        """The hyper-parameters that were found in optimizers."""
        return {name for *_, name in (self._watch.places if self._watch is not None else self._places)}

    @property
    def unseen(self) -> tuple[str, ...]:
        """The values for which a changed hyper-parameter stands, where no optimizer was seen to hold one."""
        if not self._changed or not self._is_observable:
            return ()
        names = self._changed.keys() - self.bound - self._seen
        slots = {slot_of(name) for name in names if not self._reached_children(name, self._asked(name))}
        return tuple(sorted(slots.intersection(KNOWN) - self._held.keys()))

    def remarks(self) -> Iterable[str]:
        """Remarks for the user on values that the optimizers did not use as asked; one for each name."""
        self._has_looked = True
        for values in self._children.look():
            self._has_children = True
            for slot, levels in values.items():
                self._in_children.setdefault(slot, []).extend(levels)
        is_needed = self._watch is not None or self._changed or self._in_children
        return self._remarks() if is_needed else ()

    def _remarks(self) -> Iterator[str]:
        bound = self.bound
        yield from self._of_children()
        if self._watch is not None and self._watch.has_strangers and STRANGER not in self._remarked:
            self._remarked.add(STRANGER)
            yield STRANGER
        for w in self._wanted:
            if w.name in bound or w.name in self._remarked:
                continue
            text = self._remark(w)
            if text:
                self._remarked.add(w.name)
                yield text

    def _of_children(self) -> Iterator[str]:
        """Remarks on optimizers in other processes."""
        if self._in_children and OTHERS not in self._remarked:
            self._remarked.add(OTHERS)
            yield OTHERS
        for w in self._wanted or _of_fresh(self._fresh):
            held = self._in_children.get(w.slot, ())
            is_meant = w.slot == "lr" or w.name in self._changed
            is_said = w.name in self.bound or (w.name, OTHERS) in self._remarked
            if not held or not is_meant or is_said or is_exponent(w.name):
                continue
            if self._reached_children(w.name, w.asked):
                continue
            self._remarked.add((w.name, OTHERS))
            values = ", ".join(f"{value:g}" for value in sorted(set(held))[:VALUES_TOLD])
            yield (
                f"{w.name} = {w.asked:g} was asked for, and an optimizer in a process that the trainable "
                f"started began with {w.slot} = {values}: hand config[{w.name!r}] over to the process, and "
                "after a restore set it anew there: raysearch.torch.apply(optimizer, config)"
            )

    def _asked(self, name: str) -> float:
        return next((w.asked for w in self._wanted if w.name == name), math.nan)

    def _reached_children(self, name: str, asked: float) -> bool:
        """Whether an optimizer in another process began with the value."""
        held = self._in_children.get(slot_of(name), ())
        return any(math.isclose(value, asked, rel_tol=ROUNDING) for value in held)

    def _remark(self, wanted: Wanted) -> str:
        name, slot, change = wanted.name, wanted.slot, f"{wanted.asked:g}"
        is_changed = name in self._changed
        if is_changed:
            change = f"{self._changed[name]:g} -> {wanted.asked:g}"
        stale = self._watch.stale.get(name) if self._watch is not None else None
        if stale is not None:
            return (
                f"{name} = {change} was asked for, and after the restore the optimizer still has "
                f"{stale[0]} = {stale[1]:g}, as with the value of before: if that is made of {name}, set it "
                "anew from the configuration after the optimizer's state is loaded"
            )
        is_meant = slot in KNOWN and not is_exponent(name)
        if is_meant and slot in self._held and (slot == "lr" or is_changed):
            least, greatest = self._held[slot]
            held = f"{least:g}" if least == greatest else f"{least:g} to {greatest:g}"
            return (
                f"{name} = {change} was asked for, and the optimizer was used with {slot} = {held}; no "
                "parameter group holds the value of the configuration: build the optimizer from "
                f"config[{name!r}], or call raysearch.torch.apply(optimizer, config) after loading its state"
            )
        return self._doubt(name, change) if is_changed and slot in self.unseen else ""

    def _doubt(self, name: str, change: str) -> str:
        """What to say of a change that nobody saw arrive."""
        has_stepped = self._watch is not None and self._watch.has_stepped
        why = (
            f"no parameter group of the optimizers that step in this process has {slot_of(name)}"
            if has_stepped
            else "no torch optimizer takes a step in this process"
        )
        return (
            f"whether {name} = {change} reached the training was not observed: {why}, and nothing else shows "
            "that its code uses the value; what is recorded is what was asked for. Where the trainable has "
            f"other processes or an optimizer of another kind, it must take config[{name!r}] anew after each "
            "restore; raysearch.torch.apply(optimizer, config) does so for an optimizer of torch's"
        )

    def _install_now(self) -> None:
        from raysearch.torch import step_watch

        if self._watch is None:
            if self._fresh:
                self._wanted, self._fresh = _of_fresh(self._fresh), []
            self._watch = step_watch.StepWatch()
            self._watch.plan(self._wanted, self._places)
        if self._is_active:
            self._watch.strangers = self.strangers
            step_watch.activate(self._watch)


def _of_fresh(numbers: Sequence[tuple[str, float]]) -> list[Wanted]:
    return apart([Wanted(name, slot_of(name), value, value) for name, value in numbers])


def _wanted(name: str, asked: float, given: Mapping[str, float], before: Mapping[str, float]) -> Wanted:
    kept = given.get(name)
    if kept is not None:
        return Wanted(name, slot_of(name), kept, asked, kept)
    return Wanted(name, slot_of(name), asked, asked, before.get(name))


def _numbers(config: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """(name, value) of each number of a configuration; nested ones as `outer/inner`."""
    for key, value in config.items():
        if isinstance(value, (int, float)):
            if not isinstance(value, bool):
                yield f"{prefix}{key}", value
        elif isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, Real):
            yield f"{prefix}{key}", float(value)
        elif key == "betas" and isinstance(value, (tuple, list)) and len(value) == 2:
            yield from _numbers(dict(enumerate(value)), f"{prefix}{key}/")


def _put(config: dict[str, Any], name: str, value: float) -> None:
    """Sets a value where `_numbers` found it."""
    if name in config:
        config[name] = value
        return
    key, _, inner = name.partition("/")
    while key not in config:
        more, _, inner = inner.partition("/")
        key = f"{key}/{more}"
    if isinstance(config[key], dict):
        _put(config[key], inner, value)
    else:
        pair = list(config[key])
        pair[int(inner)] = value
        config[key] = type(config[key])(pair)
