"""A set of segment ids that holds a million in a megabyte."""

from __future__ import annotations

from raysearch.core.segment import ORDINAL_BITS

_ORDINALS = (1 << ORDINAL_BITS) - 1


class IdSet:
    """One byte a trial while trials are few and short, else a plain set."""

    __slots__ = ("_bits", "_rest")

    def __init__(self) -> None:
        self._bits = bytearray()
        self._rest: set[int] = set()

    def __contains__(self, item: int) -> bool:
        trial, ordinal = item >> ORDINAL_BITS, item & _ORDINALS
        if ordinal < 8 and trial < 1 << 28:
            return trial < len(self._bits) and bool(self._bits[trial] >> ordinal & 1)
        return item in self._rest

    def add(self, item: int) -> None:
        """Puts `item` in."""
        trial, ordinal = item >> ORDINAL_BITS, item & _ORDINALS
        if ordinal >= 8 or trial >= 1 << 28:
            self._rest.add(item)
            return
        if trial >= len(self._bits):
            self._bits.extend(bytes(max(1024, trial - len(self._bits) + 1, len(self._bits) // 4)))
        self._bits[trial] |= 1 << ordinal
