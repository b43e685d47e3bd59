"""What chaos did to a search, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from raysearch.bench.support import audit


@dataclass(slots=True)
class FaultTally:
    """One search: the faults injected into it, and its result.

    Attributes:
        resumes: commands started again after a fault that ended the command.
        refused: of those, commands that ended before they came to search, because of a fault.
        hands: times the command ended without a fault that explains it; each would have needed a person.
    """

    seed: int
    strategy: str
    faults: dict[str, int] = field(default_factory=dict)  # kind -> how often
    resumes: int = 0
    refused: int = 0
    hands: list[str] = field(default_factory=list)
    seconds: float = 0.0
    findings: audit.Findings = field(default_factory=audit.Findings)
    is_complete: bool = False


def summarise(tallies: list[FaultTally]) -> dict[str, Any]:
    """The sum over all searches."""
    found = [tally.findings for tally in tallies]
    faults: Counter[str] = Counter()
    for tally in tallies:
        faults.update(tally.faults)
    return {
        "faults": sum(faults.values()),
        "by_kind": dict(faults.most_common()),
        "searches": len(tallies),
        "complete": sum(tally.is_complete for tally in tallies),
        "without_a_hand": sum(tally.is_complete and not tally.hands for tally in tallies),
        "resumes": sum(tally.resumes for tally in tallies),
        "refused": sum(tally.refused for tally in tallies),
        "acknowledged": sum(f.acknowledged for f in found),
        "tried_again": sum(f.lost_attempts for f in found),
        "lost": sum(len(f.lost) for f in found),
        "doubled": sum(len(f.doubled) for f in found),
        "failed": sum(len(f.failed) for f in found),
        "torn": sum(len(f.torn) for f in found),
        "strayed": sum(len(f.strayed) for f in found),
        "same_best": sum(f.best == f.calm_best for f in found),
        "seconds": round(sum(tally.seconds for tally in tallies), 1),
        "is_clean": all(t.is_complete and not t.hands and t.findings.is_clean for t in tallies),
    }


def row(tally: FaultTally) -> dict[str, Any]:
    """One search as a row of the table."""
    found = tally.findings
    return {
        "contender": f"seed {tally.seed}",
        "strategy": tally.strategy,
        "faults": sum(tally.faults.values()),
        "seconds": round(tally.seconds, 1),
        "acknowledged": found.acknowledged,
        "tried_again": found.lost_attempts,
        "lost": len(found.lost),
        "doubled": len(found.doubled),
        "failed": len(found.failed),
        "torn": len(found.torn),
        "strayed": len(found.strayed),
        "same_best": found.best == found.calm_best,
        "hands": len(tally.hands),
    }
