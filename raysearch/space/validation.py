"""Whether the parts of a space fit together: its names, and the order in which conditions are decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from raysearch.errors import LocatedError, SpecError, located, unknown
from raysearch.space.conditions import Condition
from raysearch.space.domains import KINDS, Domain
from raysearch.space.names import RESERVED, WHEN, check_depth, dotted

NAMES_MAX = 1_000  # hyper-parameters of a space
SHOWN = 6  # names of a circle of conditions


def grouped(names: Iterable[str]) -> list[str]:
    """`names` with each group's members together, where its first one stood: the order of the YAML form."""
    tree: dict[str, Any] = {}
    for name in names:
        into = tree
        for part in name.split("/"):
            into = into.setdefault(part, {})
    return list(_leaves(tree, ""))


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterable[str]:
    for part, below in tree.items():
        yield from _leaves(below, f"{prefix}{part}/") if below else (prefix + part,)


def check_names(domains: Mapping[str, Domain]) -> None:
    """Raises LocatedError for names that are ambiguous or cannot be written."""
    if len(domains) > NAMES_MAX:
        raise LocatedError(
            "",
            f"{len(domains):,} hyper-parameters; at most {NAMES_MAX:,}: entries that never change belong "
            "under config, and values that are drawn together into one choice of mappings",
        )
    spelt: dict[str, str] = {}
    for name, domain in domains.items():
        with located(dotted(str(name))):
            _check_name(name, domain, domains)
            if (other := spelt.setdefault(dotted(name), name)) != name:
                raise SpecError(f"{name!r} and {other!r} are both written {dotted(name)}; rename one")


def _check_name(name: str, domain: Domain, domains: Mapping[str, Domain]) -> None:
    parts = name.split("/") if isinstance(name, str) else [""]
    if not all(parts):
        raise SpecError(f"the name {name!r} cannot be used; names are non-empty text")
    if not isinstance(domain, Domain):
        raise SpecError(f"{domain!r} is not a domain; use {', '.join(sorted(KINDS))}")
    check_depth(len(parts))
    below = parts[1:]  # a group may be called like a domain, a member of a group may not
    taken = bool(below) and (below[-1] in KINDS or not {"fixed", WHEN}.isdisjoint(below))
    if parts[0] == RESERVED or taken:
        raise SpecError(f"the name {name!r} is a word of the space's own form; choose another")
    groups = ("/".join(parts[:k]) for k in range(1, len(parts)))
    if (group := next((one for one in groups if one in domains), None)) is not None:
        raise SpecError(f"{dotted(group)} is both a hyper-parameter and a group")


def activation_order(domains: Mapping[str, Domain], conditions: Mapping[str, Condition]) -> tuple[str, ...]:
    """Conditional names, each after those it depends on. Raises LocatedError if there is no such order."""
    for name, condition in conditions.items():
        with located(dotted(name)):
            if name not in domains:
                raise SpecError(unknown("name", name, domains))
            condition.check(domains)
    waiting = {name: {p for p in c.names if p in conditions} for name, c in conditions.items()}
    below: dict[str, list[str]] = {name: [] for name in conditions}
    for name, parents in waiting.items():
        for parent in parents:
            below[parent].append(name)
    order = [name for name, parents in waiting.items() if not parents]
    for parent in order:  # grows on the way
        for name in below[parent]:
            waiting[name].discard(parent)
            if not waiting[name]:
                order.append(name)
    if len(order) < len(conditions):
        raise _cycle({name: c for name, c in conditions.items() if waiting[name]})
    return tuple(order)


def _cycle(waiting: Mapping[str, Condition]) -> SpecError:
    """The error for conditions that wait for each other, with the shortest walk that shows it."""
    path = [next(iter(waiting))]
    while path[-1] not in path[:-1]:
        path.append(next(p for p in waiting[path[-1]].names if p in waiting))
    loop = path[path.index(path[-1]) :]
    if len(loop) > SHOWN:
        loop = [*loop[: SHOWN - 2], "...", *loop[-2:]]
    text = " depends on ".join(map(dotted, loop))
    return LocatedError(dotted(loop[0]), f"the conditions go in a circle: {text}")
