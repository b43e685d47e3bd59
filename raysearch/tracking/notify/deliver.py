"""Hands a message on: to a webhook, or to a command. Neither takes longer than it is given."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from raysearch.tracking.notify.message import Message

TIMEOUT_S = 10.0
COMMAND_S = 30.0


class Undelivered(Exception):
    """A message did not arrive; the words hold no address and no key."""


def ways(notify: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Callable[[Message], None]]:
    """How a message is handed on, by name; each raises Undelivered."""
    found: dict[str, Callable[[Message], None]] = {}
    if variable := notify.get("webhook"):
        form = str(notify.get("form", "slack"))
        found["webhook"] = lambda message: post(variable, form, message, environ)
    if command := notify.get("command"):
        found["command"] = lambda message: run(command, message)
    return found


def missing(notify: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """What is missing for messages to arrive, in words; empty if nothing is."""
    variable = notify.get("webhook")
    if not variable:
        return ""
    address = environ.get(variable, "")
    if not address:
        return f"the environment variable {variable}, which is to hold the webhook's address, is not set"
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        return f"the environment variable {variable} holds no address that begins with https:// or http://"
    return ""


def post(variable: str, form: str, message: Message, environ: Mapping[str, str]) -> None:
    """Posts to the address that the variable holds: Slack's JSON form, or plain text.

    Raises:
        Undelivered: the variable holds no address, the server refuses, or is silent for TIMEOUT_S.
    """
    if why := missing({"webhook": variable}, environ):
        raise Undelivered(why)
    slack = json.dumps({"text": message.text}).encode()
    body, kind = (slack, "application/json") if form == "slack" else (message.text.encode(), "text/plain")
    headers = {"Content-Type": f"{kind}; charset=utf-8", "User-Agent": "raysearch", "X-Kind": message.kind}
    request = urllib.request.Request(environ[variable], body, headers, method="POST")
    try:
        within(TIMEOUT_S, lambda: urllib.request.urlopen(request, timeout=TIMEOUT_S).close())
    except urllib.error.HTTPError as error:
        raise Undelivered(f"the server of {variable} answered {error.code}") from None
    except TimeoutError:
        raise Undelivered(f"the server of {variable} did not answer within {TIMEOUT_S:g} s") from None
    except (OSError, ValueError) as error:
        what = getattr(error, "reason", None)
        words = what.strerror if isinstance(what, OSError) else type(error).__name__
        raise Undelivered(f"the server of {variable} cannot be reached ({words})") from None


def within(seconds: float, act: Callable[[], None]) -> None:
    """Calls `act` and waits so long for it; one that does not return is left behind. Raises what it raises.

    A timeout of a socket begins anew with every byte that a slow server sends.
    """
    raised: list[BaseException] = []

    def call() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001  (handed to the caller)
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True, name="notify")
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError
    if raised:
        raise raised[0]


def run(command: Sequence[str], message: Message) -> None:
    """Runs a command with the message on its stdin, and its kind and text in RAYSEARCH_KIND and _TEXT.

    Raises:
        Undelivered: it cannot be started, fails, or takes longer than COMMAND_S, after which it is ended.
    """
    told = {**os.environ, "RAYSEARCH_KIND": message.kind, "RAYSEARCH_TEXT": message.text}
    try:
        done = subprocess.run(
            [*command],
            input=message.text + "\n",
            text=True,
            capture_output=True,
            timeout=COMMAND_S,
            check=False,
            env=told,
        )
    except subprocess.TimeoutExpired:
        raise Undelivered(f"{command[0]} did not end within {COMMAND_S:g} s") from None
    except OSError as error:
        raise Undelivered(f"{command[0]} cannot be started: {error.strerror}") from None
    if done.returncode:
        said = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise Undelivered(f"{command[0]} ended with {done.returncode}: {said}")
