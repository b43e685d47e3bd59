"""Spaces and sweep files of others: Ray Tune, Optuna, ConfigSpace, W&B."""
