"""The configuration that a trainable is given: a dict, which also knows how long the strategy trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LENGTH = "max_iterations"


class TrialConfig(dict[str, Any]):
    """A trial's configuration; `config["max_iterations"]` is the strategy's, for schedules of that length.

    It is no entry: iterating, `len` and `**config` give the space's and the spec's own entries alone. One of
    that name in the space or under `config:` is used in its place.

    >>> config = TrialConfig({"lr": 0.1}, 27)
    >>> config["max_iterations"], config.get("max_iterations"), dict(config)
    (27, 27, {'lr': 0.1})
    """

    def __init__(self, entries: Mapping[str, Any], length: int | None = None) -> None:
        super().__init__(entries)
        self.length = length

    def __missing__(self, name: str) -> Any:
        if name != LENGTH or self.length is None:
            raise KeyError(name)
        return self.length

    def get(self, name: str, default: Any = None) -> Any:
        """The entry, or `default`."""
        if name in self:
            return self[name]
        return default if name != LENGTH or self.length is None else self.length

    def __reduce__(self) -> Any:
        return TrialConfig, (dict(self), self.length)

    def __deepcopy__(self, memo: dict[int, Any]) -> TrialConfig:
        from copy import deepcopy

        return TrialConfig(deepcopy(dict(self), memo), self.length)

    def copy(self) -> TrialConfig:
        """The same, which may be changed."""
        return TrialConfig(self, self.length)
