"""Randomness that is a function of a key: the order of examples and which units dropout leaves out.

A model's draws depend on its own seed and its own age alone, so they are the same whichever models are
trained beside it, in whichever row, and after a pause.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_TABLE_SEED = 0x5EED
_ODD = (0x7FEB352D, 0x2C1B3C6D)  # odd, so that multiplying modulo 2^32 loses nothing


def keys(seeds: NDArray[np.int64], steps: NDArray[np.int64]) -> NDArray[np.int32]:
    """(steps, models) 32-bit keys from seeds (models,) and step numbers (steps, models).

    Two rounds of splitmix64 (Steele et al. 2014), of which the upper half is kept.
    """
    with np.errstate(over="ignore"):
        mixed = _splitmix(_splitmix(seeds.astype(np.uint64)[None, :]) + steps.astype(np.uint64) * _GOLDEN)
    return (mixed >> np.uint64(32)).astype(np.uint32).view(np.int32)


def order(seed: int, iteration: int, examples: int, count: int) -> NDArray[np.int64]:
    """`count` numbers below `examples`: one permutation after the other, the last one cut."""
    generator = np.random.Generator(np.random.SFC64([seed & (2**63 - 1), iteration]))
    rounds = -(-count // examples)
    drawn = [generator.permutation(examples) for _ in range(rounds)]
    return (drawn[0] if rounds == 1 else np.concatenate(drawn))[:count]


@dataclass(slots=True)
class Draws:
    """The dropout of one step. `key` is a 32-bit integer tensor, one number a model; calls are counted."""

    key: Tensor
    calls: int = field(default=0)

    def kept(self, shape: tuple[int, ...], p: float | Tensor) -> Tensor:
        """A mask of this shape, True with probability 1 - p, anew for each call.

        Random numbers fixed for the place of an element are combined with the model's key (xor, then
        two multiplications and a shift), which costs a third of drawing them and needs no state.
        """
        table = _table(self.calls, tuple(shape), self.key.device)
        self.calls += 1
        mixed = (table ^ self.key) * _ODD[0]
        mixed = (mixed ^ (mixed >> 15)) * _ODD[1]
        return mixed >= _threshold(p, self.key)


def _threshold(p: float | Tensor, key: Tensor) -> Tensor | int:
    if isinstance(p, Tensor):
        scaled = p.to(torch.float64) * 2.0**32 - 2.0**31
        return scaled.clamp(-(2.0**31), 2.0**31 - 1).to(torch.int32)
    return int(min(p * 2.0**32 - 2.0**31, 2.0**31 - 1))


@lru_cache(maxsize=256)
def _table(call: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
    generator = np.random.Generator(np.random.SFC64([_TABLE_SEED, call]))
    drawn = generator.integers(-(2**31), 2**31, size=shape, dtype=np.int32)
    return torch.from_numpy(drawn).to(device)


_current: list[Draws] = []


@contextmanager
def drawing(key: Tensor) -> Iterator[None]:
    """Inside, dropout of the patched functions draws by this key."""
    _current.append(Draws(key))
    try:
        yield
    finally:
        _current.pop()


def current() -> Draws | None:
    """The draws of the step under way; None outside of `drawing`."""
    return _current[-1] if _current else None


@contextmanager
def same_draws() -> Iterator[None]:
    """Inside, the global generators of Python, NumPy and torch begin alike in every process."""
    python, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            random.seed(0)
            np.random.seed(0)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)


def _splitmix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
