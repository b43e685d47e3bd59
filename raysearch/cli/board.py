"""`raysearch board`: a local page that follows runs, and steers them where it is asked to."""

from __future__ import annotations

import secrets
import socket

from raysearch.cli import options
from raysearch.cli.output import tell
from raysearch.errors import RunError

ADDRESS = "127.0.0.1"


def board(runs: options.Runs, port: options.Port = 8337, steer: options.Steer = False) -> None:
    """Serve a page that follows runs, with the figures of the report, to this machine alone."""
    import uvicorn

    from raysearch.report.board import app
    from raysearch.report.board_run import WatchedRun
    from raysearch.report.half_requests import Timed
    from raysearch.run.location import existing_run

    watched = [WatchedRun(existing_run(run)) for run in runs]
    listener = _listen(port)
    token = secrets.token_urlsafe(24) if steer else ""
    key = f"#token={token}" if steer else ""
    tell(f"http://{ADDRESS}:{listener.getsockname()[1]}/{key}   Ctrl-C ends it", flush=True)
    if steer:
        tell("whoever has this address, on this machine, may steer", flush=True)
    settings = uvicorn.Config(app(watched, token), http=Timed, log_level="warning", server_header=False)
    uvicorn.Server(settings).run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ADDRESS, port))
        listener.listen(64)
    except OSError as error:
        raise RunError(f"--port {port}: {error.strerror}; choose another, 0 takes any that is free") from None
    return listener
