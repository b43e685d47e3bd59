"""Sweep, schedule, order and memory files, changed in their text and in their values."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from raysearch import schedule
from raysearch.bench.fuzz.kinds import Case, OtherAnswer
from raysearch.bench.fuzz.mutations import changed_bytes, changed_text, changed_value, flow_text
from raysearch.bench.fuzz.specs import TRAINABLE, Specs
from raysearch.run.orders import Orders
from raysearch.space.space import Space
from raysearch.strategies.base import Steerable
from raysearch.strategies.panda.settings import Panda
from raysearch.workflows.memory.recall import Record, recall
from raysearch.workflows.memory.store import META, Memory

SWEEP = f"""\
program: train.py
method: bayes
name: sweep
metric: {{name: loss, goal: minimize}}
parameters:
  lr: {{distribution: log_uniform_values, min: 1.0e-4, max: 0.1}}
  momentum: {{min: 0.0, max: 0.99}}
  layers: {{distribution: int_uniform, min: 1, max: 4}}
  width: {{distribution: q_uniform, min: 8, max: 64, q: 8}}
  act: {{values: [relu, gelu], probabilities: [0.25, 0.75]}}
  decay: {{distribution: normal, mu: 0, sigma: 1}}
  seed: {{value: 3}}
  model: {{parameters: {{depth: {{values: [1, 2, 3]}}}}}}
early_terminate: {{type: hyperband, min_iter: 3}}
run_cap: 20
trainable: {TRAINABLE}
strategy: {{name: caviar, samples: 20, max_iterations: 9}}
"""
SCHEDULE = """\
format: raysearch-schedule/1
run: first
iterations: 30
constants: {act: relu, layers: 2}
steps:
- {start: 0, stop: 10, config: {lr: 0.1}}
- {start: 10, stop: 20, config: {lr: 0.01}, used: {lr: [0.01, 0.009]}}
- {start: 20, stop: 30, config: {lr: 0.001}}
"""
ORDERS: list[dict[str, Any]] = [
    {"kind": "nudge", "values": {"lr": 0.01}},
    {"kind": "rollback", "segment": 0},
    {"kind": "nudge", "values": {"lr": 0.01, "wd": 0.5}},
]
SPACE = {"lr": {"loguniform": [1e-4, 1.0]}, "wd": {"uniform": [0, 1]}}


class Sweeps(Specs):
    """W&B sweep files, read as specs."""

    count = 500

    def good(self) -> Mapping[str, str]:
        """One sweep."""
        return {"sweep": SWEEP}


class Schedules:
    """Schedule files."""

    count = 500

    def prepare(self, folder: Path) -> None:
        """A good one loads."""
        self._file = folder / "schedule.yaml"
        self.attempt(Case("good", SCHEDULE.encode()))

    def case(self, seed: int, number: int) -> Case:
        """The good one with something changed."""
        return _changed(SCHEDULE, random.Random(f"{seed}/{number}"))

    def attempt(self, case: Case) -> None:
        """What is read is the same once it is written."""
        self._file.write_bytes(case.given)
        read = schedule.load(self._file)
        for iteration in (0, 5, read.iterations, read.iterations + 10):
            read.at(iteration)
        read.mean()
        read.stretched(7)
        written = read.to_text()
        self._file.write_text(written, encoding="utf-8")
        if schedule.load(self._file).to_text() != written:
            raise OtherAnswer("it reads differently once it is written")


class OrderFiles:
    """Files in the folder of orders of a run that panda raises."""

    count = 500

    def prepare(self, folder: Path) -> None:
        """A search of one model, at its start."""
        space = Space.from_dict(SPACE)
        self._search = Panda(max_iterations=60).start(
            space, metric="loss", mode="min", seed=1, baseline={"lr": 0.1, "wd": 0.5}
        )
        self._folder = folder / "orders"
        self._orders = Orders(self._folder)
        self._name = self._orders.give(ORDERS[0])

    def case(self, seed: int, number: int) -> Case:
        """An order with something changed."""
        rng = random.Random(f"{seed}/{number}")
        order = rng.choice(ORDERS)
        if rng.random() < 0.3:
            data, words = changed_bytes(json.dumps(order).encode(), rng)
            return Case(words, data)
        document, words = changed_value(order, rng)
        text = json.dumps({str(k): v for k, v in document.items()}, default=str)
        return Case(words, text.encode("utf-8", "surrogatepass"))

    def attempt(self, case: Case) -> None:
        """Reads the order as the process does that runs the search."""
        (self._folder / f"{self._name}.json").write_bytes(case.given)
        for name in self._orders.waiting():
            order = self._orders.read(name)
            if isinstance(self._search, Steerable):
                self._search.plan_intervention(order)


class MemoryFiles:
    """Files of a memory: their bytes, and what is said in them."""

    count = 500

    def prepare(self, folder: Path) -> None:
        """A memory of one record."""
        self._memory = Memory(folder)
        configs = [{"lr": 0.001 * (1 + k), "wd": 0.1 * (k % 10)} for k in range(20)]
        values = [float(k % 7) for k in range(20)]
        record = Record("digits", "runs/x", "loss", "min", SPACE, configs, [9] * 20, values, 1.0, {"lr": 0.5})
        self._file = folder / self._memory.add(record)
        self._good = self._file.read_bytes()
        self._table = pq.read_table(self._file)

    def case(self, seed: int, number: int) -> Case:
        """The file with bytes changed, or with something else in its header."""
        rng = random.Random(f"{seed}/{number}")
        if rng.random() < 0.4:
            data, words = changed_bytes(self._good, rng)
            return Case(words, data)
        meta, words = changed_value(json.loads(self._table.schema.metadata[META]), rng)
        header = json.dumps({str(k): v for k, v in meta.items()}, default=str)
        table = self._table.replace_schema_metadata({META: header.encode("utf-8", "replace")})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        return Case(f"header: {words}", sink.getvalue().to_pybytes())

    def attempt(self, case: Case) -> None:
        """Reads the memory and begins a search from it."""
        self._file.write_bytes(case.given)
        held = self._memory.records()
        recall(held.good, Space.from_dict(SPACE), "loss", "min")


# ---- inside


def _changed(text: str, rng: random.Random) -> Case:
    how = rng.random()
    if how < 0.1:
        data, words = changed_bytes(text.encode(), rng)
        return Case(words, data)
    if how < 0.4:
        changed, words = changed_text(text, rng)
    else:
        document, words = changed_value(yaml.safe_load(text), rng)
        changed = flow_text(document)
    return Case(words, changed.encode("utf-8", "surrogatepass"))
