"""Seeds made from keys: the same key gives the same seed in every life of a search."""

from __future__ import annotations


def fresh_seed(*key: int) -> int:
    """A seed in [0, 2^31) that is a function of the key (splitmix64; Steele et al. 2014)."""
    state = 0
    for part in key:
        state = (state + part + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 33
