"""`raysearch board`: a local page that follows runs."""

from __future__ import annotations

import socket

from raysearch.cli import options
from raysearch.cli.output import tell
from raysearch.errors import RunError

ADDRESS = "127.0.0.1"


def board(runs: options.Runs, port: options.Port = 8337) -> None:
    """Serve a page that follows runs, with the figures of the report, to this machine alone."""
    import uvicorn

    from raysearch.report.board import app
    from raysearch.report.half_requests import Timed
    from raysearch.run.location import existing_run

    roots = [existing_run(run) for run in runs]
    listener = _listen(port)
    tell(f"http://{ADDRESS}:{listener.getsockname()[1]}/   Ctrl-C ends it", flush=True)
    settings = uvicorn.Config(app(roots), http=Timed, log_level="warning", server_header=False)
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
