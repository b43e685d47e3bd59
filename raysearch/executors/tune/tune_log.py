"""Tune's own log lines go to a file of the run and not over the display."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path


class QuietFile(logging.FileHandler):
    """A log file that a full disk or one out of reach silences, rather than a traceback for every line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Opens the file with the first line, which a handler's own care for errors does not cover."""
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Drops the line."""

    def close(self) -> None:
        """Drops what cannot be flushed."""
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """In the block Tune's log lines about its workers go to this file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = QuietFile(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger("ray.tune"), logging.getLogger("ray.air"), logging.getLogger("ray.train")]
    before = [(logger, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, propagate in before:
            logger.removeHandler(handler)
            logger.propagate = propagate
        handler.close()
