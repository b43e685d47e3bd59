"""Where this machine keeps what may be lost."""

from __future__ import annotations

import os
import stat
from pathlib import Path

CACHE_VARIABLE = "RAYSEARCH_CACHE"


def cache_folder() -> Path:
    """$RAYSEARCH_CACHE, else raysearch's part of the user's cache folder."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raysearch"


def why_shared(path: Path) -> str:
    """Why others can change a file or folder, which code is then not loaded from; empty if they cannot.

    Looked at are its owner and mode, and those of the folders above it: whoever can write to one of them can
    put another file in its place. A folder with the sticky bit, such as /tmp, protects what is in it. The
    user's own group may write where it is the group of the process, as on machines with a group a user.
    """
    for place in (path, *path.parents):
        found = place.lstat()
        if found.st_uid not in (os.getuid(), 0):
            return f"{place} belongs to user {found.st_uid}"
        loose = stat.S_IWOTH if found.st_gid == os.getgid() else stat.S_IWOTH | stat.S_IWGRP
        is_sticky = place != path and found.st_mode & stat.S_ISVTX
        if not stat.S_ISLNK(found.st_mode) and found.st_mode & loose and not is_sticky:
            return f"others may write to {place} (chmod go-w {place})"
    return ""
