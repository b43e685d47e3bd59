"""Checkpoints of a run, on a disk or at an object store."""

from __future__ import annotations

from raysearch.storage.checkpoints.local import Checkpoints
from raysearch.storage.checkpoints.remote import checkpoints_of

__all__ = ["Checkpoints", "checkpoints_of"]
