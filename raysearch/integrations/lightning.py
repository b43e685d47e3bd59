"""Lightning: a Trainer reports each epoch to the search, and goes on from its checkpoint.

    from raysearch.integrations.lightning import SearchCallback, resume_path

    def train(config):
        trainer = L.Trainer(max_epochs=config["max_iterations"], callbacks=[SearchCallback(config)])
        trainer.fit(Net(config["lr"]), data, ckpt_path=resume_path())

    raysearch.search(train, space={"lr": {"loguniform": [1e-4, 1e-1]}}, metric="val_loss", mode="min",
                     strategy=raysearch.Caviar(samples=20, max_iterations=27))

Called outside a search, `train` is what it was: the callback does nothing, `resume_path()` is None.

In a trial `Trainer.fit` is replaced by one that counts processes first: Lightning launches them before it
calls the first hook of a callback, strategy or plugin, where it would be too late to refuse them.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raysearch.core.trial_config import LENGTH
from raysearch.errors import SpecError, TrainableError
from raysearch.integrations import session

if TYPE_CHECKING or "pytorch_lightning" not in sys.modules or "lightning.pytorch" in sys.modules:
    import lightning.pytorch as pl
    from lightning.pytorch.plugins.io import CheckpointIO
else:  # the older package's Trainer takes callbacks of its own kind only
    import pytorch_lightning as pl
    from pytorch_lightning.plugins.io import CheckpointIO

__all__ = ["SearchCallback", "resume_path"]

FILE = "lightning.ckpt"
LOUD = ("lightning.pytorch", "lightning.fabric", "pytorch_lightning")
DEVICES = (
    "the Trainer trains in {count} processes, and a trial has {have}: say as many in `workers.processes`, "
    'and give the Trainer that many devices, num_nodes and strategy="ddp"'
)


def resume_path() -> str | None:
    """The `ckpt_path` from which this trial goes on; None for a fresh model, and outside a search."""
    folder = session.checkpoint_folder()
    return None if folder is None else str(folder / FILE)


class SearchCallback(pl.Callback):
    """Reports the logged metrics and a checkpoint once an epoch, after its validation.

    The checkpoint is Lightning's own, with the random generators beside it, and lies in a folder of the
    search. A Trainer without `enable_checkpointing=False` goes on to write one of its own each epoch, into
    its `default_root_dir`. When the strategy ends the trial, `fit` ends without a traceback. In a trial,
    progress bars, model summary and Lightning's notices are off, and a Trainer of other than the trial's
    processes is refused with a TrainableError before it starts them.

    Attributes:
        is_on: it reports: this code runs in a trial.
    """

    def __init__(self, config: Mapping[str, Any] | None = None, *, epochs: int = 1) -> None:
        """
        Args:
            config: the trial's configuration, which the function was given: compared with `max_epochs`.
            epochs: so many are one iteration; for a Trainer that validates every so many.

        Raises:
            SpecError: `epochs` is no whole number from 1.
        """
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
            raise SpecError(f"SearchCallback(epochs={epochs!r}): must be a whole number from 1")
        self._epochs = epochs
        self._length = config.get(LENGTH) if config is not None else None
        self._validated: set[str] = set()  # names that validation logs
        self._before: set[str] = set()
        self._is_fresh = False  # they are of this iteration
        self.is_on = session.is_searching()
        if self.is_on:
            _ask_first()
            for name in LOUD:
                logging.getLogger(name).setLevel(logging.WARNING)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Silences the Trainer, and reads checkpoints of the search as one's own."""
        if not self.is_on or stage != "fit":
            return
        if self._length is not None and trainer.max_epochs not in (None, -1, self._length * self._epochs):
            logging.getLogger(__name__).warning(
                "max_epochs=%s, and the strategy trains for %s: a schedule of that length does not fit; "
                'max_epochs=config["max_iterations"] does',
                trainer.max_epochs,
                self._length * self._epochs,
            )
        every = trainer.check_val_every_n_epoch
        if every is not None and self._epochs % every:
            logging.getLogger(__name__).warning(
                "validation comes every %s epochs, and an iteration is of %s: for what validation logs, "
                "SearchCallback(config, epochs=%s)",
                *(every, self._epochs, every),
            )
        callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        for callback in callbacks:
            if isinstance(callback, pl.callbacks.ProgressBar):
                callback.disable()
        # In place of each other: Lightning is on its way through the list.
        quiet = [pl.Callback() if isinstance(c, pl.callbacks.ModelSummary) else c for c in callbacks]
        has_last = any(isinstance(c, _Last) for c in callbacks)  # a second fit of one Trainer
        callbacks[:] = quiet if has_last else [*quiet, _Last(self)]
        if resume_path() is not None:
            trainer.strategy.checkpoint_io = _Own(trainer.strategy.checkpoint_io)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """The random generators go on where the checkpoint's epoch ended."""
        folder = session.checkpoint_folder()
        if self.is_on and folder is not None:
            session.restore_random(folder)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes which metrics there are without validation."""
        self._before = set(trainer.callback_metrics)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes which metrics it logged."""
        if not trainer.sanity_checking:
            self._validated |= set(trainer.callback_metrics) - self._before
            self._is_fresh = True

    def end_epoch(self, trainer: pl.Trainer) -> None:
        """Reports the iteration, if the epoch ends one."""
        if not self.is_on or (trainer.current_epoch + 1) % self._epochs:
            return
        if _is_cut(trainer) and not self._is_fresh:  # by `max_steps`, or the like: no whole iteration
            return
        stale = set() if self._is_fresh else self._validated
        self._is_fresh = False
        metrics = {n: v for n, v in session.numbers(trainer.callback_metrics).items() if n not in stale}
        with session.new_folder() as folder:
            trainer.save_checkpoint(folder / FILE)
            session.report({"epoch": trainer.current_epoch, **metrics}, folder)


def _is_cut(trainer: pl.Trainer) -> bool:
    """Whether the epoch ended before its last batch, in a training that validates."""
    return trainer.enable_validation and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def _ask_first() -> None:
    """Has `Trainer.fit` refuse processes that the trial has not, before it starts them."""
    fit = pl.Trainer.fit
    if hasattr(fit, "asks_first"):
        return

    @functools.wraps(fit)
    def asking(trainer: pl.Trainer, *args: Any, **kwargs: Any) -> Any:
        callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if trainer.world_size != session.processes() and any(
            isinstance(c, SearchCallback) and c.is_on for c in callbacks
        ):
            raise TrainableError(DEVICES.format(count=trainer.world_size, have=session.processes()))
        return fit(trainer, *args, **kwargs)

    asking.asks_first = True  # type: ignore[attr-defined]
    pl.Trainer.fit = asking  # type: ignore[assignment, method-assign]


class _Last(pl.callbacks.Checkpoint):
    """Comes after all that log at an epoch's end, the module too: Lightning calls those of this kind last."""

    def __init__(self, search: SearchCallback) -> None:
        self._search = search

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._search.end_epoch(trainer)


class _Own(CheckpointIO):
    """Loads checkpoints that the search wrote with all that is in them: they are the user's own."""

    def __init__(self, inner: CheckpointIO) -> None:
        self._inner = inner

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As the Trainer's; `weights_only` is False where nobody said."""
        if "weights_only" in kwargs and kwargs["weights_only"] is None:
            kwargs["weights_only"] = False
        return dict(self._inner.load_checkpoint(path, *args, **kwargs))

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """As the Trainer's."""
        self._inner.save_checkpoint(*args, **kwargs)

    def remove_checkpoint(self, path: Any) -> None:
        """As the Trainer's."""
        self._inner.remove_checkpoint(path)
