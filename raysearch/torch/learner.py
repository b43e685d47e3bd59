"""Learner: one model described once, trained alone or by the hundred.

    from torch.nn import Linear, ReLU, Sequential
    from torch.nn.functional import cross_entropy

    import raysearch.torch


    class Digits(raysearch.torch.Learner):
        def data(self):
            return raysearch.torch.Data(train=(images, labels), validation=(more_images, more_labels))

        def model(self, config):
            return Sequential(Linear(64, config["hidden"]), ReLU(), Linear(config["hidden"], 10))

        def loss(self, model, batch, config):
            images, labels = batch
            return cross_entropy(model(images), labels)

        def metrics(self, model, batch):
            images, labels = batch
            logits = model(images)
            return {
                "val_loss": cross_entropy(logits, labels, reduction="none"),
                "val_accuracy": logits.argmax(-1) == labels,
            }

`raysearch.search(Digits, ...)` and `ray.tune.Tuner(Digits, ...)` take it as they take any trainable.
Searched on Ray, a worker trains many models in one vectorised step, with the same numbers as alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from ray import tune
from torch import Tensor, nn

from raysearch.core.library_errors import is_out_of_memory
from raysearch.core.values import is_number
from raysearch.errors import TrainableError, first_line
from raysearch.fused import checkpoint_files
from raysearch.fused.data import Batch, Data
from raysearch.fused.optimizers import Rule, rule_of
from raysearch.fused.packed_state import RowLayout, load_into
from raysearch.fused.rng import same_draws
from raysearch.fused.single import Alone, fresh

Config = Mapping[str, Any]


class Learner(tune.Trainable):  # type: ignore[misc]
    """What one model is, what it learns from, and how. Derive from it and write the first four methods.

    The methods see a configuration and no other state than what the class holds. In a pack, numbers in
    `loss`'s config, rates of dropout and the like are tensors, one value a model: work with them as with
    numbers. All randomness comes from the trial's seed: `config["seed"]` where it is there (see `seed_as`),
    else the seed that the search gives. The order of the examples and dropout are a function of it and of
    the model's age, so a pause, a resume and the company of other models change nothing.

    Attributes:
        batch_size: of training, where the configuration has no `batch_size`.
        steps: optimizer steps in an iteration; None is one pass over the training examples.
        drop_last: leaves out the last batch of a pass where it is smaller (batch norm takes none of one
            example), unless it is the only one.
        evaluate_at_once: how many examples `metrics` sees at a time.
        paired: metric -> number of parts: of a metric with a value for each example, `NAME_parts` is reported
            as well, so that panda compares in pairs.
        precision: "float32", or "bfloat16" for autocast of loss and metrics.
        compile: True has steps of packs compiled to machine code, on a CPU with a C++ compiler; "auto" those
            that have taken as long as compiling takes; False none. When it pays: notebooks/guides/packs.md.
        device: "auto" is the GPU if this process has one.

    >>> class Line(raysearch.torch.Learner):
    ...     def data(self):
    ...         x = torch.linspace(-1, 1, 64).reshape(-1, 1)
    ...         return raysearch.torch.Data(train=(x, 2 * x), validation=(x, 2 * x))
    ...     def model(self, config):
    ...         return torch.nn.Linear(1, 1)
    ...     def loss(self, model, batch, config):
    ...         return ((model(batch[0]) - batch[1]) ** 2).mean()
    ...     def metrics(self, model, batch):
    ...         return {"val_loss": (model(batch[0]) - batch[1]) ** 2}
    >>> line = Line({"lr": 0.3, "optimizer": "sgd"})  # as a search trains it; alone here
    >>> reports = [line.train() for _ in range(20)]
    >>> reports[-1]["val_loss"] < 0.01 < reports[0]["val_loss"]
    True
    """

    is_learner: ClassVar[bool] = True
    batch_size: ClassVar[int] = 32
    steps: ClassVar[int | None] = None
    drop_last: ClassVar[bool] = False
    evaluate_at_once: ClassVar[int] = 1000
    paired: ClassVar[Mapping[str, int]] = {}
    precision: ClassVar[str] = "float32"
    compile: ClassVar[bool | str] = False
    device: ClassVar[str] = "auto"

    def __init_subclass__(cls, **more: Any) -> None:
        """Raises TrainableError where an attribute has a value that it cannot have."""
        super().__init_subclass__(**more)
        if cls.compile not in (False, "auto", True):
            raise TrainableError(f'{cls.__name__}.compile: {cls.compile!r} is not one of False, "auto", True')
        if cls.precision not in ("float32", "bfloat16"):
            raise TrainableError(
                f'{cls.__name__}.precision: {cls.precision!r} is not one of "float32", "bfloat16"'
            )
        counts: dict[str, Any] = {"evaluate_at_once": cls.evaluate_at_once, "batch_size": cls.batch_size}
        counts |= {f"paired[{name!r}]": parts for name, parts in cls.paired.items()}
        counts |= {} if cls.steps is None else {"steps": cls.steps}
        for name, value in counts.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise TrainableError(f"{cls.__name__}.{name}: {value!r} must be a whole number, at least 1")

    # ---- to be written

    def data(self) -> Data:
        """The examples; asked for once in a process.

        Python's, NumPy's and torch's generators begin with the same seed in all of them, so that a split
        that is drawn is the same for every trial.
        """
        raise NotImplementedError(f"{type(self).__name__} must define data(self)")

    def model(self, config: Config) -> nn.Module:
        """A fresh model."""
        raise NotImplementedError(f"{type(self).__name__} must define model(self, config)")

    def loss(self, model: nn.Module, batch: Batch, config: Config) -> Tensor:
        """What a step makes smaller: one number for the batch, as a tensor without dimensions."""
        raise NotImplementedError(f"{type(self).__name__} must define loss(self, model, batch, config)")

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Name -> value over a batch of validation examples, as a mean or with a value for each example.

        They are averaged over the batches. Test examples, if `data` has them, are reported as `test_...`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define metrics(self, model, batch)")

    # ---- to be changed where it does not fit

    def optimizer(self, config: Config) -> Rule:
        """How it learns: by the configuration's `optimizer` (sgd, adam, adamw, lion), `lr` and so on.

        Return a rule of `raysearch.torch` (SGD, Adam, AdamW, Lion), or one of your own.
        """
        return rule_of(config)

    def schedule(self, steps: NDArray[np.int64], config: Config) -> NDArray[np.float64] | float:
        """What the learning rate is multiplied by at these steps (counted from 0).

        By the configuration: a linear warm-up over `warmup_steps`, then `schedule`: constant, or linear or
        cosine down to 0 at `total_steps`.
        """
        return scale(steps, config)

    def clip(self, config: Config) -> float | None:
        """The largest norm of a gradient: the configuration's `clip_norm`; None is no limit."""
        return config.get("clip_norm")

    def ema(self, config: Config) -> float | None:
        """Decay per step of averaged weights, with which it is then judged: `ema_decay`; None is none."""
        return config.get("ema_decay")

    # ---- what comes of it

    @classmethod
    def restored(cls, folder: str | Path) -> nn.Module:
        """The model in a checkpoint (`results.best.checkpoint`), on the CPU, ready for use.

        With averaged weights where there are some.

        Raises:
            CheckpointError: the folder holds no model of this Learner.
        """
        learner, note = cls.plain(), checkpoint_files.read_note(Path(folder))
        model = fresh(learner, note.config, note.seed)
        layout = RowLayout(model)
        load_into(model, checkpoint_files.read_row(Path(folder), layout), layout, averaged=True)
        return model.eval()

    @classmethod
    def plain(cls) -> Learner:
        """The learner without a trial: for its methods alone."""
        return cls.__new__(cls)

    @classmethod
    def prepared(cls) -> tuple[Data, torch.device]:
        """The data on the device, read once in a process."""
        return _prepared(cls)  # type: ignore[arg-type]

    def batch_size_of(self, config: Config) -> int:
        """The configuration's batch size, else the learner's.

        Raises:
            TrainableError: it is no whole number, or below 1.
        """
        size = config.get("batch_size", self.batch_size)
        if not is_number(size) or not float(size).is_integer() or size < 1:
            raise TrainableError(f"batch_size: {size!r} must be a whole number, at least 1")
        return int(size)

    # ---- a Ray Tune trainable

    def setup(self, config: dict[str, Any]) -> None:
        """Begins a trial."""
        config = {k: v for k, v in config.items() if not k.startswith("__")}
        seed = config.get("seed")
        self._seeded = seed is not None
        data, device = self.prepared()
        chosen = int(seed) if seed is not None else torch.initial_seed() % 2**63
        self._alone = Alone(self, data, device, config, chosen)

    def step(self) -> dict[str, Any]:
        """One iteration of training, and the metrics after it."""
        return self._alone.iterate()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes the model and its optimizer's state."""
        member, folder = self._alone.member, Path(checkpoint_dir)
        checkpoint_files.write_rows(folder / checkpoint_files.ROWS, [self._alone.row()], self._alone.layout)
        checkpoint_files.write_note(folder, checkpoint_files.Note(0, member.seed, member.at, member.config))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Goes on from there under the hyper-parameters of now."""
        folder = Path(checkpoint)
        note = checkpoint_files.read_note(folder)
        row = checkpoint_files.read_row(folder, self._alone.layout)
        self._alone.put(row, note.iteration, None if self._seeded else note.seed)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begins another trial in this process."""
        self.setup(new_config)
        return True


