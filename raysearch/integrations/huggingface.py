"""Hugging Face: a transformers Trainer reports each epoch to the search, and goes on from its checkpoint.

    from raysearch.integrations.huggingface import SearchCallback, resume_path

    def train(config):
        args = TrainingArguments(out, learning_rate=config["lr"], eval_strategy="epoch",
                                 num_train_epochs=config["max_iterations"])
        trainer = Trainer(model, args, train_dataset=data, eval_dataset=rest,
                          callbacks=[SearchCallback(config)])
        trainer.train(resume_from_checkpoint=resume_path())

or, for a trainer that was made with `model_init`, in place of `trainer.hyperparameter_search`:

    best = search(trainer, {"learning_rate": {"loguniform": [1e-5, 1e-2]}},
                  strategy=raysearch.Caviar(samples=20, max_iterations=9))

Called outside a search, `train` is what it was: the callback does nothing, `resume_path()` is None.
"""

from __future__ import annotations

import dataclasses
import inspect
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.trainer_utils import BestRun, IntervalStrategy, SaveStrategy

from raysearch.core.segment import Mode
from raysearch.core.trial_config import LENGTH
from raysearch.errors import SpecError, TrainableError, unknown
from raysearch.integrations import session

__all__ = ["SearchCallback", "resume_path", "search"]

UNSEEDED = 42  # TrainingArguments' own default: nobody chose it
TIMINGS = ("_runtime", "_per_second")
DEFAULTS = (transformers.trainer_callback.DefaultFlowCallback, transformers.ProgressCallback)
LOSS = "eval_loss"
DIRECTIONS: Mapping[str, Mode] = {"minimize": "min", "maximize": "max"}
PROCESSES = (
    "the Trainer trains in {count} processes, and a trial has {have}: give it as many in `workers.processes`"
)


def resume_path() -> str | None:
    """The checkpoint for `resume_from_checkpoint`; None for a fresh model, and outside a search."""
    folder = session.checkpoint_folder()
    return None if folder is None else str(folder)


