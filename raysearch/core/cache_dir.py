"""Where this machine keeps what may be lost."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "RAYSEARCH_CACHE"


def cache_folder() -> Path:
    """$RAYSEARCH_CACHE, else raysearch's part of the user's cache folder."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raysearch"
