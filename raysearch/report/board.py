"""The board: a small local page that follows one or more runs, with the report's figures, read-only.

    uvicorn.run(app([Path("runs/digits")]), host="127.0.0.1", port=8337)

It answers this machine alone: it listens on the loopback address, and refuses a request whose Host is
another name, which a page elsewhere could point at the loopback address (DNS rebinding). It sends no
permission for pages of other origins to read it, and takes GET only.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.core.terminal_text import escaped
from raysearch.errors import RaysearchError
from raysearch.report.html import figure_json, shell, shown, tile
from raysearch.report.sections.content import content_of
from raysearch.storage.journal.parts import START, Position
from raysearch.storage.journal.reading import batches_since
from raysearch.storage.paths import RunPaths

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LEAST_S = 2.0  # between two builds of a run's figures; longer where building takes long
FIGURES = ("progress", "rungs", "curves", "parallel", "importance", "timeline", "schedules", "lineage")


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
        new = 0
        for outcomes, behind in batches_since(RunPaths(self.run).journal, self._position):
            new, self._position = new + len(outcomes), behind
        if new or not self._version:
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


def app(runs: Sequence[Path]) -> Starlette:
    """The server's application."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Route

    watched = [WatchedRun(run) for run in runs]

    async def page(request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data: blob:; "  # noqa: E501
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        text = shell("Board", _body(runs), policy.replace("; frame-ancestors 'none'", ""), _follow_script())
        return HTMLResponse(text.replace("<script>", f'<script nonce="{nonce}">'), headers=_headers(policy))

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

    return Starlette(
        routes=[Route("/", page), Route("/runs/{number}", state)],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False)
        ],
    )


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


def _body(runs: Sequence[Path]) -> str:
    tabs = "".join(
        f'<button type="button" class="tab" data-run="{i}">{shown(run.name)}</button>'
        for i, run in enumerate(runs)
    )
    return (
        '<header><div class="top"><p class="kind">Board <span id="live" role="status"></span></p>'
        '<button id="theme" type="button" aria-label="light or dark">◐</button></div>'
        f'<div class="tabs">{tabs}</div><h1 id="name"></h1><p class="headline" id="headline">reading the journal</p>'  # noqa: E501
        '<div class="tiles" id="tiles"></div></header><section id="figures"></section>'
    )


def _follow_script() -> str:
    from raysearch.report.html import asset

    return f"<script>{asset('board.js')}</script>"
