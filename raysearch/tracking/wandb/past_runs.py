"""Runs of a W&B project as JSON lines: `python -m raysearch.tracking.wandb.past_runs ENTITY/PROJECT FILE [KEY...]`.

The key comes through stdin. A line is a run: id, name, state, config, summary, and where KEYs are given, its
history of them, of which the server samples SAMPLES points where there are more.
"""  # noqa: E501

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb

from raysearch.core.error_text import in_words
from raysearch.tracking.wandb.api_key import VARIABLE

SAMPLES = 1000
TIMEOUT_S = 60


def runs(path: str, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The runs of ENTITY/PROJECT, one at a time; what cannot be written as JSON is left out of them."""
    for run in wandb.Api(timeout=TIMEOUT_S).runs(path, lazy=False, per_page=100):
        yield {
            "id": run.id,
            "name": run.name,
            "state": run.state,
            "config": _plain(run.config),
            "summary": _plain(getattr(run.summary, "_json_dict", {})),
            "history": run.history(samples=SAMPLES, keys=[*keys], pandas=False) if keys else [],
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items() if not str(name).startswith("_wandb")}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def main(arguments: Sequence[str]) -> int:
    """Writes the file; 0, or 1 with the reason on stderr."""
    path, file, *keys = arguments
    os.environ[VARIABLE] = sys.stdin.readline().strip()
    os.environ["WANDB_SILENT"] = "true"
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    try:
        with Path(file).open("w", encoding="utf-8") as lines:
            for run in runs(path, keys):
                lines.write(json.dumps(run) + "\n")
    except Exception as error:  # noqa: BLE001  (whatever the client raises of the server)
        print(in_words(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # not through the client's exit hooks, which wait for a server that is away
