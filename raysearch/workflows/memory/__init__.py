"""Memory across searches: what earlier runs found, and what of it a new search may use.

Public as `raysearch.memory`:

    memory = raysearch.memory.Memory("memory")                   # a folder, or s3://bucket/memory
    memory.add(raysearch.memory.record_of(results, task="digits", now=time.time()))
    print(raysearch.memory.helped(results))                      # how much the memory helped a search
"""

from __future__ import annotations

from raysearch.workflows.memory.effect import Helped, helped
from raysearch.workflows.memory.recall import Record, importance_table
from raysearch.workflows.memory.store import Memory, MemoryContent, record_of

__all__ = ["Helped", "Memory", "MemoryContent", "Record", "helped", "importance_table", "record_of"]
