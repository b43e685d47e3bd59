"""A file of a checkpoint under a second name, which takes no room where the file system can do that."""

from __future__ import annotations

import os
import shutil


def linked(source: str, target: str) -> None:
    """The file under a second name; a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
