"""Trials whose configuration is not the one that the sampler would have proposed: counted and said."""

from __future__ import annotations

from collections import Counter
from typing import Protocol, runtime_checkable

KEPT = 4096  # trials whose words are kept until their first segment is planned


class Fallbacks:
    """A count by kind, words for each trial, and sentences for the user at the 1st, 10th, 100th, ... time.

    Attributes:
        counts: how often each kind of fall-back happened.
        notes: sentences for the user; grows.
    """

    def __init__(self, sampler: str) -> None:
        """`sampler` is what the sampler is called in the sentences."""
        self._sampler = sampler
        self._words: dict[int, str] = {}
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []

    def add(self, trial: int, kind: str, example: str = "") -> None:
        """Counts a fall-back; `kind` says what the trial is instead, and why.

        `example` is what was so this time only, such as values: it is said, and makes no kind of its own.
        """
        self.counts[kind] += 1
        self._words[trial] = said = f"{kind} ({example})" if example else kind
        while len(self._words) > KEPT:
            del self._words[next(iter(self._words))]
        n = self.counts[kind]
        if str(n).strip("0") == "1":
            times = "once" if n == 1 else f"{n:,} times"
            self.notes.append(f"sampler {self._sampler}, {times} by trial {trial}: {said}")

    def remark(self, text: str) -> None:
        """A sentence for the user, once."""
        if (note := f"sampler {self._sampler}: {text}") not in self.notes:
            self.notes.append(note)

    def of(self, trial: int) -> str:
        """What the trial is instead of the sampler's own proposal; empty where it is the sampler's own."""
        return self._words.get(trial, "")


@runtime_checkable
class CountsFallbacks(Protocol):
    """A sampler that counts its fall-backs; any sampler may."""

    @property
    def fallbacks(self) -> Fallbacks:
        """What was counted so far."""
        ...


def fallbacks_of(sampler: object, name: str) -> Fallbacks:
    """The sampler's own count, or an empty one for a sampler that keeps none."""
    return sampler.fallbacks if isinstance(sampler, CountsFallbacks) else Fallbacks(name)
