"""What a job takes along from this machine: the options of every command that submits one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.cli import options

if TYPE_CHECKING:
    from raysearch.cluster.job_package import Parcel


@dataclass(frozen=True, slots=True)
class Travel:
    """What travels with a job."""

    working_dir: options.WorkingDir = None
    exclude: options.Exclude = None
    pip: options.Pip = None
    py_module: options.PyModule = None
    runtime_env: options.RuntimeEnv = None

    def given(self) -> list[str]:
        """The options that the user gave, such as --pip."""
        return [f"--{f.name.replace('_', '-')}" for f in fields(self) if getattr(self, f.name)]

    def parcel(self, trainable: Any, folder: Path) -> Parcel:
        """The files and packages of a job that trains `trainable`, from `folder`."""
        from raysearch.cluster.job_package import pack

        sent = (self.exclude or (), self.pip or (), self.py_module or ())
        return pack(trainable, folder, *sent, self.runtime_env)
