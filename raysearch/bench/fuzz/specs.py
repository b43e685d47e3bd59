"""Specs: those of the examples and some richer ones, changed in their text and in their values."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import yaml

from raysearch.bench.fuzz.commands import command
from raysearch.bench.fuzz.kinds import Case, OtherAnswer
from raysearch.bench.fuzz.mutations import changed_bytes, changed_text, changed_value, flow_text
from raysearch.errors import RaysearchError
from raysearch.spec import load_spec

TRAINABLE = "raysearch.bench.support.trivial:Trivial"
RICH = f"""\
name: rich
trainable: {TRAINABLE}
metric: loss
mode: min
space:
  optimizer: {{choice: [adamw, sgd, lion], weights: [1, 2, 3]}}
  lr: {{loguniform: [1.0e-4, 1.0]}}
  momentum: {{uniform: [0.0, 0.99], when: {{optimizer: sgd}}}}
  beta2: {{uniform: [0.9, 0.999], when: [{{optimizer: adamw}}, {{optimizer: lion, layers: {{ge: 2}}}}]}}
  layers: {{randint: [1, 4]}}
  model:
    width: {{lograndint: [8, 512], q: 8}}
    act: {{choice: [relu, gelu, null, [1, 2], {{a: 1}}]}}
    noise: {{normal: [0.0, 1.0], low: -2, high: 2}}
    when: {{layers: {{gt: 1}}}}
  depth: {{ordinal: [small, medium, large]}}
constraints: ["layers * lr <= 3", "optimizer != 'sgd' or lr > 0.001", "model.width % 8 == 0"]
baseline: {{optimizer: sgd, lr: 0.1, momentum: 0.9, layers: 1, depth: small}}
known_good: [{{optimizer: sgd, lr: 0.01, momentum: 0.5, layers: 1, depth: large}}]
priors: {{lr: {{lognormal: [-3, 1]}}, confidence: low}}
config: {{batch: 32, nested: {{a: [1, 2.5, null, true, text]}}}}
strategy:
  {{name: caviar, samples: 50, max_iterations: 27, eta: 3, sampler: sobol, finish: {{top: 2, seeds: 3}}}}
workers:
  {{count: 2, cpu: 1, gpu: 0.5, resources: {{a: 1}}, memory: 500 MB, grace: 30s, on_oom: {{gpu: x2}}}}
budget: {{hours: 2, trials: 100, money: 10, prices: {{cpu_hour: 0.1}}, grace: 5m, power: {{cpu: 8}}}}
stop_when: {{gain_below: 1%, cost: {{kwh: 2.5}}}}
stall_timeout: 10m
storage_timeout: 90s
retries: 2
quota: 50 GB
seed: 3
seed_as: seed
priority: 2
max_share: 0.5
wandb: {{mode: "off", project: p, tags: [a, b]}}
sinks: [tensorboard]
fuse: false
isolate: false
storage: runs/
"""
RAISED = f"""\
name: raised
trainable: {TRAINABLE}
metric: loss
mode: min
space: {{lr: {{loguniform: [1.0e-5, 1.0e-1]}}, wd: {{uniform: [0, 1]}}, act: {{choice: [a, b]}}}}
baseline: {{lr: 1.0e-4, wd: 0.5, act: a}}
strategy: {{name: panda, max_iterations: 200, population: 4, nudge: [lr, wd], budget: 1.5}}
workers: 2
storage: runs/
"""
STAGES = f"""\
name: stages
trainable: {TRAINABLE}
metric: loss
mode: max
space: {{lr: {{loguniform: [1.0e-5, 1.0e-1]}}}}
strategy: {{name: two_stage, samples: 20, max_iterations: 27}}
storage: runs/
"""


class Specs:
    """Spec files, read, written and read again, sampled from, and handed to `launch --dry-run`."""

    count = 10_000
    texts: Mapping[str, str] = {}

    def prepare(self, folder: Path) -> None:
        """Good specs by name, of which each loads."""
        self._folder = folder
        texts = self.good()
        self.texts = texts
        for name, text in texts.items():
            (folder / "good.yaml").write_text(text, encoding="utf-8")
            try:
                self.attempt(Case(name, text.encode()))
            except RaysearchError as error:
                raise AssertionError(f"the spec {name} is refused as it is: {error}") from error

    def good(self) -> Mapping[str, str]:
        """The specs that are changed."""
        ours = {"rich": RICH, "raised": RAISED, "stages": STAGES}
        return ours | {name: _trivial(name) for name in ("digits", "chars", "panda_mnist1d")}

    def case(self, seed: int, number: int) -> Case:
        """One of the good specs with something changed."""
        rng = random.Random(f"{seed}/{number}")
        name, text = rng.choice([*self.texts.items()])
        how = rng.random()
        if how < 0.05:
            data, words = changed_bytes(text.encode(), rng)
        elif how < 0.4:
            text, words = changed_text(text, rng)
            data = text.encode("utf-8", "surrogatepass")
        else:
            document, words = changed_value(yaml.safe_load(text), rng)
            text = flow_text(document)
            data = text.encode("utf-8", "surrogatepass")
        return Case(f"{name}: {words}", data)

    def attempt(self, case: Case) -> None:
        """Loads the spec; what it is written as must be the same search."""
        file = self._folder / "search.yaml"
        file.write_bytes(case.given)
        spec = load_spec(file)
        written = spec.to_yaml()
        again = self._folder / "again.yaml"
        again.write_text(written, encoding="utf-8")
        try:
            second = load_spec(again)
        except RaysearchError as error:
            raise OtherAnswer(f"it is accepted, and refused as written in spec.yaml: {error}") from None
        if second.to_yaml() != written:
            raise OtherAnswer("it reads differently once it is written in spec.yaml")
        if spec.space.sample(1, 2) != second.space.sample(1, 2):
            raise OtherAnswer("it draws other samples once it is written in spec.yaml")
        command("launch", str(file), "--dry-run")


def _trivial(name: str) -> str:
    """The spec of an example, with a trainable that takes no time to load."""
    from raysearch import examples

    lines = examples.path(name).read_text("utf-8").splitlines()
    metric = next(line.split()[1] for line in lines if line.startswith("metric:"))
    text = "\n".join(line for line in lines if not line.startswith("#")) + "\n"
    return text.replace(
        next(line for line in lines if line.startswith("trainable:")), f"trainable: {TRAINABLE}"
    ).replace(f"metric: {metric}", "metric: loss")
