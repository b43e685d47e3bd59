"""What a worker does: it restores, trains and saves segments, one at a time or in packs."""
