"""What the spec says of W&B, and what it comes to: whether and where to send."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from raysearch.errors import RunError
from raysearch.tracking.wandb.api_key import FILE_VARIABLE, VARIABLE, base_url, find_key

PROBE_S = 3.0
WHERE = f"{VARIABLE}, the file that {FILE_VARIABLE} names, and netrc"


@dataclass(frozen=True, slots=True)
class SendDecision:
    """Whether a search is sent while it runs, and why, in words."""

    send: bool
    why: str


def decide(wandb: Mapping[str, Any], run: str) -> SendDecision:
    """What the mode comes to here and now. A spec without `wandb:` sends nothing.

    Raises:
        RunError: the mode is online and there is no key.
    """
    mode = wandb.get("mode", "auto") if wandb else "off"
    later = f"send it at any time: raysearch wandb push {run}"
    if mode == "off":
        return SendDecision(False, "")
    if mode == "offline":
        return SendDecision(False, f"W&B: offline, nothing is sent; {later}")
    if mode == "auto" and (asked := os.environ.get("WANDB_MODE", "")) in ("offline", "disabled", "dryrun"):
        return SendDecision(False, f"W&B: WANDB_MODE is {asked}, nothing is sent; {later}")
    check(wandb)
    key, server = find_key(), base_url()
    if key is None:
        where = f"a key is looked for in {WHERE}"
        return SendDecision(False, f"W&B: no key for {server}, nothing is sent ({where}); {later}")
    if mode == "auto" and not answers(server):
        return SendDecision(
            False, f"W&B: {server} did not answer within {PROBE_S:g} s, nothing is sent; {later}"
        )
    return SendDecision(True, f"W&B: sending to {server}")


def check(wandb: Mapping[str, Any]) -> None:
    """Raises RunError if the mode is online and there is no key; to be asked before anything starts."""
    if wandb.get("mode") == "online" and find_key() is None:
        raise RunError(
            f"wandb.mode: online, and there is no key for {base_url()}; one is looked for in {WHERE} "
            "(wandb login). Or write mode: auto"
        )


def answers(server: str, timeout_s: float = PROBE_S) -> bool:
    """Whether anything at all answers HTTP there; it may well refuse."""
    if urlsplit(server).scheme not in ("http", "https"):
        return False
    try:
        urllib.request.urlopen(f"{server}/healthz", timeout=timeout_s).close()
    except urllib.error.HTTPError:
        return True
    except (TimeoutError, OSError, ValueError):
        return False
    return True
