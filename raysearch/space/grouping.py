"""Configurations with groups nested, and the same values by flat name (`group/member`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from raysearch.core.segment import Config
from raysearch.space.domains import Domain

_PLAIN = frozenset([float, int, str, bool, type(None)])  # no value of these types is a group


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a space's names.

    Attributes:
        domains: what each flat name may be.
        paths: (groups, last part) of each flat name.
        nested: True if any name is a member of a group.
    """

    domains: Mapping[str, Domain]
    paths: Mapping[str, tuple[tuple[str, ...], str]]
    nested: bool

    @classmethod
    def of(cls, domains: Mapping[str, Domain]) -> Groups:
        """The groups that these names say."""
        paths = {n: (tuple(n.split("/")[:-1]), n.split("/")[-1]) for n in domains}
        return cls(domains, paths, any("/" in n for n in domains))

    def flatten(self, config: Config) -> dict[str, Any]:
        """Values by flat name. Entries that the space does not know keep their path as a name."""
        if _PLAIN.issuperset(map(type, config.values())):
            return dict(config)
        return dict(_walk(config, "", self.domains))

    def nest(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration, groups nested, for values by flat name."""
        if not self.nested:
            return dict(values)
        config: dict[str, Any] = {}
        for name, value in values.items():
            groups, last = self.paths.get(name, ((), name))
            into = config
            for group in groups:
                into = into.setdefault(group, {})
            into[last] = value
        return config


def _walk(config: Config, prefix: str, domains: Mapping[str, Domain]) -> Iterable[tuple[str, Any]]:
    """(flat name, value) pairs; a mapping that is itself a value of a domain is not entered."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and name not in domains:
            yield from _walk(value, name + "/", domains)
        else:
            yield name, value
