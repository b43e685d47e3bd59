"""What a team reviews: the HTML report, its sections, the board and the comparison of runs.

    from raysearch.report import write_report
    Path("report.html").write_text(write_report(raysearch.load("runs/digits")))

The package can be called, too: `raysearch.report({"val_loss": 0.3})`, see `reported`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raysearch.report.report import write_comparison, write_report
    from raysearch.report.sections import content_of

__all__ = ["content_of", "write_comparison", "write_report"]


def __getattr__(name: str) -> Any:
    """Loads a public name, and the figures that it needs, at its first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "sections" if name == "content_of" else "report"
    return getattr(importlib.import_module(f"raysearch.report.{home}"), name)


def reported(
    metrics: Mapping[str, Any] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    **more: Any,
) -> None:
    """Reports an iteration of a trial from its training code: a script, or a function trainable.

        raysearch.report({"val_loss": loss})
        raysearch.report(val_loss=loss, checkpoint=folder)

    Returns when the training may go on. Outside a search the metrics are printed as a line of JSON.

    Args:
        metrics: by name; nested ones are reported as `outer/inner`.
        checkpoint: a folder with the state to go on from; of a script, what it wrote into the folder
            RAYSEARCH_CHECKPOINT_DIR is taken without.
        more: further metrics.

    Raises:
        SystemExit: the trial is over.
    """
    from raysearch.worker.script.reporting import report

    report({**(metrics or {}), **more}, None if checkpoint is None else os.fspath(checkpoint))


class _Package(ModuleType):
    """This package, which can be called."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        reported(*args, **kwargs)

    def __reduce__(self) -> Any:
        return importlib.import_module, (self.__name__,)  # as any module: by its name


sys.modules[__name__].__class__ = _Package
