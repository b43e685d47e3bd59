"""The package of a job: the working directory, the user's modules, the versions used here.

Pure but for looking at the file system; `jobs` sends it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import raysearch
from raysearch.cluster.versions import VARIABLE, versions
from raysearch.core.user_paths import user_path
from raysearch.errors import SpecError, unknown
from raysearch.storage.object_store import is_address, parse_address

STOP_WAIT_S = 60  # between a stop and a kill; Ray's own 3 seconds are too few to save what is in training
EXCLUDED = (".git", ".venv", "venv", "__pycache__", ".mypy_cache", ".pytest_cache", "/runs")


@dataclass(frozen=True, slots=True)
class Parcel:
    """The files and packages of this machine that a job gets: Ray's runtime_env, and remarks for the user."""

    runtime_env: dict[str, Any]
    notes: tuple[str, ...] = ()


def pack(
    trainable: Any,
    working_dir: Path,
    excludes: Sequence[str] = (),
    pip: Sequence[str] = (),
    py_modules: Sequence[str] = (),
    runtime_env: Path | None = None,
) -> Parcel:
    """The runtime_env of a job that trains `trainable` out of `working_dir`.

    Args:
        runtime_env: a YAML file with more of it (pip, conda, env_vars, ...); what is given here adds to it.

    Raises:
        SpecError: the trainable's file is not in the working directory, or the YAML file is no mapping.
    """
    environment = _read(runtime_env) if runtime_env else {}
    modules, notes = _modules(trainable, working_dir)
    environment["working_dir"] = str(working_dir.resolve())
    environment["excludes"] = [*environment.get("excludes", ()), *EXCLUDED, *excludes]
    if listed := [*environment.get("py_modules", ()), *py_modules, *map(str, modules)]:
        environment["py_modules"] = listed
    if pip:
        environment["pip"] = _with_packages(environment.get("pip"), pip)
    environment["env_vars"] = {
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S),
        "PYTHONUNBUFFERED": "1",
        VARIABLE: json.dumps(versions()),
        **environment.get("env_vars", {}),
    }
    return Parcel(environment, tuple(notes))


def check_relative(spec: Path) -> None:
    """Raises SpecError for a trainable's file that is written as a path of this machine.

    Args:
        spec: the YAML file as it travels; reading it as a spec would make every such path absolute.
    """
    from raysearch.core.yaml_io import read_yaml

    written = read_yaml(spec.read_text("utf-8"), spec.name)
    text = written.get("trainable") if isinstance(written, dict) else None
    if isinstance(text, str) and text.startswith(("/", "~")) and ".py:" in text:
        raise SpecError(
            f"{spec.name} [trainable]: {text!r} is a path of this machine; write it relative to the spec"
        )


def check_storage(storage: str) -> None:
    """Raises SpecError for a folder that a job would write into its own, passing, working directory."""
    if "://" not in storage and not storage.startswith(("/", "~")):
        raise SpecError(
            f"storage: {storage!r} is relative: on the cluster it would lie in the job's working directory, "
            "which Ray deletes after the job. Give --storage a folder that all its nodes see (/shared/runs), "
            "or a store (s3://bucket/runs)"
        )


def run_of(storage: str, name: str) -> str:
    """Where the run of that name lies: a folder, or an address.

    Raises:
        SpecError: the storage is a wrong address.
    """
    if not is_address(storage):
        return f"{storage.rstrip('/')}/{name}"
    return str(parse_address(storage).under(name))


def folder_and_spec(spec: str, working_dir: Path | None) -> tuple[Path, str]:
    """(working directory, the spec as a path in it or an example's name).

    Raises:
        SpecError: there is no such file or example, or it lies outside the working directory.
    """
    from raysearch import examples

    folder = user_path(working_dir or Path())
    if not folder.is_dir():
        raise SpecError(f"--working-dir {folder}: there is no such folder")
    is_file = spec.endswith((".yaml", ".yml")) or Path(spec).is_file()
    if not is_file and spec in examples.names():
        return folder, spec
    if not is_file:
        raise SpecError(f"there is no file {spec!r}, and {unknown('example', spec, examples.names())}")
    path = Path(spec) if Path(spec).is_file() else folder / spec
    if not path.is_file():
        raise SpecError(f"there is no file {spec!r} (looked in {Path.cwd()} and {folder.resolve()})")
    try:
        return folder, path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise SpecError(
            f"{spec} is not in the working directory {folder.resolve()}, which is what the cluster gets: "
            "give --working-dir, or copy it there"
        ) from None


