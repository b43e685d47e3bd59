"""Where a search begins when something is known already: other tasks' best, a box around them, a belief.

Two trials of three begin from what is known, as long as it proves no worse than the rest: first the
portfolio, then points in the box or of the prior. One in three is always free of it. At the first rung
transferred and free trials are compared (Mann-Whitney, one-sided) whenever there are TEST more of each: if
the transferred look no better, their share halves; if they look worse, it is zero and the hurdle falls.

The box: Perrone et al. 2019 (arXiv:1909.12552). The hurdle: Zappella et al. 2021 (RUSH, arXiv:2103.16111):
only what is no worse than the best of the portfolio at its rung is promoted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raysearch.core.segment import Config
from raysearch.core.values import show
from raysearch.errors import LocatedError, SpecError, located, prefixed, unknown
from raysearch.space.domains import Choice, Domain, Fixed
from raysearch.space.space import Space
from raysearch.strategies.samplers.base import Sampler
from raysearch.strategies.samplers.importance import normal_ranks
from raysearch.strategies.seeding import fresh_seed

FREE_ONE_IN = 3
TEST = 8  # results of either kind, after which they are compared
NOT_BETTER, WORSE = 0.5, 0.9
HURDLE_TASKS = 3
SALT = 0x9A57
PROBES = 1000  # values of a prior that are looked at
LEAST_SHARE = 0.01  # of them must lie in the space for a prior to say anything
SHAPES: tuple[tuple[str, type | tuple[type, ...], str], ...] = (
    ("portfolio", (list, tuple), "list of {config: ..., why: ...}"),
    ("box", Mapping, "mapping of hyper-parameters to [low, high] on the unit axis"),
    ("tasks", int, "whole number"),
    ("hurdle", bool, "true or false"),
    ("expected", (list, tuple), "list of rows of numbers"),
    ("priors", Mapping, "mapping of hyper-parameters to domains"),
)
CONFIDENCES = {"low": 0.25, "medium": 0.5, "high": 1.0}


@dataclass(frozen=True)
class Transfer:
    """What a search begins from.

    Attributes:
        portfolio: mappings of config, and where it is from (`why`).
        box: name -> [low, high] on the hyper-parameter's unit axis, or the list of choices.
        tasks: how many past tasks stand behind it; the hurdle needs three.
        hurdle: promote only what is no worse than the best of the portfolio at its rung. Off: on recorded
            curves it made good pasts worth less and misleading ones harmful (`raysearch bench transfer`).
        expected: rows of what past tasks say of a point: its mean normal score (lower is better), then the
        point. priors: name -> domain in its YAML form, and `confidence`: low, medium, high, or a share up to
        1.
    """

    portfolio: Sequence[Mapping[str, Any]] = ()
    box: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    tasks: int = 0
    hurdle: bool = False
    expected: Sequence[Sequence[float]] = ()
    priors: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind, words in SHAPES:
            if not isinstance(value := getattr(self, name), kind):
                raise LocatedError(f"transfer.{name}", f"{value!r} is no {words}")
        for number, one in enumerate(self.portfolio):
            if not isinstance(one, Mapping) or not isinstance(one.get("config"), Mapping):
                place = f"transfer.portfolio[{number}]"
                raise LocatedError(place, f"{one!r} needs config, and may say why")
        for axis, bounds in self.box.items():
            if not isinstance(bounds, (list, tuple)):
                raise LocatedError(f"transfer.box.{axis}", f"{bounds!r} is no list, such as [0.2, 0.7]")
        for number, row in enumerate(self.expected):
            if not isinstance(row, (list, tuple)) or not all(isinstance(x, (int, float)) for x in row):
                raise LocatedError(f"transfer.expected[{number}]", f"{row!r} is no row of numbers")
        with prefixed("transfer"):
            confidence_of(self.priors)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to begin from."""
        return not (self.portfolio or self.box or prior_names(self.priors))

    @property
    def known(self) -> int:
        """Portfolio entries that a person gave."""
        return sum(1 for one in self.portfolio if str(one.get("why", "")).startswith("known good"))


