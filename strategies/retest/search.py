"""Retest: are the stored settings still good? A sequential paired test of a few challengers.

The baseline of the search is the incumbent: the settings in use. Every arm trains on the same fresh seeds,
three pairs at first, and more only for the challengers on which the pairs so far do not decide (see
`paired`). One that is found better must be so once more, on other seeds and to the end of the training.

    strategy = Retest(max_iterations=81, challengers=[{"config": {...}, "why": "lr x2"}]).start(...)
    ...
    print(strategy.judgement)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from raysearch.core.checks import check_number, check_whole
from raysearch.core.segment import Config, Event, Mode, Role, Segment, Status
from raysearch.core.values import with_plain_numbers
from raysearch.errors import SpecError
from raysearch.space.space import Space
from raysearch.strategies.base import Abilities
from raysearch.strategies.cost import PopulationCost
from raysearch.strategies.retest.conclusion import EarlyEnd, Evidence, Judgement, judge
from raysearch.strategies.retest.paired_test import Rules, Standing, look
from raysearch.strategies.rounds import End, Story, StorySearch
from raysearch.strategies.seeding import fresh_seed

SALT = 0x7E57  # of the seeds: others than those of the search that found the settings
INCUMBENT = 0
CHALLENGERS_AT_MOST = 12
CONFIRMATION = 1 << 10  # number of the first seed of the confirmation
ROUNDING = 1e-9  # of a value: differences below it are none
BROKEN = 2  # trainings of the incumbent that fail, from which on it is called broken


@dataclass(frozen=True)
class Retest:
    """The settings of a retest; the incumbent is the baseline of its spec.

    Attributes:
        max_iterations: of a whole training.
        challengers: mappings of config, and why it is tried.
        screen_iterations: how long the pairs are trained; whole trainings if None. Only what ranks as whole
            trainings do makes sense here.
        stored: what the incumbent gave after max_iterations when it was chosen, a value a seed; for the
            control chart.
        alpha: probability of replacing an incumbent that is truly best, at most.
        eps: smallest gain that matters, in units of the metric.
        margin: the same in standard deviations of a paired difference; the larger of both counts.
        pairs: the most pairs.
        confirm: pairs of whole trainings on other seeds that a better challenger must win in the mean.
        of: the run whose settings are tested.
    """

    name: ClassVar[str] = "retest"

    max_iterations: int
    challengers: Sequence[Mapping[str, Any]]
    screen_iterations: int | None = None
    stored: Sequence[float] = ()
    alpha: float = 0.05
    eps: float = 0.0
    margin: float = 1.0
    pairs: int = 10
    confirm: int = 3
    of: str = ""
    rules: Rules = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        with_plain_numbers(self)
        check_whole("max_iterations", self.max_iterations, 1, 1 << 40)
        check_whole("pairs", self.pairs, 4, 64)
        check_whole("confirm", self.confirm, 1, 64)
        if self.screen_iterations is not None:
            check_whole("screen_iterations", self.screen_iterations, 1, self.max_iterations)
        check_number("alpha", self.alpha, 1e-6, 0.5)
        check_number("eps", self.eps, 0.0)
        check_number("margin", self.margin, 0.0, 100.0)
        if not self.eps and not self.margin:
            raise SpecError("eps and margin are both 0: no number of pairs shows that a gain is at most 0")
        if not isinstance(self.challengers, (list, tuple)):
            raise SpecError(f"challengers = {self.challengers!r} must be a list of {{config, why}}")
        if not 1 <= len(self.challengers) <= CHALLENGERS_AT_MOST:
            raise SpecError(f"challengers: {len(self.challengers)}; give 1 to {CHALLENGERS_AT_MOST}")
        for number, one in enumerate(self.challengers):
            if not isinstance(one, Mapping) or not isinstance(one.get("config"), Mapping):
                raise SpecError(f"challengers[{number}] = {one!r} needs config, and may say why")
        rules = Rules(float(self.alpha), float(self.eps), float(self.margin), self.pairs)
        object.__setattr__(self, "rules", rules)

    @property
    def test_iterations(self) -> int:
        """How long the pairs are trained."""
        return self.screen_iterations or self.max_iterations

    @property
    def population(self) -> int:
        """Arms, the incumbent's too."""
        return 1 + len(self.challengers)

    @property
    def iterations(self) -> int:
        """The most that all trainings together take."""
        pairs = self.population * self.pairs * self.test_iterations
        return pairs + (2 * self.confirm + (self.test_iterations < self.max_iterations)) * self.max_iterations

    def abilities(self) -> Abilities:
        """What a retest can do."""
        return Abilities(max_iterations=self.max_iterations, population=self.population)

    def cost(self, has_baseline: bool) -> PopulationCost:
        """The most that all trainings take together."""
        return PopulationCost(self.max_iterations, self.iterations, self.population)

    def start(
        self, space: Space, *, metric: str, mode: Mode, seed: int = 0, baseline: Config | None = None
    ) -> RetestSearch:
        """The retest at its beginning.

        Raises:
            SpecError: there is no baseline, or a challenger does not lie in the space, or is the baseline.
        """
        if baseline is None:
            raise SpecError("a retest needs the settings in use: give them as `baseline`")
        for number, one in enumerate(self.challengers):
            if why := space.why_not(one["config"]):
                raise SpecError(f"challengers[{number}].config = {dict(one['config'])!r}: {why}")
            if one["config"] == baseline:
                raise SpecError(f"challengers[{number}].config is the baseline itself")
        return RetestSearch(self, metric, mode, seed, baseline)

    @classmethod
    def examples(cls) -> dict[str, Retest]:
        """Small recipes, for the suite of the contract."""
        first = {"lr": 0.01, "momentum": 0.9, "layers": 2, "optimizer": "sgd"}
        others = [{"config": {**first, "lr": lr}, "why": f"lr {lr}"} for lr in (0.001, 0.02)]
        return {
            "whole": cls(6, others, pairs=4),
            "screened": cls(6, others, screen_iterations=2, pairs=5, confirm=2, stored=[1.0, 1.1]),
        }


