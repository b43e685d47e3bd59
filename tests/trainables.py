"""Small trainables of every kind that a worker must drive."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import ray
from ray import tune


class Walk(tune.Trainable):  # type: ignore[misc]
    """A random walk that depends on its configuration, the global generators and its whole past."""

    instances = 0

    def setup(self, config: dict[str, Any]) -> None:
        type(self).instances += 1
        self.rate, self.value, self.steps = config["rate"], 0.0, 0

    def step(self) -> dict[str, Any]:
        self.value += self.rate * (1.0 + random.random())
        self.steps += 1
        return {"loss": self.value, "steps": self.steps, "nested": {"half": self.value / 2}, "note": "text"}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "state.json").write_text(json.dumps([self.value, self.steps]))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.value, self.steps = json.loads(Path(checkpoint_dir, "state.json").read_text())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.rate, self.value, self.steps = new_config["rate"], 0.0, 0
        return True


class Fresh(Walk):
    """One that cannot be reset, and gives its checkpoint as a dict."""

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"value": self.value, "steps": self.steps}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.value, self.steps = checkpoint["value"], checkpoint["steps"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return False


class NoCheckpoint(tune.Trainable):  # type: ignore[misc]
    """One that cannot be paused."""

    def setup(self, config: dict[str, Any]) -> None:
        self.rate, self.value = config["rate"], 0.0

    def step(self) -> dict[str, Any]:
        self.value += self.rate
        return {"loss": self.value}


class Scripted(NoCheckpoint):
    """Reports what its configuration says, iteration by iteration; "boom" raises."""

    def step(self) -> dict[str, Any]:
        report = self.config["reports"][self.iteration]
        if report == "boom":
            raise RuntimeError("boom at the third")
        return dict(report)


class Descent(tune.Trainable):  # type: ignore[misc]
    """Noisy gradient descent into a bowl, after a restore too at the learning rate of its configuration."""

    def setup(self, config: dict[str, Any]) -> None:
        self.lr, self.weights = config["lr"], [1.0, 1.0, 1.0]

    def step(self) -> dict[str, Any]:
        for i, curvature in enumerate((1.0, 0.3, 0.1)):
            self.weights[i] -= self.lr * (curvature * self.weights[i] + random.gauss(0.0, 0.1))
        return {"loss": 0.05 + sum(w * w for w in self.weights)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "state.json").write_text(json.dumps(self.weights))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.weights = json.loads(Path(checkpoint_dir, "state.json").read_text())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True


class Paced(Descent):
    """So many seconds an iteration: what a search that only has to go on meanwhile leaves to the others."""

    def step(self) -> dict[str, Any]:
        time.sleep(self.config["seconds"])
        return super().step()


class Killed(Descent):
    """Kills its own process in iteration 41, as long as the marker file is not there."""

    def step(self) -> dict[str, Any]:
        marker = Path(self.config["marker"])
        if self.iteration == 40 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step()


def walk(config: dict[str, Any]) -> None:
    """The walk as a function; writes a checkpoint at every `every`-th report, 1 if not said."""
    value, steps = 0.0, 0
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            value, steps = json.loads(Path(folder, "state.json").read_text())
    while steps < config.get("length", 100):
        value += config["rate"] * (steps + 1)
        steps += 1
        if steps % config.get("every", 1):
            tune.report({"loss": value, "steps": steps})
            continue
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "state.json").write_text(json.dumps([value, steps]))
            report = tune.Checkpoint.from_directory(folder)
            tune.report({"loss": value, "steps": steps}, checkpoint=report)


def plain(config: dict[str, Any]) -> None:
    """A function without checkpoints."""
    for step in range(config.get("length", 100)):
        tune.report({"loss": config["rate"] * (step + 1)})


def generator(config: dict[str, Any]) -> Any:
    """A function that yields its reports."""
    for step in range(config.get("length", 100)):
        yield {"loss": config["rate"] * (step + 1)}


def silent(config: dict[str, Any]) -> None:
    """A function that forgets to report."""


def raising(config: dict[str, Any]) -> None:
    """A function that fails at its second report."""
    tune.report({"loss": 1.0})
    raise ValueError("the function's own error")


def exiting(config: dict[str, Any]) -> None:
    """A function that ends the process, as it believes."""
    tune.report({"loss": 1.0})
    sys.exit(3)


class Exiting(NoCheckpoint):
    """A class that ends the process, as it believes."""

    def step(self) -> dict[str, Any]:
        sys.exit(3)


released = threading.Event()


def stubborn(config: dict[str, Any]) -> None:
    """A function that cannot be told to end, until it is `released`."""
    while not released.wait(0.01):
        try:
            tune.report({"loss": 1.0})
        except BaseException:  # noqa: BLE001
            continue


class Sized(Walk):
    """One whose checkpoint fits only a model of its own width."""

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        super().load_checkpoint(checkpoint_dir)
        if self.config["rate"] != 0.5:
            raise RuntimeError("size mismatch for weight")

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return super().reset_config(new_config)


class Moody(Walk):
    """Trial numbers in its configuration decide what goes wrong; everything else trains well."""

    def step(self) -> dict[str, Any]:
        report = super().step()
        x = self.config["rate"]
        if 0.10 <= x < 0.20:
            raise RuntimeError(f"no luck with rate {x:.3f}")
        if 0.20 <= x < 0.30:
            return {**report, "loss": float("nan")}
        return report


class Suicidal(Walk):
    """Kills its own process at its first try, as long as the marker file is not there."""

    def step(self) -> dict[str, Any]:
        marker = Path(self.config["marker"])
        if self.config["rate"] > 0.8 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step()


class Hanging(Walk):
    """Waits for ever where the rate is high."""

    def step(self) -> dict[str, Any]:
        if self.config["rate"] > 0.8:
            threading.Event().wait()
        return super().step()


class Slow(Walk):
    """A tenth of a second an iteration."""

    def step(self) -> dict[str, Any]:
        time.sleep(self.config.get("seconds", 0.1))
        return super().step()


class Held(Slow):
    """Its process trains so many iterations, and no more as long as the file `hold` is there."""

    trained: ClassVar = Counter[str]()  # by the name of that file, which is one search's own

    def step(self) -> dict[str, Any]:
        hold = self.config["hold"]
        while Held.trained[hold] >= self.config["free"] and Path(hold).exists():
            time.sleep(0.02)
        Held.trained[hold] += 1
        return super().step()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return super().reset_config(new_config)


class Chatty(Walk):
    """Prints, so that one can look for where it went."""

    def step(self) -> dict[str, Any]:
        print(f"a word from rate {self.config['rate']}")
        return super().step()


class Curve(tune.Trainable):  # type: ignore[misc]
    """A curve that is known beforehand: see `curve`."""

    def setup(self, config: dict[str, Any]) -> None:
        self.steps = 0

    def step(self) -> dict[str, Any]:
        time.sleep(self.config.get("seconds", 0.0))
        self.steps += 1
        return {"loss": curve(self.config["rate"], self.steps)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "steps").write_text(str(self.steps))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.steps = int(Path(checkpoint_dir, "steps").read_text())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config, self.steps = new_config, 0
        return True


def curve(rate: float, step: int) -> float:
    """Curves that cross, one of which diverges."""
    return math.nan if rate > 0.9 and step > 1 else abs(rate - 0.4) + (1.0 - rate) / step


class Heavy(Curve):
    """Writes a checkpoint of half a megabyte, and is dear enough that it is worth writing."""

    def step(self) -> dict[str, Any]:
        time.sleep(0.02)
        return super().step()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        super().save_checkpoint(checkpoint_dir)
        Path(checkpoint_dir, "weights").write_bytes(os.urandom(1 << 19))


class Seventeenth(Curve):
    """Raises where the configuration is that of the seventeenth Sobol sample."""

    def step(self) -> dict[str, Any]:
        if self.config["rate"] == self.config["unlucky"]:
            raise FloatingPointError("division in the seventeenth")
        return super().step()


class Wandering(Curve):
    """Leaves the working directory that it was started in."""

    def step(self) -> dict[str, Any]:
        os.chdir(self.config["elsewhere"])
        return super().step()


class Unspeakable(NoCheckpoint):
    """Raises errors that are hard to print."""

    def step(self) -> dict[str, Any]:
        if self.config["rate"] < 0.5:
            raise ValueError("x" * 10**6 + "\x1b[31m")

        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        raise Mute


class Told(Walk):
    """Sends its own process SIGTERM in the third iteration, as long as the marker file is not there."""

    def step(self) -> dict[str, Any]:
        marker = Path(self.config["marker"])
        if self.steps == 2 and not marker.exists():
            marker.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGTERM)
        with marker.with_suffix(f".{os.getpid()}").open("a") as steps:
            steps.write(f"{self.rate} {self.steps}\n")
        return super().step()


class Hungry(Walk):
    """Runs out of memory where the rate is high, unless its worker holds two CPUs."""

    def step(self) -> dict[str, Any]:
        time.sleep(0.05)
        held = ray.util.get_current_placement_group().bundle_specs[0]["CPU"]
        if self.rate > 0.7 and held < 2:
            raise MemoryError(f"{held:g} CPU is too little for rate {self.rate:.2f}")
        return super().step()
