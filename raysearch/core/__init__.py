"""Value types and small pure helpers for every floor: segments, outcomes, budgets, formatting."""
