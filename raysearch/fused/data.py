"""The examples that models learn from, as tensors, and batches of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from raysearch.errors import TrainableError

Batch: TypeAlias = Any  # a tensor, or a tuple, list or dict of them (and of such)


class Data:
    """Training and validation examples: what `Learner.data` returns.

    Each of them is a tensor, or a tuple, list or dict of tensors with one entry per example along the first
    dimension, such as `(images, labels)`. A Dataset, or the dataset of a DataLoader, is read into tensors
    once (with the loader's collate_fn), so that every model can have an order and a batch size of its own:
    augmentation belongs into `loss`, and of a loader nothing else counts (see `Learner.drop_last`).
    """

    def __init__(self, train: Any, validation: Any, test: Any = None) -> None:
        """Raises TrainableError for what is none of these, is empty, differs in length, or has a sampler."""
        self.train, self.train_size = _examples("train", train)
        self.validation, self.validation_size = _examples("validation", validation)
        self.test: Batch = None
        self.test_size = 0
        if test is not None:
            self.test, self.test_size = _examples("test", test)

    def to(self, device: torch.device) -> Data:
        """The same on a device."""
        test = None if self.test is None else mapped(lambda t: t.to(device), self.test)
        train, validation = (mapped(lambda t: t.to(device), part) for part in (self.train, self.validation))
        return Data(train, validation, test)


def mapped(change: Callable[[Tensor], Any], batch: Batch) -> Batch:
    """The same tuple, list or dict with `change` of each tensor."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {key: mapped(change, value) for key, value in batch.items()}
    if hasattr(batch, "_fields"):
        return type(batch)(*(mapped(change, value) for value in batch))
    return type(batch)(mapped(change, value) for value in batch)


def chosen(examples: Batch, numbers: Tensor) -> Batch:
    """Batches (models, size, ...) of the examples with these numbers (models, size)."""
    flat = numbers.reshape(-1)
    return mapped(lambda t: t.index_select(0, flat).view(*numbers.shape, *t.shape[1:]), examples)


def part_of(examples: Batch, first: int, stop: int) -> Batch:
    """Examples `first` to `stop` - 1."""
    return mapped(lambda t: t[first:stop], examples)


def _examples(what: str, given: Any) -> tuple[Batch, int]:
    given = _read(what, given)
    sizes: list[int] = []
    mapped(lambda t: sizes.append(len(t)), _tensors(what, given))
    if not sizes or len(set(sizes)) > 1 or not sizes[0]:
        found = f"lengths {sizes}" if sizes else "no tensor"
        raise TrainableError(f"data: {what} has {found}: all its tensors need the same length, at least 1")
    return given, sizes[0]


def _read(what: str, given: Any) -> Any:
    """A dataset's or loader's examples as tensors; anything else as it is."""
    collate = default_collate
    if isinstance(given, DataLoader):
        _refuse_samplers(what, given)
        collate, given = given.collate_fn, given.dataset
    if isinstance(given, IterableDataset):
        raise TrainableError(
            f"data: {what} is an iterable dataset, which has no end and no numbers: a model cannot draw its "
            "own order from it. Read what is to be trained on into tensors"
        )
    if isinstance(given, Dataset):
        return collate([given[i] for i in range(len(given))])  # type: ignore[arg-type]
    return given


def _refuse_samplers(what: str, loader: DataLoader[Any]) -> None:
    ordinary = {RandomSampler, SequentialSampler, BatchSampler, type(None)}
    ours = () if isinstance(loader.dataset, IterableDataset) else (loader.sampler, loader.batch_sampler)
    for sampler in ours:
        if type(sampler) not in ordinary:
            raise TrainableError(
                f"data: {what} is a loader with a {type(sampler).__name__}, and every model draws an order "
                "of its own: give all examples, each as often as it should come, or weigh them in loss"
            )


def _tensors(what: str, given: Any, at: str = "") -> Batch:
    """What was given, if it is tensors all the way; else a TrainableError that says where it is not."""
    inside: Mapping[Any, Any] = {}
    if isinstance(given, Mapping):
        inside = given
    elif isinstance(given, (tuple, list)):
        inside = dict(enumerate(given))
    elif not isinstance(given, Tensor) or not given.dim():
        found = "a tensor without dimensions" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise TrainableError(
            f"data: {what}{at} is {found}; expected a tensor with an entry for each example, a tuple, list "
            "or dict of such, a Dataset, or a DataLoader (torch.from_numpy makes a tensor of an array)"
        )
    for key, value in inside.items():
        _tensors(what, value, f"{at}[{key!r}]")
    return given
