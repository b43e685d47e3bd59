"""Which hyper-parameters earlier transfers across scale carried well, and on which kinds of model.

    seen = judged(transfer(raysearch.load("runs/small")), raysearch.load("runs/big"), model="transformer")
    remember(Memory("memory"), seen)
    found = with_past(transfer(raysearch.load("runs/other")), past(Memory("memory")).good)

A transfer is judged where the target was searched too: a carried value held if it lies where good values do
there. Judgements lie beside the records of a memory, in a folder of their own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from raysearch.core.formatting import number
from raysearch.core.values import is_number
from raysearch.errors import SpecError, first_line
from raysearch.spec.scale import sizes_of
from raysearch.strategies.scale_laws import best_value
from raysearch.workflows.memory.store import UNREADABLE, Memory, check_task
from raysearch.workflows.scaling import longest_trials

if TYPE_CHECKING:
    from raysearch.results.results import Results
    from raysearch.workflows.scaling import Transfer, Transferred

FOLDER = "scale"  # of a memory
META = b"raysearch.across_scale"
VERSION = 1
NEAR = 2.0  # a carried value within this factor of the best one held, however narrow the interval is
WIDE = 10.0  # where the interval spans more than this factor, the values do not tell
Z = 1.96  # of a 95% interval


@dataclass(frozen=True, slots=True)
class Held:
    """A carried value, beside the good ones at the target.

    Attributes:
        best: the geometric mean of the target's good values; low, high: its 95% interval.
        held: whether the carried value lies in the interval, or within a factor of 2 of `best`; None where
            the interval spans more than a factor of 10: there the value matters little, or trials are few.
    """

    carried: float
    best: float
    low: float
    high: float
    held: bool | None

    def __str__(self) -> str:
        word = {True: "held", False: "did not hold", None: "not known"}[self.held]
        found = f"{number(self.best)} ({number(self.low)} to {number(self.high)})"
        return f"{number(self.carried)} was carried, good values lie about {found}: {word}"


@dataclass(frozen=True)
class Judgement:
    """A transfer across scale, judged by a search at its target.

    Attributes:
        model: the kind of model, in the user's word; one of a run and a model replaces an earlier one.
        run: of the search at the target.
        growth: kind of dimension -> how many times as large it became.
        values: hyper-parameter, with dots -> what became of it; numbers above zero alone are judged.
        left: hyper-parameter -> why it was not judged.
    """

    model: str
    run: str
    parametrization: str
    growth: Mapping[str, float]
    values: Mapping[str, Held]
    left: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        grown = ", ".join(f"{name} x {times:g}" for name, times in self.growth.items())
        lines = [f"{self.model}, {grown}, parametrization {self.parametrization}:"]
        lines += [f"  {name}  {one}" for name, one in self.values.items()]
        return "\n".join([*lines, *(f"  {name}  not judged: {why}" for name, why in self.left.items())])


@dataclass(frozen=True)
class Past:
    """The judgements in a memory, and (file, why) of those that cannot be read."""

    good: tuple[Judgement, ...]
    bad: tuple[tuple[str, str], ...] = ()


def judged(found: Transfer, target: Results, model: str) -> Judgement:
    """What a search at the target says of the values that were carried there.

    Args:
        model: the kind of model, such as `transformer`; letters, digits, and . _ -.

    Raises:
        SpecError: the run is no search at the target's sizes, or of another metric; or the name is bad.
        RunError: no trial of it has ended.
    """
    check_task(model)
    spec = target.spec
    config = {**(spec.get("config") or {}), **sizes_of(spec.get("scale") or {})}
    other = [name for name, size in found.sizes.items() if config.get(name) != size]
    if other:
        sizes = ", ".join(f"{name} {found.sizes[name]}" for name in other)
        raise SpecError(f"{target.path}: was not searched at the target, whose sizes are {sizes}")
    if target.raised is not None:
        raise SpecError(
            f"{target.path}: raised one model; which values are good is told by a search of many trials"
        )
    if (target.metric, target.mode) != (found.spec.metric, found.spec.mode):
        raise SpecError(f"{target.path}: compares {target.metric} ({target.mode}), not {found.spec.metric}")
    table = longest_trials(target)
    values: dict[str, Held] = {}
    left: dict[str, str] = {}
    for one in found.values:
        try:
            values[one.name] = _held(one, table, target.mode)
        except ValueError as error:
            left[one.name] = str(error)
    scale = found.scale
    growth: dict[str, float] = {}
    for dimension, times in scale.growth.items():
        kind = scale.kinds[dimension].value
        growth[kind] = growth.get(kind, 1.0) * times
    return Judgement(model, str(target.path.absolute()), scale.parametrization, growth, values, left)


def remember(memory: Memory, seen: Judgement) -> str:
    """Writes a judgement into a memory; one of the same model and run is replaced. Returns its file's name.

    Raises:
        RunError: the store cannot be written.
    """
    name = f"{FOLDER}/{seen.model}-{hashlib.blake2b(seen.run.encode(), digest_size=5).hexdigest()}.parquet"
    about = {"model": seen.model, "run": seen.run, "parametrization": seen.parametrization}
    meta = {**about, "growth": dict(seen.growth), "left": dict(seen.left), "version": VERSION}
    rows = [{"name": one, **dataclasses.asdict(held)} for one, held in seen.values.items()]
    kinds = {"name": pa.string(), **dict.fromkeys(("carried", "best", "low", "high"), pa.float64())}
    table = pa.Table.from_pylist(rows, pa.schema({**kinds, "held": pa.bool_()}))
    memory.write(name, table.replace_schema_metadata({META: json.dumps(meta)}))
    return name


def past(memory: Memory) -> Past:
    """The judgements in a memory, by file name; none where there is no such folder yet."""
    good, bad = [], []
    for name in memory.names(FOLDER):
        try:
            good.append(_read(memory, name))
        except UNREADABLE as error:
            bad.append((name, first_line(str(error) or type(error).__name__)))
    return Past(tuple(good), tuple(bad))


def with_past(found: Transfer, seen: Sequence[Judgement]) -> Transfer:
    """The same, each value with how often one of its name held in earlier transfers of the same kind.

    Those count that have the same parametrization and grew at least one dimension of the same kind. A
    hyper-parameter that held in fewer than half of them is in doubt.
    """
    kinds = {found.scale.kinds[name].value for name, times in found.scale.growth.items() if times != 1.0}
    alike = [
        one
        for one in seen
        if one.parametrization == found.scale.parametrization and kinds.intersection(one.growth)
    ]
    return dataclasses.replace(found, values=tuple(_with_past(one, alike) for one in found.values))


# ---- inside


def _held(one: Transferred, table: Any, mode: str) -> Held:
    """Raises ValueError where the search at the target does not tell."""
    if not is_number(one.value) or isinstance(one.value, bool):
        raise ValueError("is no number")
    column = f"config.{one.name}"
    if column not in table:
        raise ValueError("was not searched at the target")
    sign = 1.0 if mode == "min" else -1.0
    good = best_value(table[column].tolist(), [sign * value for value in table["value"].tolist()], 1.0)
    low, high = (math.exp(good.log + side * Z * good.error) for side in (-1, 1))
    best = math.exp(good.log)
    is_near = low <= one.value <= high or (
        one.value > 0 and abs(math.log(one.value / best)) <= math.log(NEAR)
    )
    return Held(float(one.value), best, low, high, None if high / low > WIDE else is_near)


def _with_past(one: Transferred, alike: Sequence[Judgement]) -> Transferred:
    told = [(seen.model, seen.values[one.name].held) for seen in alike if one.name in seen.values]
    known = [(model, held) for model, held in told if held is not None]
    if not known:
        return one
    count = sum(held for _, held in known)
    models = ", ".join(sorted({model for model, _ in known}))
    times = "1 earlier transfer" if len(known) == 1 else f"{len(known)} earlier transfers"
    words = f"held in {count} of {times} ({models})"
    if 2 * count < len(known):
        return dataclasses.replace(one, doubts=(*one.doubts, words))
    return dataclasses.replace(one, past=words)


def _read(memory: Memory, name: str) -> Judgement:
    """Raises one of UNREADABLE."""
    table, _ = memory.read(f"{FOLDER}/{name}")
    meta = json.loads((table.schema.metadata or {}).get(META, b"null"))
    if not isinstance(meta, dict):
        raise ValueError("it is no judgement of a transfer")
    if meta["version"] > VERSION:
        raise ValueError(
            f"it was written by a newer version (format {meta['version']}, this reads {VERSION})"
        )
    values = {row.pop("name"): Held(**row) for row in table.to_pylist()}
    return Judgement(
        model=str(meta["model"]),
        run=str(meta["run"]),
        parametrization=str(meta["parametrization"]),
        growth={str(kind): float(times) for kind, times in meta["growth"].items()},
        values=values,
        left=dict(meta["left"]),
    )
