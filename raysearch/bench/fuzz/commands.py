"""Commands as people start them, run in this process."""

from __future__ import annotations

import runpy
import sys

from raysearch.bench.fuzz.kinds import OtherAnswer

CODES = (0, 2, 75, 130)  # of the command line: see raysearch.cli


def command(*words: str) -> int:
    """The exit code of `raysearch WORDS`.

    Raises:
        OtherAnswer: it is none that the command line promises.
    """
    before, sys.argv = sys.argv, ["raysearch", *words]
    try:
        runpy.run_module("raysearch.cli", run_name="__main__")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if code not in CODES:
            raise OtherAnswer(f"the exit code is {ended.code!r}") from None
        return code
    finally:
        sys.argv = before
    return 0
