"""Points of the unit cube: row k of a stream is a function of (seed, k) alone, never of calls before.

Random rows come from a counter-based generator (Philox: Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3"), whose counter is (row, axes in fours, attempt); so any row can be had
at once, and adding an axis at the end leaves the others as they were. Sobol rows come from SciPy.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysearch.errors import SpecError

Units = NDArray[np.float64]
BLOCK = 256  # rows kept at a time, so that asking one by one is cheap
SOBOL_BLOCK = 1024
SOBOL_BITS = 32  # with more, SciPy cannot skip ahead
SOBOL_DIMENSIONS = 21_201


def random_rows(seed: int, start: int, n: int, d: int, attempt: int = 0) -> Units:
    """Rows start .. start+n-1, shape (n, d), uniform in the open interval (0, 1)."""
    if n != 1:
        return _draw(seed, start, n, d, attempt)
    block, row = divmod(start, BLOCK)
    if attempt:
        return _draw(seed, start, 1, d, attempt)
    return _random_block(seed, block, d)[row : row + 1].copy()


@functools.lru_cache(maxsize=16)
def _random_block(seed: int, block: int, d: int) -> Units:
    return _draw(seed, block * BLOCK, BLOCK, d, 0)


def _draw(seed: int, start: int, n: int, d: int, attempt: int) -> Units:
    out = np.empty((n, d))
    for axis in range(0, d, 4):
        counter = [start, axis // 4, attempt, 0]
        raw = np.random.Philox(key=_key(seed), counter=counter).random_raw(4 * n)
        out[:, axis : axis + 4] = (((raw >> 12) + 0.5) * 2.0**-52).reshape(n, 4)[:, : d - axis]
    return out


@functools.lru_cache(maxsize=64)
def _key(seed: int) -> int:
    """128 well-mixed bits, so that seeds 1 and 2 have nothing in common."""
    low, high = np.random.SeedSequence(seed).generate_state(2, np.uint64).tolist()
    return int(high) << 64 | int(low)


def sobol_rows(seed: int, start: int, n: int, d: int) -> Units:
    """Rows start .. start+n-1 of a scrambled Sobol sequence, shape (n, d), in (0, 1).

    The first 2**m rows, and each aligned block of 2**m after them, are spread evenly in every
    small group of axes. Owen (1998), "Scrambling Sobol' and Niederreiter-Xing points".

    Raises:
        SpecError: above 21,201 dimensions, where no direction numbers are known.
    """
    if d > SOBOL_DIMENSIONS:
        raise SpecError(
            f"a Sobol sequence has at most {SOBOL_DIMENSIONS} dimensions, not {d}; use random samples"
        )
    out = np.empty((n, d))
    done = 0
    while done < n and d:
        block, offset = divmod(start + done, SOBOL_BLOCK)
        rows = _sobol_block(seed, block, d)[offset : offset + n - done]
        out[done : done + len(rows)] = rows
        done += len(rows)
    return out


@functools.lru_cache(maxsize=16)
def _sobol_block(seed: int, block: int, d: int) -> Units:
    """Rows of one aligned block; cheap if the block before it was the last one drawn."""
    with _sobol_lock:
        at, engine = _sobol_engines.pop((seed, d), (block + 1, None))
        if engine is None or at > block:
            at, engine = 0, _engine(seed, d)
        if at < block:
            engine.fast_forward((block - at) * SOBOL_BLOCK)
        rows: Units = engine.random(SOBOL_BLOCK) + 2.0 ** -(SOBOL_BITS + 1)  # the cells' centres: never 0
        _sobol_engines[seed, d] = (block + 1, engine)
        while len(_sobol_engines) > 8:
            _sobol_engines.pop(next(iter(_sobol_engines)))
    return rows


_sobol_engines: dict[tuple[int, int], tuple[int, Any]] = {}
_sobol_lock = threading.Lock()


def _engine(seed: int, d: int) -> Any:
    from scipy.stats import qmc

    options: dict[str, Any] = {"scramble": True, "bits": SOBOL_BITS}
    try:
        return qmc.Sobol(d, rng=np.random.default_rng(_key(seed)), **options)
    except TypeError:  # before SciPy 1.15
        return qmc.Sobol(d, seed=np.random.default_rng(_key(seed)), **options)