class SearchCallback(transformers.TrainerCallback):
    """Reports what is evaluated and logged, and a checkpoint, at the end of each epoch.

    In a trial the Trainer evaluates (unless `eval_strategy` is "no"), logs and saves at each epoch's end,
    whatever its arguments say, and saves into a folder of the search: nothing is written to `output_dir`.
    Where nobody chose a `seed`, it is the search's, so that the fresh seeds of its finals are fresh.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        """`config`: the trial's, which the function was given: compared with `num_train_epochs`."""
        self._length = config.get(LENGTH) if config is not None else None
        self._is_on = session.is_searching()
        if self._is_on:
            transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self._metrics: dict[str, float] = {}
        self._before: dict[str, Any] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        folder = session.checkpoint_folder()
        self._seed = torch.initial_seed() % 2**32 if folder is None else session.notes_in(folder)["seed"]

    def on_init_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Seeds the Trainer as the search says, unless the user did."""
        if self._is_on and args.seed == UNSEEDED and args.data_seed is None:
            args.seed = self._seed
            transformers.set_seed(args.seed)

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Has the Trainer evaluate, log and save at each epoch's end, and away from `output_dir`.

        Raises:
            TrainableError: it trains in several processes.
        """
        if not self._is_on:
            return
        if args.world_size != session.processes():
            raise TrainableError(PROCESSES.format(count=args.world_size, have=session.processes()))
        self._folder = tempfile.TemporaryDirectory(prefix="raysearch-")
        changes = {
            "output_dir": self._folder.name,
            "save_strategy": SaveStrategy.EPOCH,
            "logging_strategy": IntervalStrategy.EPOCH,
            "save_only_model": False,
            "save_total_limit": None,
            "load_best_model_at_end": False,
            "push_to_hub": False,
        }
        if args.eval_strategy != IntervalStrategy.NO:
            changes |= {"eval_strategy": IntervalStrategy.EPOCH, "eval_delay": 0}
        self._before = {name: getattr(args, name) for name in changes}
        for name, value in changes.items():
            setattr(args, name, value)
        if self._length is not None and args.max_steps <= 0 and args.num_train_epochs != self._length:
            transformers.utils.logging.get_logger(__name__).warning(
                f"num_train_epochs={args.num_train_epochs:g}, and the strategy trains for {self._length}: a "
                'schedule of that length does not fit; num_train_epochs=config["max_iterations"] does'
            )

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        """Notes what is logged or evaluated."""
        fresh = session.numbers(logs or {})
        self._metrics |= {name: value for name, value in fresh.items() if not name.endswith(TIMINGS)}

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """What was logged before is not of this epoch."""
        self._metrics = {}

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Reports the iteration, with the Trainer's checkpoint."""
        if self._is_on and self._folder is not None:
            folder = Path(args.output_dir, f"checkpoint-{state.global_step}")
            session.report(self._metrics, folder, seed=self._seed)

    def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Gives the arguments back."""
        for name, value in self._before.items():
            setattr(args, name, value)
        if self._folder is not None:
            self._folder.cleanup()
        self._before, self._folder = {}, None


def search(
    trainer: transformers.Trainer, space: Any, *, strategy: Any,
    metric: str = LOSS, mode: Mode | None = None, direction: str | None = None, **settings: Any,
) -> BestRun:  # fmt: skip
    """The best run of a search over a trainer's arguments, as `trainer.hyperparameter_search` returns it.

    Each trial makes the trainer anew, with `model_init`, the arguments in its configuration and
    `num_train_epochs` from the strategy. What is no field of the arguments goes to `model_init(config)`.

    Args:
        trainer: made with `model_init` and an evaluation data set; it is not changed.
        space, strategy, metric, mode: as for `raysearch.search`; metrics have Hugging Face's names, and
            the mode is "min" if not given.
        direction: "minimize" or "maximize", Hugging Face's own name for the mode.
        settings: others of `raysearch.search`, such as `name`, `workers`, `baseline`, `executor`.

    Returns:
        `run_id` of the best trial, its `objective` and `hyperparameters`, and the `raysearch.Results` as
        `run_summary`.

    Raises:
        SpecError: the trainer or a setting is wrong; nothing has started.
        RunError: the search ended with an error.
    """
    import raysearch

    if trainer.model_init is None:
        raise SpecError("search: the trainer needs model_init=, a function that makes a fresh model")
    if trainer.eval_dataset is None:
        raise SpecError("search: the trainer needs eval_dataset=, on which trials are compared")
    _check_names(trainer, raysearch.Space.from_dict(space) if isinstance(space, Mapping) else space)
    way = _mode(mode, direction, metric)
    train = _trainable(trainer)
    results = raysearch.search(train, space=space, strategy=strategy, metric=metric, mode=way, **settings)
    best = results.best
    return BestRun(str(best.trial), best.value, dict(best.config), results)


def _mode(mode: Mode | None, direction: str | None, metric: str) -> Mode:
    """The mode that was given under either name.

    Raises:
        SpecError: the direction is none, is not that of the mode, or would have the highest loss win.
    """
    if direction is None:
        return mode or "min"
    if not isinstance(direction, str) or direction not in DIRECTIONS:
        raise SpecError(
            f"search: direction={direction!r}: it is {' or '.join(map(repr, DIRECTIONS))}; several "
            "objectives at once cannot be searched"
        )
    if mode not in (None, DIRECTIONS[direction]):
        raise SpecError(f"search: direction={direction!r} and mode={mode!r} say different things: give one")
    if mode is None and direction == "maximize" and metric == LOSS:
        raise SpecError(
            f'search: direction="maximize" would have the highest {LOSS} win: give metric= too, such as '
            '"eval_accuracy", by the name under which the Trainer logs it'
        )
    return DIRECTIONS[direction]


def _check_names(trainer: transformers.Trainer, space: Any) -> None:
    """Raises SpecError for a hyper-parameter that would go nowhere, and for a length of its own."""
    known = {field.name for field in dataclasses.fields(trainer.args)}
    for name in getattr(space, "names", ()):
        if name in ("num_train_epochs", "max_steps"):
            raise SpecError(f"space.{name}: how long a trial trains is the strategy's: leave it out")
        if name not in known and not inspect.signature(trainer.model_init).parameters:
            raise SpecError(
                f"space.{name}: {unknown('training argument', name, known)}; model_init takes none"
            )


def _trainable(trainer: transformers.Trainer) -> Callable[[dict[str, Any]], None]:
    """A function that makes such a trainer and trains it; it holds no part of `trainer` that lives."""
    made, model_init = type(trainer), trainer.model_init
    args_class = type(trainer.args)
    fields = {f.name: getattr(trainer.args, f.name) for f in dataclasses.fields(trainer.args) if f.init}
    names = (
        *("data_collator", "train_dataset", "eval_dataset", "processing_class", "compute_metrics"),
        *("compute_loss_func", "preprocess_logits_for_metrics"),
    )
    parts = {name: getattr(trainer, name) for name in names if getattr(trainer, name, None) is not None}
    printers = (*DEFAULTS, transformers.PrinterCallback)
    theirs = [c for c in trainer.callback_handler.callbacks if type(c) not in printers]

    def train(config: dict[str, Any]) -> None:
        ours = {name: value for name, value in config.items() if name in fields}
        ours |= {"num_train_epochs": config[LENGTH], "eval_strategy": "epoch", "disable_tqdm": True}
        takes = inspect.signature(model_init).parameters
        again = made(
            model_init=(lambda: model_init(dict(config))) if takes else model_init,
            args=args_class(**{**fields, **ours}),
            callbacks=[*theirs, SearchCallback(config)],
            **parts,
        )
        again.remove_callback(transformers.PrinterCallback)
        again.train(resume_from_checkpoint=resume_path())

    train.__name__ = made.__name__
    return train
