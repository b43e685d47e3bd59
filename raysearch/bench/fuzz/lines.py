"""Command lines over a small finished run: odd options, odd values, odd names."""

from __future__ import annotations

import os
import random
import shlex
from pathlib import Path

from raysearch.bench.fuzz.commands import command
from raysearch.bench.fuzz.kinds import Case
from raysearch.bench.fuzz.oddities import EXPRESSIONS, NUMBERS, SNIPPETS, TEXTS
from raysearch.bench.fuzz.specs import TRAINABLE

SPEC = f"""\
name: first
trainable: {TRAINABLE}
metric: loss
mode: min
space: {{x: {{uniform: [0, 1]}}, act: {{choice: [a, =b]}}}}
baseline: {{x: 0.5, act: a}}
strategy: {{name: caviar, samples: 6, max_iterations: 3, finish: null}}
storage: runs
"""
# Command -> its options. None of them starts a cluster, trains, serves or waits.
COMMANDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("launch",): ("--set", "--set", "--name", "--storage", "--workers", "--samples", "--memory", "--json"),
    ("status",): ("--json",),
    ("best",): ("--json",),
    ("trials",): ("--where", "--where", "--sort", "--limit", "--csv", "--parquet", "--json"),
    ("lineage",): ("--limit", "--trial", "--json", "--csv"),
    ("export",): ("--config", "--schedule", "--trial", "-o", "--checkpoint"),
    ("report",): ("-o",),
    ("compare",): ("-o", "--json"),
    ("due",): ("--json",),
    ("logs",): ("--lines",),
    ("pause",): ("--json",),
    ("stop",): ("--grace", "--json"),
    ("nudge",): ("--json",),
    ("rollback",): ("--json",),
    ("memory", "list"): ("--memory", "--json"),
    ("memory", "show"): ("--memory", "--json"),
    ("memory", "forget"): ("--memory",),
    ("cluster", "render", "slurm"): (
        "--partition",
        "--account",
        "--nodes",
        "--gpus",
        "--time",
        "--storage",
        "-o",
    ),
    ("cluster", "render", "kuberay-job"): ("--image", "--secret", "--claim", "--nodes", "--node-label", "-o"),
    ("cluster", "render", "ssh"): ("--hosts", "--user", "--key", "--setup", "--install", "-o"),
    ("examples",): ("--json",),
    ("strategies",): ("--json",),
}
FLAGS = {"--json", "--config", "--schedule"}
WRITES = {"-o", "--csv", "--parquet", "--checkpoint"}
PLAIN = (
    "runs/first",
    "search.yaml",
    "x",
    "loss",
    "0",
    "1",
    "3",
    "value < 1",
    "value",
    "first",
    "act",
    "x=0.5",
    "0.1",
)


class Lines:
    """Command lines."""

    count = 2_000

    def prepare(self, folder: Path) -> None:
        """A finished run, in the folder that becomes this process's own."""
        os.chdir(folder)
        Path("search.yaml").write_text(SPEC, encoding="utf-8")
        command("launch", "search.yaml", "--executor", "inline")

    def case(self, seed: int, number: int) -> Case:
        """A command, its arguments mostly in place, and up to four options."""
        rng = random.Random(f"{seed}/{number}")
        words = rng.choice([*COMMANDS])
        options = COMMANDS[words]
        given = [*words]
        if words[0] not in ("examples", "strategies", "memory"):
            good = "search.yaml" if words[0] in ("launch", "cluster") else "runs/first"
            given.append(good if rng.random() < 0.8 else _word(rng))
        given += ["--dry-run"] if words == ("launch",) else []
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            option = rng.choice(options)
            given.append(option)
            if option in WRITES:
                given.append(_file(rng))
            elif option not in FLAGS or rng.random() < 0.05:
                given.append(_word(rng))
        given += [_word(rng)] if rng.random() < 0.1 else []
        return Case(shlex.join(given)[:300], given)

    def attempt(self, case: Case) -> None:
        """Runs the command in this process."""
        command(*case.given)


def _word(rng: random.Random) -> str:
    """A word that a shell can hand over: no NUL."""
    odd = (lambda: rng.choice(TEXTS), lambda: rng.choice(EXPRESSIONS), lambda: rng.choice(SNIPPETS))
    texts = (
        *odd,
        lambda: f"{rng.choice(NUMBERS)!s:.400}",
        lambda: f"strategy.{rng.choice(TEXTS)}={rng.choice(TEXTS)}",
    )
    text = rng.choice(PLAIN) if rng.random() < 0.4 else rng.choice(texts)()
    return text.replace("\0", "")


def _file(rng: random.Random) -> str:
    """A file in this folder: nothing is written elsewhere."""
    return rng.choice(["out", "runs", "-", *(text for text in TEXTS if "/" not in text)]).replace("\0", "")