def transfer_setting(value: object) -> Transfer | None:
    """What stands under `transfer:`, read: a Transfer, its fields as a mapping, or None.

    Raises:
        SpecError: for anything else.
    """
    if value is None or isinstance(value, Transfer):
        return value
    if isinstance(value, Mapping):
        names = ("portfolio", "box", "tasks", "hurdle", "expected", "priors")
        for name in value:
            if name not in names:
                raise SpecError(unknown("field of transfer", name, names))
        return Transfer(**value)
    raise SpecError(f"transfer = {value!r} is no mapping of portfolio, box, tasks, priors")


def confidence_of(priors: Mapping[str, Any]) -> float:
    """The share, of the trials that may be transferred, that comes from the prior rather than the box.

    Raises:
        SpecError: it is neither low, medium, high nor a number above 0 and at most 1.
    """
    said = priors.get("confidence", "medium")
    if isinstance(said, str) and said in CONFIDENCES:
        return CONFIDENCES[said]
    if isinstance(said, (int, float)) and not isinstance(said, bool) and 0 < said <= 1:
        return float(said)
    raise LocatedError("priors.confidence", f"{said!r} is neither low, medium, high nor a number in (0, 1]")


def prior_names(priors: Mapping[str, Any]) -> list[str]:
    """The hyper-parameters that a prior is given for."""
    return [name for name in priors if name != "confidence"]


def prior_space(space: Space, priors: Mapping[str, Any]) -> Space:
    """The space with the domains of the priors in place of its own.

    Raises:
        SpecError: a name is not in the space, or its domain is not valid.
    """
    for name in prior_names(priors):
        if name.replace(".", "/") not in space.domains:
            raise LocatedError(f"priors.{name}", unknown("hyper-parameter", name, space.free))
    named = {n.replace(".", "/"): priors[n] for n in prior_names(priors)}
    parsed = Space.from_dict({n.replace("/", "_"): form for n, form in named.items()}, "priors")
    domains = {n: parsed.domains[n.replace("/", "_")] if n in named else d for n, d in space.domains.items()}
    return Space(domains, space.conditions, space.constraints)


def check_priors(space: Space, priors: Mapping[str, Any]) -> None:
    """Looks whether the priors can say anything of a search in this space.

    Raises:
        LocatedError: a name is not in the space, its domain is not valid, or next to none of its values lie
            in the space's own domain; the confidence is none.
    """
    confidence_of(priors)
    believed = prior_space(space, priors)
    for name in prior_names(priors):
        flat = name.replace(".", "/")
        with located(f"priors.{name}"):
            _check_prior(name, believed.domains[flat], space.domains[flat])


def _check_prior(name: str, believed: Domain, domain: Domain) -> None:
    values = [*getattr(believed, "values", ())] or believed.column((np.arange(PROBES) + 0.5) / PROBES)
    wrong = [value for value in values if not domain.contains(value)]
    if wrong and isinstance(believed, (Choice, Fixed)):
        raise SpecError(f"{show(wrong[0])} {domain.why_not(wrong[0])}; {name} is {domain.describe()}")
    if len(wrong) > (1 - LEAST_SHARE) * len(values):
        raise SpecError(
            f"{believed.describe()} gives next to no value of {name}, which is {domain.describe()}: "
            f"{show(wrong[len(wrong) // 2])} {domain.why_not(wrong[len(wrong) // 2])}"
        )


