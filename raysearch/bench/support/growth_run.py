"""One search of `raysearch bench growth`: simulated workers, the real engine and journal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raysearch.bench.support.contest import peak_mb

if TYPE_CHECKING:
    from raysearch.core.segment import Outcome, Segment
    from raysearch.engine.search import Search
    from raysearch.spec.search_spec import SearchSpec