def trainable_file(trainable: Any, working_dir: Path) -> str | None:
    """The trainable's file as a path in the working directory; None for module:attribute.

    Raises:
        SpecError: it does not lie there.
    """
    where = trainable.rpartition(":")[0] if isinstance(trainable, str) else ""
    if not where.endswith(".py"):
        return None
    file, folder = working_dir / user_path(where), working_dir.resolve()
    if file.is_file() and file.resolve().is_relative_to(folder):
        return file.resolve().relative_to(folder).as_posix()
    raise SpecError(
        f"trainable {trainable!r}: there is no such file in the working directory {folder}, which is what "
        "the cluster gets: put it there, or give another --working-dir"
    )


def by_interpreter(command: Sequence[str]) -> list[str]:
    """A command of raysearch as the cluster's interpreter runs it, whatever is called so in its PATH."""
    return ["python", "-m", "raysearch.cli", *command[1:]] if command[:1] == ["raysearch"] else [*command]


def with_raysearch(environment: Mapping[str, Any]) -> dict[str, Any]:
    """A job's runtime_env, in which the raysearch of this machine travels along, unless it names another."""
    listed = [*environment.get("py_modules", ())]
    installs = [environment.get(key, "") for key in ("pip", "uv", "conda", "image_uri", "container")]
    if "raysearch" in f"{installs}{[Path(str(module)).name for module in listed]}":
        return dict(environment)
    return {**environment, "py_modules": [*listed, str(Path(raysearch.__file__).parent)]}


# ---- inside


def _modules(trainable: Any, working_dir: Path) -> tuple[list[Path], list[str]]:
    """(folders of packages to send besides the working directory, remarks)."""
    if trainable_file(trainable, working_dir) is not None or not isinstance(trainable, str):
        return [], []
    top = trainable.rpartition(":")[0].split(".")[0]
    if top in ("raysearch", "ray"):
        return [], []
    if importlib.machinery.PathFinder.find_spec(top, [str(working_dir.resolve())]):
        return [], []
    place = _place_of(top)
    if place is None:
        return [], [f"the trainable's module {top} is not installed here: it has to be on the cluster"]
    if "site-packages" in place.parts or "dist-packages" in place.parts:
        return [], [
            f"the trainable's package {top} is an installed one: the cluster needs it too (--pip {top})"
        ]
    return [place], [f"the trainable's package {top} travels along, from {place}"]


def _place_of(top: str) -> Path | None:
    """Where a top-level module lies: a package's folder, or a file; None where it cannot be found."""
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    if found.submodule_search_locations:
        return Path(next(iter(found.submodule_search_locations)))
    return Path(found.origin) if found.origin and found.origin.endswith(".py") else None


def _read(file: Path) -> dict[str, Any]:
    from raysearch.core.yaml_io import read_yaml

    try:
        written = read_yaml(file.read_text("utf-8"), file.name)
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"--runtime-env {file}: cannot be read: {error}") from None
    if not isinstance(written, dict):
        raise SpecError(f"--runtime-env {file}: holds {type(written).__name__}, not a mapping")
    return {str(key): value for key, value in written.items()}


def _with_packages(there: Any, packages: Sequence[str]) -> Any:
    """The `pip` entry of a runtime_env, with further packages."""
    if isinstance(there, dict):
        return {**there, "packages": [*there.get("packages", ()), *packages]}
    if isinstance(there, str):
        raise SpecError("--pip adds to a list of packages; the runtime env names a requirements file")
    return [*(there or ()), *packages]