class RetestSearch(StorySearch):
    """A running retest; `judgement` is its verdict once it has finished."""

    def __init__(self, recipe: Retest, metric: str, mode: Mode, seed: int, baseline: Config) -> None:
        super().__init__(metric, mode)
        self._recipe = recipe
        self._seed = seed
        self._configs = {INCUMBENT: baseline, **_numbered(recipe)}
        self._losses: dict[int, dict[int, End]] = {arm: {} for arm in self._configs}  # arm -> seed -> end
        self._controls: list[End] = []
        self._confirmed: list[float] = []
        self._standings: dict[int, Standing] = {}
        self._failed: dict[int, str] = {}
        self._last: dict[int, int] = {}  # the last whole training of each arm that ended well
        self._winner: int | None = None
        self._early_end = EarlyEnd.NONE
        self._first_error = ""

    @property
    def judgement(self) -> Judgement | None:
        """What the retest found; None before its end."""
        return judge(self._evidence()) if self.finished else None

    # ---- the story

    def story(self) -> Story:
        """Pairs until every challenger is decided on, then the confirmation of one found better."""
        arms, trained = list(self._configs), 0
        for number, (pairs, share) in enumerate(self._recipe.rules.looks):
            plans = [self._training(arm, k, trained) for k in range(trained, pairs) for arm in arms]
            if not number and self._recipe.test_iterations < self._recipe.max_iterations:
                plans.insert(0, self._control())
            self._note((yield plans))
            trained = pairs
            if self._is_pointless():
                return
            arms = [INCUMBENT, *self._still_open(share)]
            if self._winner is not None:
                yield from self._confirmation(self._winner)
                return
            if len(arms) == 1:
                return

    def _confirmation(self, winner: int) -> Story:
        """Whole trainings of the winner and the incumbent on seeds of their own."""
        seeds = range(CONFIRMATION, CONFIRMATION + self._recipe.confirm)
        plans = [
            self._whole(
                arm, k, f"confirmation, seed {k - CONFIRMATION + 1} of {len(seeds)}", Event.CONFIRMATION
            )
            for k in seeds
            for arm in (INCUMBENT, winner)
        ]
        ends = yield plans
        for incumbent, challenger in zip(ends[::2], ends[1::2], strict=True):
            self._keep(incumbent, INCUMBENT)
            self._keep(challenger, winner)
            if incumbent.is_sound:
                self._controls.append(incumbent)
                self._confirmed.append(incumbent.loss - challenger.loss)  # -inf where it failed

    def needed(self) -> Iterator[int]:
        """The last whole training of each arm: a model of whatever wins."""
        return iter(self._last.values())

    # ---- what is trained

    def _training(self, arm: int, k: int, before: int) -> Segment:
        who = "the incumbent" if arm == INCUMBENT else f"challenger {arm}"
        why = f"seed {k + 1}"
        if before and arm in self._standings:
            why += f", open at {before} pairs: gain {self._standings[arm].mean:+.3g}"
        return self._planned(arm, k, self._recipe.test_iterations, f"pair: {who}, {why}", Event.PAIR)

    def _control(self) -> Segment:
        return self._whole(INCUMBENT, 0, "control: the incumbent, trained to the end again", Event.CONTROL)

    def _whole(self, arm: int, k: int, reason: str, event: Event) -> Segment:
        return self._planned(arm, k, self._recipe.max_iterations, reason, event)

    def _planned(self, arm: int, k: int, stop: int, reason: str, event: Event) -> Segment:
        seed = fresh_seed(self._seed, SALT, k)
        segment = self.plan(self.new_trial(), None, self._configs[arm], stop, seed, reason, event)
        return replace(segment, role=Role.FINALIST if arm else Role.BASELINE, source=arm)

    # ---- what came of it

    def _note(self, ends: Sequence[End]) -> None:
        for end in ends:
            arm = end.segment.source or INCUMBENT
            self._keep(end, arm)
            if end.segment.event is Event.CONTROL:
                self._controls.append(end)
                continue
            self._losses[arm][end.segment.seed] = end
            if arm and not end.is_sound:
                self._failed.setdefault(arm, end.why)

    def _keep(self, end: End, arm: int) -> None:
        if end.is_sound and end.segment.stop == self._recipe.max_iterations:
            self._last[arm] = end.segment.id

    def _is_pointless(self) -> bool:
        """Whether no further pair can say anything: the incumbent fails, or seeds change nothing."""
        ends = list(self._losses[INCUMBENT].values())
        sound = [end.loss for end in ends if end.is_sound]
        bad = [end for end in ends if not end.is_sound]
        if len(bad) >= BROKEN and 2 * len(bad) >= len(ends):
            diverged = all(self._told[e.segment.id].status is not Status.FAILED for e in bad)
            self._early_end = EarlyEnd.DIVERGED if diverged else EarlyEnd.FAILED
            self._first_error = bad[0].why
        elif len(sound) > 1 and all(alike(loss, sound[0]) for loss in sound):
            self._early_end = EarlyEnd.IDENTICAL
        return self._early_end is not EarlyEnd.NONE

    def _still_open(self, share: float) -> list[int]:
        gains = {arm: self._gains(arm) for arm in self._configs if arm and arm not in self._failed}
        gains = {a: g for a, g in gains.items() if self._fate(a) == "open"}
        found = look(gains, share, self._recipe.rules, len(self._recipe.challengers))
        self._standings |= found
        better = [arm for arm, one in found.items() if one.fate == "better"]
        if better:
            self._winner = max(better, key=lambda arm: found[arm].lower)
        return [arm for arm, one in found.items() if one.fate == "open"]

    def _fate(self, arm: int) -> str:
        return self._standings[arm].fate if arm in self._standings else "open"

    def _gains(self, arm: int) -> list[float]:
        """Paired gains on the seeds on which both ended well, in the order of the seeds."""
        mine, theirs = self._losses[arm], self._losses[INCUMBENT]
        pairs = [(theirs[k].loss, mine[k].loss) for k in mine if mine[k].is_sound and theirs[k].is_sound]
        return [0.0 if alike(a, b) else a - b for a, b in pairs]

    def _evidence(self) -> Evidence:
        recipe, sign = self._recipe, 1.0 if self.mode == "min" else -1.0
        whole = recipe.test_iterations == recipe.max_iterations
        controls = [*self._controls, *(self._losses[INCUMBENT].values() if whole else ())]
        return Evidence(
            whys={arm: _why(recipe, arm) for arm in self._configs if arm},
            gains={arm: self._gains(arm) for arm in self._configs if arm},
            standings=dict(self._standings),
            failed=dict(self._failed),
            winner=self._winner,
            confirmed=tuple(self._confirmed),
            early_end=self._early_end,
            first_error=self._first_error,
            stored=tuple(v for v in map(float, recipe.stored) if math.isfinite(v)),
            now=tuple(sign * end.loss for end in controls if end.is_sound),
            runs=len(self._told),
            rules=recipe.rules,
            test_iterations=recipe.test_iterations,
            max_iterations=recipe.max_iterations,
            metric=self.metric,
        )


def alike(a: float, b: float) -> bool:
    """Whether two values differ by rounding at most."""
    return abs(a - b) <= ROUNDING * max(abs(a), abs(b))


def _numbered(recipe: Retest) -> dict[int, Config]:
    return {number: one["config"] for number, one in enumerate(recipe.challengers, 1)}


def _why(recipe: Retest, arm: int) -> str:
    return str(recipe.challengers[arm - 1].get("why") or f"challenger {arm}")
