"""The tracking process: `python -m raysearch.tracking.process RUN [--push]`, with the W&B key on its stdin.

It follows the run's journal and sends what is new every few seconds; when the run has ended, or its
driver has closed stdin, it sends the rest with the tables, checks that the server has every row, and ends.
It may die at any moment and be started again: all its state is in the journal and at the server.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import time
from pathlib import Path

from raysearch.tracking.supervisor import AGAIN, INCOMPLETE, OK
from raysearch.tracking.wandb.api_key import INHERITED, VARIABLE

POLL_S = 2.0
PAUSE_S = 20.0  # after an outage, before another process tries


def main(argv: list[str]) -> int:
    """Sends a run; 0 if the server has every row of it at the end, 3 if not, 5 to be started again."""
    parser = argparse.ArgumentParser(prog="raysearch.tracking.process")
    parser.add_argument("run", type=Path)
    parser.add_argument("--push", action="store_true", help="send what there is, and end")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds with the server, for each run")
    parser.add_argument("--since", type=float, default=None, help="Unix time from which on people are told")
    options = parser.parse_args(argv)
    _take_key()
    from raysearch.tracking.wandb.alerts import Alerts
    from raysearch.tracking.wandb.final_upload import send_finals
    from raysearch.tracking.wandb.sender import Sender
    from raysearch.tracking.wandb.sync_state import ended

    logging.getLogger("wandb").setLevel(logging.ERROR)
    driver_left = _watch_stdin(abandon=options.push)
    sender = Sender(options.run, options.patience)
    alerts = Alerts(sender, time.time() if options.since is None else options.since)
    while True:
        over = options.push or driver_left.is_set() or ended(sender.paths) is not None
        sender.read()
        if not options.push:
            alerts.look()
        if over:
            break
        sender.send()
        sender.note()
        if sender.is_stuck:
            print(f"{time.strftime('%F %T')} to be started again: {sender.trouble}")
            return AGAIN if not driver_left.wait(PAUSE_S) else INCOMPLETE
        driver_left.wait(POLL_S)
    complete = sender.close(send_finals)
    sender.note()
    print(f"{time.strftime('%F %T')} {'complete' if complete else 'not complete: ' + sender.trouble}")
    return OK if complete else INCOMPLETE


def _take_key() -> None:
    """The key from the first line of stdin into this process's environment, where the client looks for it."""
    for name in INHERITED:
        os.environ.pop(name, None)
    os.environ.pop("WANDB_MODE", None)  # the spec's mode decides
    os.environ[VARIABLE] = sys.stdin.readline().strip()
    os.environ["WANDB_SILENT"] = "true"
    os.environ["WANDB_ERROR_REPORTING"] = "false"


def _watch_stdin(abandon: bool) -> threading.Event:
    """An event set when the driver closes stdin, at its end or death; `abandon` ends the process then."""
    left = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        left.set()
        if abandon:
            os._exit(INCOMPLETE)

    threading.Thread(target=wait, daemon=True, name="driver").start()
    return left


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # not through the client's exit hooks, which wait for a server that is away
