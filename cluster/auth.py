"""Ray's token authentication, for clusters that need a token.

`ray start --head` turns it on by itself where ~/.ray/auth_token exists; a client that connects by an explicit
address has to ask for it. We ask once the cluster has refused us without a token.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from raysearch import ray_private
from raysearch.errors import ClusterError

T = TypeVar("T")

WHAT_TO_DO = (
    "the cluster wants its token: copy the head's ~/.ray/auth_token to the same place here, or set "
    "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
)


def with_token(connect: Callable[[], T], where: str) -> T:
    """The result of `connect`, called again with this user's token if the cluster refuses it without.

    Raises:
        ClusterError: the cluster refuses the token too.
    """
    refused = ray_private.refusals()
    try:
        return connect()
    except refused as error:
        if not use_own_token():
            raise ClusterError(f"{where}: {WHAT_TO_DO}") from error
    try:
        return connect()
    except refused as error:
        raise ClusterError(f"{where}: {WHAT_TO_DO}") from error


def use_own_token() -> bool:
    """Turns authentication on in this process if a token is here and the environment does not choose."""
    return os.environ.get("RAY_AUTH_MODE") is None and ray_private.use_own_token()
