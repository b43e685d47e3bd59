"""The columns of a journal: how outcomes and events look as Arrow rows.

One schema serves the log and the Parquet parts. What repeats is kept out of the rows:

- A config is its `shape`, JSON text naming the entries and holding those that are no numbers, and its
  `numbers`. `{"lr": 0.1, "layers": 3, "optimizer": "adamw"}` is
  `[["lr","f"],["layers","i"],["optimizer","=","adamw"]]` with `[0.1, 3.0]`; a number in a nested dict has
  a path for a name: `[["model","lr"],"f"]`. Few shapes occur in a search, so they compress to nothing,
  and tables are built from the numbers without parsing text.
- A curve is `metrics`, JSON text naming them, and `values`, one metric after the other.
- What the strategy decided of an outcome's segment, and why it failed, is the JSON text in `detail`
  (`decisions`).
- What optimizers held (`Outcome.used`) stands among the metrics, under names that begin with `@used/`.
- A segment's id is (trial << ORDINAL_BITS) + `ordinal`, its parent's id is id - `back`.

Floats keep every bit, NaN and infinities too. An event of the run is a row with `event` set, and
`detail` its JSON. `encode` makes rows, `decode` reads them, and `config_columns` has the part of both that
is about configs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa

SCHEMA = pa.schema(
    [
        ("trial", pa.int64()),
        ("ordinal", pa.int64()),
        ("back", pa.int64()),
        ("role", pa.string()),
        ("source", pa.int64()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("seed", pa.uint64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("shape", pa.string()),
        ("numbers", pa.list_(pa.float64())),
        ("metrics", pa.string()),
        ("values", pa.list_(pa.float64())),
        ("checkpoint", pa.string()),
        ("seconds", pa.float64()),
        ("worker", pa.string()),
        ("error", pa.string()),
        ("done", pa.bool_()),
        ("finished_at", pa.float64()),
        ("event", pa.string()),
        ("detail", pa.string()),
    ]
)


USED = "@used/"


class JournalEvent(NamedTuple):
    """Something that happened to the run and is no outcome."""

    kind: str
    detail: dict[str, Any]
    at: float
