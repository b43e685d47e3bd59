"""Search strategies: pure decisions over a tree of segments. No Ray, torch, clock, files or globals."""
