"""Actions on storage tried again for a while, since storage that is away often comes back."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

Found = TypeVar("Found")

RETRIES_S = (0.2, 1.0, 3.0, 5.0, 10.0)  # between attempts at storage that fails; then always the last


def waits(patience_s: float) -> Iterator[float]:
    """Seconds to wait after each attempt at storage that fails; `patience_s` in all."""
    for wait in itertools.chain(RETRIES_S, itertools.repeat(RETRIES_S[-1])):
        if patience_s <= 0:
            return
        yield min(wait, patience_s)
        patience_s -= wait


def patiently(action: Callable[[], Found], patience_s: float, passes: Callable[[Exception], bool]) -> Found:
    """What `action` returns. Tried again for a while after errors that may pass; raises the others."""
    for wait in waits(patience_s):
        try:
            return action()
        except Exception as error:
            if not passes(error):
                raise
            time.sleep(wait)
    return action()