class TransferSampler:
    """A sampler that begins from a Transfer, and goes on with another sampler; see the module."""

    def __init__(self, transfer: Transfer, inner: Sampler, space: Space, seed: int, first: int) -> None:
        """`first` is the number of the first trial that is proposed."""
        self._transfer, self._inner, self._space, self._seed = transfer, inner, space, seed
        self._first = first
        self._model: Any = getattr(
            inner, "sampler", inner
        )  # behind one that moves proposals to recorded ones
        if transfer.expected and hasattr(self._model, "expect"):
            table = np.array(transfer.expected, float)
            known, z, kinds = table[:, 1:], table[:, 0], space.is_categorical
            self._model.expect = lambda x: neighbours(known, z, x, kinds)
        self._prior = prior_space(space, transfer.priors) if prior_names(transfer.priors) else None
        self._places = {_key(space, one["config"]): one for one in transfer.portfolio}
        self._kinds: dict[int, str] = {}
        self._level = 0
        self._scores: dict[bool, list[float]] = {True: [], False: []}
        self._bars: dict[int, float] = {}
        self._tested = 0
        self.share = 1.0  # of what may be transferred
        self.is_dropped = False

    def propose(self, trial: int) -> Config | None:
        """The configuration of a new trial."""
        config, kind = self._transferred(trial)
        if config is None:
            config, kind = self._inner.propose(trial), "free"
        self._kinds[trial] = kind
        return config

    def origin(self, trial: int) -> str:
        """Where the trial's configuration is from, for its reason; empty for one that is free of the past."""
        kind = self._kinds.get(trial, "free")
        return "" if kind == "free" else kind

    def observe(self, trial: int, config: Config, iteration: int, score: float) -> None:
        """Learns a score; a trial of another life is known by its number and configuration."""
        self._inner.observe(trial, config, iteration, score)
        if trial < self._first:
            return
        key = _key(self._space, config)
        if key in self._places:
            self._bars[iteration] = min(score, self._bars.get(iteration, math.inf))
        kind = self._kinds.get(trial) or ("portfolio" if key in self._places else self._planned(trial))
        self._level = min(self._level or iteration, iteration)
        if iteration == self._level:
            self._scores[kind != "free"].append(score)
            self._test()

    def hurdle(self, iteration: int) -> float:
        """The score that a trial must not exceed to be promoted from this rung; +inf for no hurdle."""
        if not self._transfer.hurdle or self._transfer.tasks < HURDLE_TASKS or self.is_dropped:
            return math.inf
        return self._bars.get(iteration, math.inf)

    # ---- inside

    def _planned(self, trial: int) -> str:
        """Which kind the trial is, but for the safeguards."""
        turn = trial - self._first
        if turn % FREE_ONE_IN == FREE_ONE_IN - 1:
            return "free"
        place = turn - turn // FREE_ONE_IN
        if place < len(self._transfer.portfolio):
            return "portfolio"
        return "box" if self._transfer.box or self._prior is not None else "free"

    def _transferred(self, trial: int) -> tuple[Config | None, str]:
        kind = self._planned(trial)
        draw = np.random.default_rng((self._seed, SALT, max(trial, 0)))
        if kind == "free" or draw.random() >= self.share:
            return None, "free"
        turn = trial - self._first
        if kind == "portfolio":
            one = self._transfer.portfolio[turn - turn // FREE_ONE_IN]
            config = dict(one["config"])
            return (
                (config, str(one.get("why") or "portfolio")) if self._space.allows(config) else (None, "free")
            )
        if self._prior is not None and draw.random() < max(
            confidence_of(self._transfer.priors), float(not self._transfer.box)
        ):
            return self._believed(trial), "the prior"
        return self._boxed(trial), "the box of past tasks"

    def _believed(self, trial: int) -> Config | None:
        """A sample of the prior that lies in the space; none if 8 in a row do not."""
        assert self._prior is not None
        tries = (self._prior.sample(fresh_seed(self._seed, SALT, trial), i) for i in range(8))
        return next((config for config in tries if self._space.allows(config)), None)

    def _boxed(self, trial: int) -> Config | None:
        unit = self._space.sobol_units(fresh_seed(self._seed, SALT), trial, 1)[0]
        for axis, name in enumerate(self._space.free):
            if name in self._transfer.box:
                unit[axis] = self._inside(name, self._transfer.box[name], float(unit[axis]))
        config = self._space.decode(unit)
        return config if self._space.satisfies(config) else None

    def _inside(self, name: str, box: Sequence[Any], u: float) -> float:
        domain = self._space.domains[name]
        if domain.is_categorical:
            known = [value for value in box if domain.contains(value)]
            return domain.to_unit(known[int(u * len(known))]) if known else u
        low, high = (float(end) for end in box)
        return low + u * (high - low)

    def _test(self) -> None:
        """Compares transferred and free trials at the first rung, when enough of both came in."""
        n = min(len(s) for s in self._scores.values())
        if n < self._tested + TEST or self.is_dropped:
            return
        self._tested = n
        p = worse_probability(self._scores[True], self._scores[False])
        if p > WORSE:
            self.share, self.is_dropped = 0.0, True
            if hasattr(self._model, "expect"):
                self._model.expect = None
        elif p > NOT_BETTER:
            self.share /= 2


def worse_probability(a: Sequence[float], b: Sequence[float]) -> float:
    """The one-sided p value of `a` being lower than `b`: above 1/2 if it looks higher (Mann and Whitney
    1947).

    Normal approximation with its correction for ties; 1/2 where all are alike.
    """
    from scipy.special import ndtr
    from scipy.stats import rankdata

    both = np.concatenate([a, b])
    ranks = rankdata(np.where(np.isfinite(both), both, np.finfo(float).max))
    n, m = len(a), len(b)
    _, ties = np.unique(ranks, return_counts=True)
    spread = n * m / 12.0 * ((n + m + 1) - float((ties**3 - ties).sum()) / ((n + m) * (n + m - 1)))
    if spread <= 0:
        return 0.5
    u = float(ranks[:n].sum()) - n * (n + 1) / 2
    return float(ndtr((u - n * m / 2.0) / math.sqrt(spread)))


def portfolio(
    points: Sequence[np.ndarray[Any, Any]],
    scores: Sequence[np.ndarray[Any, Any]],
    weights: Sequence[float],
    is_categorical: np.ndarray[Any, Any],
    size: int,
    each: int = 15,
) -> list[tuple[int, int]]:
    """(task, row) of up to `size` configurations that together do well on every task, greedily.

    argmin_c sum_t w_t min(m_t, z_tc), m the best so far (Salinas et al. 2020; Wistuba et al. 2015). z are
    normal scores of ranks; where a task never tried a configuration, its neighbours' say what it would have
    given.
    """
    z = [normal_ranks(s) for s in scores]
    rows = [(t, int(r)) for t, zs in enumerate(z) for r in np.argsort(zs, kind="stable")[:each]]
    if not rows:
        return []
    x = np.array([points[t][r] for t, r in rows])
    table = np.array([neighbours(p, zs, x, is_categorical) for p, zs in zip(points, z, strict=True)])
    for column, (t, r) in enumerate(rows):
        table[t, column] = z[t][r]
    best = np.full(len(points), np.inf)
    weight = np.asarray(weights, float)[:, None]
    chosen: list[int] = []
    for _ in range(min(size, len(rows))):
        worst = np.where(np.isfinite(best), best, table.max(axis=1))
        costs = (weight * np.minimum(worst[:, None], table)).sum(axis=0)
        costs[chosen] = np.inf
        found = int(np.argmin(costs))
        if chosen and costs[found] >= (weight[:, 0] * worst).sum() - 1e-12:
            break
        chosen.append(found)
        best = np.minimum(worst, table[:, found])
    return [rows[c] for c in chosen]


def box(
    points: Sequence[np.ndarray[Any, Any]],
    scores: Sequence[np.ndarray[Any, Any]],
    space: Space,
    top: int = 3,
    margin: float = 0.2,
) -> dict[str, list[Any]]:
    """The range of each hyper-parameter over every task's best `top`, wider by a share on each side."""
    if len(points) < HURDLE_TASKS:
        return {}
    best = np.concatenate(
        [p[np.argsort(normal_ranks(s), kind="stable")[:top]] for p, s in zip(points, scores, strict=True)]
    )
    found: dict[str, list[Any]] = {}
    for axis, name in enumerate(space.free):
        domain = space.domains[name]
        if domain.is_categorical:
            found[name] = list(dict.fromkeys(domain.value_at(u) for u in best[:, axis].tolist()))
            continue
        low, high = float(best[:, axis].min()), float(best[:, axis].max())
        wider = margin * (high - low)
        found[name] = [round(max(0.0, low - wider), 4), round(min(1.0, high + wider), 4)]
    return found


def neighbours(points: Any, z: Any, x: Any, is_categorical: Any, k: int = 5) -> Any:
    """What a task's trials say of other points: the mean of the k nearest, weighted by 1/distance^2."""
    apart = np.abs(x[:, None, :] - points[None])
    apart[:, :, is_categorical] = apart[:, :, is_categorical] > 1e-9
    square = (apart**2).sum(axis=2)
    nearest = np.argsort(square, axis=1, kind="stable")[:, :k]
    weight = 1.0 / (np.take_along_axis(square, nearest, axis=1) + 1e-6)
    return (weight * z[nearest]).sum(axis=1) / weight.sum(axis=1)


def _key(space: Space, config: Config) -> bytes:
    return np.round(space.encode(config), 9).tobytes()
