"""What a job gets of this machine: the options for it, declared once for every command that submits one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.cli import options

if TYPE_CHECKING:
    from raysearch.cluster.job_package import Parcel


@dataclass(frozen=True, slots=True)
class Travel:
    """What travels with a job; each field is an option of the commands."""

    working_dir: options.WorkingDir = None
    exclude: options.Exclude = None
    pip: options.Pip = None
    py_module: options.PyModule = None
    runtime_env: options.RuntimeEnv = None

    def given(self) -> list[str]:
        """The options that were given, for who did not ask for a job."""
        return [f"--{name.replace('_', '-')}" for name in FIELDS if getattr(self, name)]

    def parcel(self, trainable: Any, folder: Path) -> Parcel:
        """Packed for a search of `trainable` out of `folder`."""
        from raysearch.cluster.job_package import pack

        sent = (self.exclude or (), self.pip or (), self.py_module or ())
        return pack(trainable, folder, *sent, self.runtime_env)


FIELDS = inspect.signature(Travel, eval_str=True).parameters


def with_travel(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of `Travel` as options, in place of its parameter `travel`."""

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        travel = Travel(**{name: given.pop(name) for name in FIELDS})
        command(travel=travel, **given)

    own = inspect.signature(command, eval_str=True)
    asked = [*(p for p in own.parameters.values() if p.name != "travel"), *FIELDS.values()]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in asked]
    with_options.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options