def scale(steps: NDArray[np.int64], config: Config) -> NDArray[np.float64]:
    """Factors of the learning rate; see `Learner.schedule`.

    Raises:
        TrainableError: another name, or no `total_steps` where the schedule needs it.
    """
    name = config.get("schedule", "constant")
    if name not in ("constant", "linear", "cosine"):
        raise TrainableError(f"schedule: {name!r} is not one of constant, linear, cosine")
    at = steps.astype(np.float64)
    warmup = float(config.get("warmup_steps", 0))
    warm = np.minimum(1.0, (at + 1) / warmup) if warmup > 0 else np.ones_like(at)
    if name == "constant":
        return warm
    if not config.get("total_steps"):
        raise TrainableError(f"schedule: {name} needs total_steps: after how many steps it reaches 0")
    total = float(config["total_steps"])
    progress = np.clip((at - warmup) / max(1.0, total - warmup), 0.0, 1.0)
    down = 1 - progress if name == "linear" else (1 + np.cos(np.pi * progress)) / 2
    return warm * down


@cache
def _prepared(cls: type[Learner]) -> tuple[Data, torch.device]:
    try:
        with same_draws():
            given = cls.plain().data()
    except TrainableError:
        raise
    except Exception as error:
        raise TrainableError(f"{cls.__name__}.data raised {type(error).__name__}: {error}") from error
    if not isinstance(given, Data):
        raise TrainableError(
            f"{cls.__name__}.data returned a {type(given).__name__}: return raysearch.torch.Data(train=..., "
            "validation=...)"
        )
    try:
        device = torch.device(
            cls.device if cls.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        )
        return given.to(device), device
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without CUDA
        if is_out_of_memory(error):
            raise
        text = f'{cls.__name__}.device: {cls.device!r} is not to be had here: use "auto", "cpu" or "cuda"'
        raise TrainableError(f"{text} ({first_line(str(error))})") from error
