"""The values of a trial's optimizers: what they are to be, what they were, and remarks on the difference.

A hyper-parameter that an optimizer holds is found there at the first step. From then on the trainable's
configuration keeps the value with which the trial's line began (`given`), and where another one is asked
for, the optimizer's own value is multiplied by their ratio during each step. So the trainable's schedulers,
checkpoints and frameworks work on as if nothing had happened, and what is trained with is what they make
of the given value, times the ratio. A hyper-parameter that no optimizer holds reaches the trainable
through its configuration alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from raysearch.core.used_values import HELD, KNOWN, Held, Wanted, apart, slot_of
from raysearch.core.values import fresh
from raysearch.worker.torch_import import AfterTorch, is_imported

if TYPE_CHECKING:
    from raysearch.torch.group_values import Series
    from raysearch.torch.step_watch import Place, StepWatch

Note = dict[str, Any]


class OptimizerValues:
    """Drives the watch of this process for one host's trials; does nothing while torch is not imported."""

    def __init__(self, is_observable: bool = True) -> None:
        """`is_observable`: the trainable learns by torch's optimizers, or nobody knows by which."""
        self._is_observable = is_observable
        self._wanted: list[Wanted] = []
        self._places: list[Place] = []
        self._changed: dict[str, float] = {}  # hyper-parameter -> value before, where this life changed it
        self._watch: StepWatch | None = None
        self._is_active = False
        self._after_torch = AfterTorch(self._install_now)
        self._remarked: set[str] = set()
        self._held: dict[str, list[float]] = {}  # slot -> [least, greatest] of what none is recognised in

    def begin(self, config: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
        """Begins a trial's life; returns the configuration to give to the trainable.

        Args:
            config: what is asked for.
            meta: of the checkpoint to restore; empty for a fresh model.
        """
        note = meta.get("optimizer") or {}
        before = dict(_numbers(meta.get("config") or {}))
        wanted = [
            _wanted(name, value, note.get("given", {}), before, not meta) for name, value in _numbers(config)
        ]
        self._wanted = wanted if meta else apart(wanted)
        self._places = [(str(o), int(g), str(s), str(n)) for o, g, s, n in note.get("places", ())]
        self._changed = {
            w.name: before[w.name] for w in wanted if w.name in before and before[w.name] != w.asked
        }
        self._held = {}
        if self._watch is not None:
            self._watch.plan(self._wanted, self._places)
        self._install()
        given: dict[str, Any] = fresh(dict(config))
        for w in self._wanted:
            if w.given != w.asked or not meta:
                _put(given, w.name, w.given)
        return given

    def activate(self) -> None:
        """From here on, the optimizers that step in this process are this trial's."""
        self._is_active = True
        self._install()
        if self._watch is None:
            self._after_torch.wait()

    def pause(self) -> None:
        """No trial trains in this process for now."""
        self._after_torch.end()
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
        return taken

    def note(self) -> Note:
        """What a checkpoint's meta must say, so that another life of the trial can go on; see `begin`."""
        places = sorted(self._watch.places) if self._watch is not None else self._places
        settled = self._watch.settled if self._watch is not None else ()
        bound = {name for *_, name in places}
        wanted = self._watch.wanted if self._watch is not None else self._wanted
        given = {w.name: w.asked if w.name in settled else w.given for w in wanted if w.name in bound}
        return {"given": given, "places": places} if given else {}

    @property
    def bound(self) -> set[str]:
        """The hyper-parameters that were found in optimizers."""
        return {name for *_, name in (self._watch.places if self._watch is not None else self._places)}

    def remarks(self) -> Iterator[str]:
        """Remarks for the user on values that the optimizers did not use as asked; one for each name."""
        bound = self.bound
        for w in self._wanted:
            is_meant = w.slot == "lr" or (w.slot in KNOWN and w.name in self._changed)
            if w.name in bound or not is_meant or w.name in self._remarked:
                continue
            text = self._remark(w)
            if text:
                self._remarked.add(w.name)
                yield text

    def _remark(self, wanted: Wanted) -> str:
        name, slot, change = wanted.name, wanted.slot, f"{wanted.asked:g}"
        if wanted.name in self._changed:
            change = f"{self._changed[wanted.name]:g} -> {wanted.asked:g}"
        if slot in self._held:
            least, greatest = self._held[slot]
            held = f"{least:g}" if least == greatest else f"{least:g} to {greatest:g}"
            return (
                f"{name} = {change} was asked for, and the optimizer was used with {slot} = {held}; no "
                "parameter group holds the value of the configuration: build the optimizer from "
                f"config[{name!r}], or call raysearch.torch.apply(optimizer, config) after loading its state"
            )
        has_stepped = self._watch is not None and self._watch.has_stepped
        if self._is_observable and wanted.name in self._changed and not has_stepped:
            return (
                f"{name} = {change}: no torch optimizer takes a step in this process, so the values that are "
                "used cannot be observed; those recorded are those asked for"
            )
        return ""

    def _install(self) -> None:
        if self._watch is not None or is_imported():
            self._install_now()

    def _install_now(self) -> None:
        from raysearch.torch import step_watch

        if self._watch is None:
            self._watch = step_watch.StepWatch()
            self._watch.plan(self._wanted, self._places)
        if self._is_active:
            step_watch.activate(self._watch)


def _wanted(
    name: str, asked: float, given: Mapping[str, float], before: Mapping[str, float], is_fresh: bool
) -> Wanted:
    kept = given.get(name)
    if kept is not None:
        return Wanted(name, slot_of(name), kept, asked, kept)
    return Wanted(name, slot_of(name), asked, asked, None if is_fresh else before.get(name))


def _numbers(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """(name, value) of each number of a configuration; nested ones as `outer/inner`."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{key}", value


def _put(config: dict[str, Any], name: str, value: float) -> None:
    """Sets a value where `_numbers` found it."""
    *outer, last = name.split("/")
    for key in outer if name not in config else ():
        config = config[key]
    config[last if name not in config else name] = value
