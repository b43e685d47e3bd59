"""What every panda has in common: values that are learnt, moments of decision, and people's orders.

A person may change a value or go back to an earlier segment while a search runs. An order is checked and
stamped with the moment after which it holds, so that a replay obeys it where the first life did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from raysearch.core.segment import Config, Event, Mode, segment_name
from raysearch.errors import SpecError, unknown
from raysearch.space.space import Space
from raysearch.strategies.panda import perturb
from raysearch.strategies.panda.axes import Axes
from raysearch.strategies.panda.pacing import Pacing
from raysearch.strategies.rounds import End, StorySearch, Why

if TYPE_CHECKING:
    from raysearch.strategies.panda.settings import Panda

NUDGE, ROLLBACK = "nudge", "rollback"  # kinds of orders


class RaisingSearch(StorySearch):
    """A running search that raises models; subclasses write `story`, `at` and `obey`."""

    decays = True  # whether the learning rate falls to zero in the last stretch

    def __init__(
        self,
        recipe: Panda,
        space: Space,
        metric: str,
        mode: Mode,
        seed: int,
        baseline: Config | None,
        *,
        numbers: tuple[int, int] = (0, 1),
        why: str = "",
    ) -> None:
        """`why` the model begins as it does, in words; `numbers` as for a StorySearch."""
        super().__init__(metric, mode, numbers)
        self.recipe = recipe
        self.space = space
        self.seed = seed
        self.learned: Config = start_config(space, baseline)
        self.tip: End | None = None
        self.moment = 0
        self.ended = False
        names = perturb.nudged_names(space, recipe.nudge)
        self.axes = Axes(space, names, recipe.factor, seed)
        self.rate = self.axes.rate
        self.pacing = Pacing(recipe, space, self.rate, self.decays)
        default = "the baseline" if baseline is not None else "the middle of the space"
        self.why: Why | None = Why(Event.START, why or default)
        self._orders: dict[int, list[Mapping[str, Any]]] = {}

    @property
    def at(self) -> int:
        """Iterations that the model, or every member, was trained."""
        raise NotImplementedError

    @property
    def decay_from(self) -> int:
        """The iteration from which the learning rate falls."""
        return self.pacing.decay_from

    def obey(self, order: Mapping[str, Any]) -> None:
        """Does what a person ordered."""
        raise NotImplementedError

    def next_moment(self) -> bool:
        """Time for a decision: first what people ordered for now. True if they ordered anything."""
        self.moment += 1
        orders = self._orders.pop(self.moment, ())
        for order in orders:
            self.obey(order)
        if orders:
            self.why = Why(Event.ORDER, "; then ".join(order["words"] for order in orders))
        return bool(orders)

    def plan_intervention(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """The order, checked and stamped with the moment after which it holds.

        Args:
            order: {"kind": "nudge", "values": {name: value}} or {"kind": "rollback", "segment": id}.

        Raises:
            SpecError: a value is not in the space, the segment cannot be grown on, or training has ended.
        """
        if self.finished:
            raise SpecError("the training has ended: there is no line left to change")
        stamped = {**order, "after": self.moment}
        if order.get("kind") == NUDGE:
            new = ordered(self.space, self.learned, nudged_values(order))
            return {**stamped, "words": f"nudge {perturb.in_words(self.space, self.learned, new)}"}
        if order.get("kind") == ROLLBACK:
            segment = ordered_segment(order)
            if segment not in self.ends:
                raise SpecError(f"segment {segment_name(segment)} did not end well, or is not of this run")
            at = self.ends[segment].at
            return {**stamped, "words": f"rollback to {segment_name(segment)}, iteration {at}"}
        raise SpecError(unknown("order", str(order.get("kind")), (NUDGE, ROLLBACK)))

    def intervene(self, stamped: Mapping[str, Any]) -> None:
        """Takes in an order that `plan_intervention` stamped, in this life or an earlier one."""
        self._orders.setdefault(int(stamped["after"]) + 1, []).append(stamped)

    def needed(self) -> Iterator[int]:
        """Where the model stands, and where people want to go back to."""
        if self.tip is not None:
            yield self.tip.segment.id
        for orders in self._orders.values():
            yield from (int(order["segment"]) for order in orders if order["kind"] == ROLLBACK)


def nudged_values(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values that an order to nudge names. Raises SpecError where it names none."""
    values = order.get("values")
    if not isinstance(values, Mapping) or not values:
        raise SpecError(f"values: {values!r:.200} names no new values, such as {{lr: 0.001}}")
    return values


def ordered_segment(order: Mapping[str, Any]) -> int:
    """The segment that an order to go back names. Raises SpecError where it names none."""
    segment = order.get("segment")
    if not isinstance(segment, int) or isinstance(segment, bool) or not 0 <= segment < 2**63:
        raise SpecError(f"segment: {segment!r:.200} is no number of a segment")
    return segment


def ordered(space: Space, config: Config, values: Mapping[str, Any]) -> Config:
    """`config` with the values that a person ordered.

    Raises:
        SpecError: a name is not in the space, or the configuration would not be.
    """
    flat = space.flatten(config)
    for name in values:
        if name not in space.free:
            raise SpecError(unknown("hyper-parameter", name, space.free))
    changed = space.nest({**flat, **values})
    if why := space.why_not(changed):
        raise SpecError(f"{', '.join(f'{k}={v!r}' for k, v in values.items())}: {why}")
    return changed


def start_config(space: Space, baseline: Config | None) -> Config:
    """The baseline; without one the middle of the space, or its first sample that meets the constraints."""
    if baseline is not None:
        return baseline
    middle = space.decode([0.5] * space.dimension)
    return middle if space.allows(middle) else space.sample(0, 0)
