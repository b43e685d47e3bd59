"""The W&B key: where it comes from, and how it is kept away from workers, logs and files.

It is looked for in the environment, in the file that WANDB_API_KEY_FILE names, and in netrc. While a search
runs it is out of the driver's environment, which Ray hands to every process it starts, and goes to the
tracking process through a pipe. Nothing here prints it or writes it.
"""

from __future__ import annotations

import contextlib
import netrc
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from raysearch.errors import RunError

VARIABLE = "WANDB_API_KEY"
FILE_VARIABLE = "WANDB_API_KEY_FILE"
PUBLIC = "https://api.wandb.ai"
# A child that inherits these would join a run or a process of its parent.
INHERITED = (
    "WANDB_SERVICE",
    "WANDB_RUN_ID",
    "WANDB_RUN_NAME",
    "WANDB_RESUME",
    "WANDB_RUN_GROUP",
    "WANDB_SWEEP_ID",
)


def base_url() -> str:
    """The server that W&B's own settings name."""
    return os.environ.get("WANDB_BASE_URL", PUBLIC).rstrip("/")


def find_key() -> str | None:
    """The key for `base_url()`; None if there is none.

    Raises:
        RunError: WANDB_API_KEY_FILE names a file that cannot be read.
    """
    if key := os.environ.get(VARIABLE, "").strip():
        return key
    if file := os.environ.get(FILE_VARIABLE, "").strip():
        try:
            return Path(file).expanduser().read_text(encoding="utf-8").strip() or None
        except OSError as error:
            raise RunError(f"{FILE_VARIABLE}={file}: cannot be read: {error.strerror}") from None
    return _from_netrc(urlsplit(base_url()).hostname or "")


@contextlib.contextmanager
def taken_out() -> Iterator[None]:
    """The environment without the key, and without what a child would join a W&B process by; put back after."""  # noqa: E501
    names = (VARIABLE, *INHERITED)
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


def _from_netrc(host: str) -> str | None:
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        found = netrc.netrc(str(file)).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return found[2] if found and found[2] else None
