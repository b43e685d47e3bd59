"""The board: a small local page that follows one or more runs, with the report's figures.

    uvicorn.run(app([Path("runs/digits")], token="..."), host="127.0.0.1", port=8337)

What is new is pushed, as server-sent events. Who has the token may steer: orders go where the command line's
go. Without a token it is read-only.

It answers this machine alone: it listens on the loopback address, and refuses a request whose Host is
another name, which a page elsewhere could point at the loopback address (DNS rebinding). It sends no
permission for pages of other origins to read it, and takes orders with the token in a header alone.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.core.terminal_text import escaped
from raysearch.errors import RaysearchError
from raysearch.report.board_orders import orders_door
from raysearch.report.html import asset, figure_json, shell, shown, tile
from raysearch.report.sections.content import content_of
from raysearch.storage.journal.parts import START, Position
from raysearch.storage.journal.reading import batches_since
from raysearch.storage.paths import RunPaths

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

PUSH_S = 1.0  # between two looks for what is new to push
ALIVE_S = 15.0  # between two signs of life on a quiet stream
LEAST_S = 2.0  # between two builds of a run's figures; longer where building takes long
FIGURES = (
    *("progress", "front", "hypervolume", "rungs", "curves", "parallel", "importance", "timeline"),
    *("schedules", "lineage"),
)


class WatchedRun:
    """A run that the board follows; it makes the figures again only when the journal has grown."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._position: Position = START
        self._state: dict[str, Any] = {}
        self._version = 0
        self._next = 0.0
        self._lock = threading.Lock()

    def state(self, known: int) -> dict[str, Any]:
        """The state that the page shows; without figures if the page has this version already."""
        with self._lock:
            if time.monotonic() >= self._next:
                self._refresh()
            if known == self._version:
                return {"version": self._version}
            return {"version": self._version, **self._state}

    def _refresh(self) -> None:
        began = time.monotonic()
        known = self._position  # events count too: after its end a run is another one to read about
        for _, behind in batches_since(RunPaths(self.run).journal, known):
            self._position = behind
        if self._position != known or not self._version:
            self._state, self._version = snapshot(self.run), self._version + 1
        self._next = time.monotonic() + max(LEAST_S, 4 * (time.monotonic() - began))


def snapshot(run: Path) -> dict[str, Any]:
    """A run as the page draws it: headline, tiles as HTML, and figures by name."""
    from raysearch.results.results import Results

    content = content_of(Results(run))
    pictures = [picture for section in content.sections for picture in section.pictures]
    return {
        "name": escaped(content.name),
        "headline": escaped(content.headline),
        "tone": content.tone,
        "tiles": "".join(map(tile, content.tiles)),
        "figures": [
            {
                "name": p.name,
                "title": escaped(p.title or p.name.capitalize()),
                "note": escaped(p.note),
                "figure": json.loads(figure_json(p.figure)),
            }
            for p in pictures
            if p.name in FIGURES
        ],
    }


def app(runs: Sequence[Path], token: str = "") -> Starlette:
    """The server's application; takes orders from whoever has the token, from nobody if it is empty."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route

    watched = [WatchedRun(run) for run in runs]
    order = orders_door(runs, token)

    async def page(request: Request) -> Response:
        return _page(runs, bool(token))

    async def state(request: Request) -> Response:
        number = _number(request.path_params["number"])
        if number is None or number >= len(watched):
            return JSONResponse({"error": "no such run"}, 404, headers=_headers())
        if (known := _number(request.query_params.get("known", "0"))) is None:
            return JSONResponse({"error": "known is a number"}, 400, headers=_headers())
        try:
            found = await asyncio.to_thread(watched[number].state, known)
        except (RaysearchError, OSError) as error:
            return JSONResponse({"error": escaped(str(error))}, 503, headers=_headers())
        return JSONResponse(found, headers=_headers())

    async def events(request: Request) -> Response:
        number = _number(request.path_params["number"])
        if number is None or number >= len(watched):
            return JSONResponse({"error": "no such run"}, 404, headers=_headers())
        stream = pushed(watched[number])
        return StreamingResponse(stream, media_type="text/event-stream", headers=_headers())

    async def orders(request: Request) -> Response:
        status, said = await order(request)
        return JSONResponse(said, status, headers=_headers())

    return Starlette(
        routes=[
            Route("/", page),
            Route("/runs/{number}", state),
            Route("/runs/{number}/events", events),
            Route("/runs/{number}/orders", orders, methods=["POST"]),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False)
        ],
    )


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
    """Server-sent events of a run: `state` when its figures are new, `trouble` where it cannot be read."""
    version, quiet_s, trouble = 0, 0.0, ""
    while True:
        said = ""
        try:
            found = await asyncio.to_thread(watched.state, version)
            if found["version"] != version:
                version, said = found["version"], f"event: state\ndata: {json.dumps(found)}\n\n"
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
