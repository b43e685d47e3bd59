"""Files: names, atomic writes, locks, object stores, and below them the journal and the checkpoints."""
