"""`raysearch bench fuzz`: inputs that nobody would write, each of which must end in an answer or in words.

Of every kind of input (see `kinds`) a number of mutations is tried, each a function of the seed and its
number. A finding is a traceback, more than five seconds of processor time, an answer other than the right one
without a word, or code that an input made run. The exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

from raysearch.bench.fuzz.kinds import KINDS, Verdict, kind_named
from raysearch.bench.fuzz.pool import Tried, try_all
from raysearch.bench.support.contest import show

SHOWN = 20  # findings of a kind that are printed


def main(argv: Sequence[str]) -> int:
    """Tries the kinds that the command line names; 1 if something was found."""
    parser = argparse.ArgumentParser(prog="raysearch bench fuzz", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*KINDS], default=[*KINDS], help="kinds of input")
    parser.add_argument("--cases", type=int, help="of each kind, in place of its own number")
    parser.add_argument("--first", type=int, default=0, help="number of the first case: one finding again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args(list(argv))
    rows, notes = [], []
    for name in o.only:
        count = kind_named(name).count if o.cases is None else o.cases
        tried = try_all(name, o.seed, range(o.first, o.first + count), o.processes)
        rows.append(row(name, tried))
        notes += [str(one) for one in tried if one.verdict.is_finding][:SHOWN]
    show("fuzz", rows, notes if o.json else [], o.json)
    for note in [] if o.json else notes:
        print(note.encode("unicode_escape").decode().replace("\\n", "\n"))
    return int(any(row[verdict.value] for row in rows for verdict in Verdict if verdict.is_finding))


def row(name: str, tried: Sequence[Tried]) -> dict[str, object]:
    """How many cases of a kind came to which verdict."""
    counts = Counter(one.verdict for one in tried)
    return {"kind": name, "cases": len(tried), **{verdict.value: counts[verdict] for verdict in Verdict}}
