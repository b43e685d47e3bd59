"""Names under which a trainable may report something, and which mean something else already."""

from __future__ import annotations

# What Ray Tune writes into every report: no metrics, whoever reports them.
RAYS_OWN = frozenset(
    [
        "trial_id",
        "date",
        "timestamp",
        "time_this_iter_s",
        "time_total_s",
        "pid",
        "hostname",
        "node_ip",
        "config",
        "time_since_restore",
        "iterations_since_restore",
        "timesteps_since_restore",
        "training_iteration",
        "done",
        "timesteps_total",
        "episodes_total",
        "timesteps_this_iter",
        "episodes_this_iter",
        "should_checkpoint",
        "checkpoint_dir_name",
        "experiment_tag",
    ]
)

KEYS = ("trial", "segment", "iteration")  # columns that say where a value of a curve belongs


def column_of(metric: str) -> str:
    """The column of a metric in `Results.curves`: its own name, or `metric.NAME` where that is a key."""
    return f"metric.{metric}" if metric in KEYS else metric
