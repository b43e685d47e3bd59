"""The journal of a run: append-only, columnar, durable before a worker is answered; compacted to Parquet."""
