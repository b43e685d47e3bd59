"""What can be imported while something else starts, so that a search's first outcome comes sooner."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterator, Sequence

from raysearch.cluster.connect import connected
from raysearch.executors.tune.head import Head, last_words
from raysearch.storage.marks import mark

DRIVER = "raysearch.executors.tune.driver"


@contextlib.contextmanager
def begun(address: str | None, local: bool, run: str, say: Callable[[str], None]) -> Iterator[Head]:
    """As `connect.connected` and `head.last_words`, whose Head it gives.

    This process imports Tune meanwhile.
    Raises as `connected` does.
    """
    mark("driver: the spec was checked, the run's folder made")
    ahead = threading.Thread(target=import_here, args=([DRIVER],), daemon=True, name="import")
    ahead.start()
    try:
        with connected(address, local, say=say), last_words(run, say) as head:
            mark("driver: Ray is up")
            yield head
    finally:
        ahead.join()  # a process that ends in the midst of an import may crash


def import_here(modules: Sequence[str]) -> None:
    """Imports the modules in this process, as far as that works: who needs one gets its error there."""
    for module in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    mark(f"{modules[0].rpartition('.')[2]}: imported")
