"""The board's door for orders: who has the token may give them, from the board's own page alone."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.core.terminal_text import escaped
from raysearch.errors import RaysearchError
from raysearch.report.steering import TEXT_MAX, command_of, give, order_of
from raysearch.storage.mirror import shown

if TYPE_CHECKING:
    from starlette.requests import Request

BODY_MAX = 4 * TEXT_MAX  # bytes
HEADER = "x-raysearch-token"  # a page elsewhere cannot set it without our leave


def orders_door(runs: Sequence[Path], token: str) -> Callable[[Request], Any]:
    """The handler of `POST /runs/N/orders`: {kind, text, try} to {accepted, words, command}.

    With `try` nothing is ordered: the answer says whether the order can be read, and the command line.
    """

    async def order(request: Request) -> tuple[int, dict[str, Any]]:
        if not token:
            return 403, {"error": "this board shows, and takes no orders: start it with --steer"}
        if not hmac.compare_digest(request.headers.get(HEADER, "").encode(), token.encode()):
            return 403, {"error": "the token is missing or wrong: open the address that the board printed"}
        if (asked := await _body(request)) is None:
            return 400, {"error": "an order is {kind, text, try} as JSON"}
        kind, text, is_try = asked
        number = request.path_params["number"]
        if not number.isascii() or not number.isdigit() or len(number) > 9 or int(number) >= len(runs):
            return 404, {"error": "no such run"}
        root = runs[int(number)]
        try:
            wanted = order_of(kind, text)
            command = command_of(shown(root), kind, text)
            if is_try:
                return 200, {"command": escaped(command)}
            accepted, words = await asyncio.to_thread(give, root, wanted)
        except RaysearchError as error:
            return 200, {
                "accepted": False,
                "words": escaped(str(error)),
                "command": _command(root, kind, text),
            }
        return 200, {"accepted": accepted, "words": escaped(words), "command": escaped(command)}

    return order


def _command(root: Path, kind: str, text: str) -> str:
    try:
        return escaped(command_of(shown(root), kind, text))
    except RaysearchError:
        return escaped(command_of(shown(root), kind, ""))


async def _body(request: Request) -> tuple[str, str, bool] | None:
    """(kind, text, is it a try) of a request; None for what is no order."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > BODY_MAX:
            return None
    try:
        asked = json.loads(content)
        kind, text, is_try = asked["kind"], asked.get("text", ""), asked.get("try", False)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    is_order = isinstance(kind, str) and isinstance(text, str) and isinstance(is_try, bool)
    return (kind, text, is_try) if is_order else None
