"""Names in a space: `group/member` within, `group.member` for users; and the words they may not be."""

from __future__ import annotations

from collections.abc import Iterable

from raysearch.errors import SpecError

RESERVED = "constraints"
WHEN = "when"
DEPTH_MAX = 30  # groups inside one another


def dotted(name: str) -> str:
    """`model.lr` for `model/lr`, as users write it."""
    return name.replace("/", ".")


def flat_name(spelt: str, known: Iterable[str]) -> str:
    """The flat name that people write as `spelt`, with dots between group and member or in the name itself.

    `model.lr` is `model/lr`, and `trainer.lr` a name of that very spelling. Where no name is so called, dots
    are read as groups.
    """
    names = list(known)
    if spelt in names:
        return spelt
    wanted = dotted(spelt)
    return next((name for name in names if dotted(name) == wanted), spelt.replace(".", "/"))


def check_depth(depth: int) -> None:
    """Raises SpecError for a name with more than DEPTH_MAX groups around it."""
    if depth > DEPTH_MAX:
        raise SpecError(f"more than {DEPTH_MAX} groups stand inside one another; leave some out")
