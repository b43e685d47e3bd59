"""The board: a small local page that follows one or more runs, with the report's figures.

    uvicorn.run(app([WatchedRun(Path("runs/digits"))], token="..."), host="127.0.0.1", port=8337)

What is new of the headline and the numbers is pushed, as server-sent events; the page asks for the figures
that are in view. Who has the token may steer: orders go where the command line's go. Without a token it is
read-only.

It answers this machine alone: it listens on the loopback address, and refuses a request whose Host is
another name, which a page elsewhere could point at the loopback address (DNS rebinding). It sends no
permission for pages of other origins to read it, and takes orders with the token in a header alone.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.core.terminal_text import escaped
from raysearch.errors import RaysearchError
from raysearch.report.board_orders import orders_door
from raysearch.report.html import asset, shell, shown

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from raysearch.report.board_run import WatchedRun

PUSH_S = 1.0  # between two looks for what is new to push
ALIVE_S = 15.0  # between two signs of life on a quiet stream


def app(runs: Sequence[WatchedRun], token: str = "") -> Starlette:
    """The server's application; takes orders from whoever has the token, from nobody if it is empty."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.routing import Route

    answers = _Answers(runs, token)
    return Starlette(
        routes=[
            Route("/", answers.page),
            Route("/runs/{number}", answers.head),
            Route("/runs/{number}/figures/{name}", answers.figure),
            Route("/runs/{number}/events", answers.events),
            Route("/runs/{number}/orders", answers.orders, methods=["POST"]),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False)
        ],
    )


class _Answers:
    """What the board answers to each request."""

    def __init__(self, runs: Sequence[WatchedRun], token: str) -> None:
        self._runs, self._steers = runs, bool(token)
        self._order = orders_door([one.run for one in runs], token)

    async def page(self, request: Request) -> Response:
        return _page([one.run for one in self._runs], self._steers)

    async def head(self, request: Request) -> Response:
        known = _number(request.query_params.get("known", "0"))
        return _json({"error": "known is a number"}, 400) if known is None else await self._of(request, known)

    async def figure(self, request: Request) -> Response:
        return await self._of(request, request.path_params["name"], request.query_params.get("mark", ""))

    async def events(self, request: Request) -> Response:
        from starlette.responses import StreamingResponse

        if (run := self._run(request)) is None:
            return _json({"error": "no such run"}, 404)
        return StreamingResponse(pushed(run), media_type="text/event-stream", headers=_headers())

    async def orders(self, request: Request) -> Response:
        status, said = await self._order(request)
        return _json(said, status)

    def _run(self, request: Request) -> WatchedRun | None:
        number = _number(request.path_params["number"])
        return None if number is None or number >= len(self._runs) else self._runs[number]

    async def _of(self, request: Request, *asked: Any) -> Response:
        """The head of a run, or one of its figures."""
        if (run := self._run(request)) is None:
            return _json({"error": "no such run"}, 404)
        try:
            found = await asyncio.to_thread(run.figure if len(asked) > 1 else run.head, *asked)
        except (RaysearchError, OSError) as error:
            return _json({"error": escaped(str(error))}, 503)
        return _json({"error": "no such figure"}, 404) if found is None else _json(found)


def _json(found: dict[str, Any], status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(found, status, headers=_headers())


def _page(runs: Sequence[Path], steers: bool) -> Response:
    """The page itself, of which no script but ours runs."""
    from starlette.responses import HTMLResponse

    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    text = shell(
        "Board",
        _body(runs, steers),
        policy.replace("; frame-ancestors 'none'", ""),
        _follow_script(),
    )
    return HTMLResponse(text.replace("<script>", f'<script nonce="{nonce}">'), headers=_headers(policy))


async def pushed(watched: WatchedRun) -> AsyncIterator[str]:
    """Server-sent events of a run: `state` with what is new of its head, `trouble` where there is some."""
    version, quiet_s, trouble = 0, 0.0, ""
    sent: dict[str, Any] = {}
    while True:
        said = ""
        try:
            found = await asyncio.to_thread(watched.head, version)
            if found["version"] != version:
                new = {key: value for key, value in found.items() if sent.get(key) != value}
                version, sent, said = found["version"], found, f"event: state\ndata: {json.dumps(new)}\n\n"
            trouble = ""
        except (RaysearchError, OSError) as error:
            if (words := escaped(str(error))) != trouble:
                trouble, said = words, f"event: trouble\ndata: {json.dumps(words)}\n\n"
        quiet_s = 0.0 if said else quiet_s + PUSH_S
        if said or quiet_s >= ALIVE_S:
            quiet_s = 0.0
            yield said or ": alive\n\n"
        await asyncio.sleep(PUSH_S)


def _number(text: str) -> int | None:
    """A number of at most nine digits; None for anything else."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def _headers(policy: str = "default-src 'none'") -> dict[str, str]:
    return {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }


def _body(runs: Sequence[Path], steers: bool) -> str:
    tabs = "".join(
        f'<button type="button" class="tab" data-run="{i}">{shown(run.name)}</button>'
        for i, run in enumerate(runs)
    )
    steer = asset("steer.html") if steers else ""
    return (
        '<header><div class="top"><p class="kind">Board <span id="live" role="status"></span></p>'
        '<button id="theme" type="button" aria-label="light or dark">◐</button></div>'
        f'<div class="tabs">{tabs}</div><h1 id="name"></h1><p class="headline" id="headline">reading the journal</p>'  # noqa: E501
        f'<div class="tiles" id="tiles"></div></header>{steer}<section id="figures"></section>'
    )


def _follow_script() -> str:
    return f"<script>{asset('board.js')}</script>"
