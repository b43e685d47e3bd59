"""What a verdict rests on besides the settings: data, code, libraries, machine. Recorded with every run.

When one of them has changed, what a search found may no longer hold: see `changes`. A spec adds its own under
`fingerprint:`, of which `files` are hashed and counted; a trainable may have a static method `fingerprint()`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raysearch.core.user_paths import files_below, user_path
from raysearch.core.values import plain
from raysearch.core.version import __version__
from raysearch.errors import SpecError
from raysearch.run.own_modules import own_modules

LIBRARIES = ("torch", "ray", "numpy")
PRECISIONS = ("precision", "dtype", "amp")  # entries of a configuration that say it
WHOLE_BYTES = 256 << 20  # larger files are known by their size and both ends
END_BYTES = 1 << 20
COUNTED = (".csv", ".tsv", ".jsonl", ".txt")
NAMED = 8  # of the modules that have changed
GROWTH = 2.0  # of the number of rows, from which on settings are due
_GPUS = Path("/proc/driver/nvidia/gpus")


def fingerprint(spec: Any, trainable: Any) -> dict[str, Any]:
    """What the run of this spec rests on, now and here; plain values, None for what is not known.

    Raises:
        SpecError: a file named under `fingerprint.files` cannot be read.
    """
    own = dict(spec.fingerprint)
    files = own.pop("files", [])
    said = _said(trainable)
    data, rows = of_files(files)
    code = source_of(trainable)
    return {
        "data": data,
        "rows": own.pop("rows", said.pop("rows", rows)),
        "code": _hash_of(code) if code else None,
        "modules": own_modules(code) if code else None,
        "commit": _commit(code),
        "libraries": {"raysearch": __version__, "python": platform.python_version(), **_versions()},
        "gpu": gpus(),
        "precision": next((str(spec.config[k]) for k in PRECISIONS if k in spec.config), None),
        "own": plain({**said, **own}),
    }


def changes(old: Mapping[str, Any], new: Mapping[str, Any], code: str | None = None) -> list[str]:
    """What has changed so that settings may no longer hold, in words.

    What is unknown on one side is no change. `code` names where the trainable's code lies.
    """
    found = []
    rows = (old.get("rows"), new.get("rows"))
    if all(isinstance(n, (int, float)) and n > 0 for n in rows):
        before, after = float(rows[0]), float(rows[1])  # type: ignore[arg-type]
        if not 1 / GROWTH < after / before < GROWTH:
            found.append(f"rows of data: {rows[0]:,} then, {rows[1]:,} now")
    if _differ(old, new, "data"):
        found.append("the data files have changed")
    if _differ(old, new, "code"):
        found.append("the trainable's code has changed" + (f" ({code})" if code is not None else ""))
    modules = (old.get("modules") or {}, new.get("modules") or {})
    if edited := [name for name in modules[0] if modules[0][name] != modules[1].get(name, modules[0][name])]:
        more = f" and {len(edited) - NAMED} more" if len(edited) > NAMED else ""
        found.append(f"modules that the trainable imports have changed ({', '.join(edited[:NAMED])}{more})")
    if old.get("code") is None and _differ(old, new, "commit"):
        found.append(f"commit {str(old['commit'])[:10]} then, {str(new['commit'])[:10]} now")
    libraries = (old.get("libraries") or {}, new.get("libraries") or {})
    for name in LIBRARIES[:1]:
        then, now = (_minor(one.get(name)) for one in libraries)
        if then and now and then != now:
            found.append(f"{name} {then} then, {now} now")
    for name, words in (("gpu", "GPU"), ("precision", "precision")):
        if _differ(old, new, name):
            found.append(f"{words} {old[name]} then, {new[name]} now")
    theirs, ours = old.get("own") or {}, new.get("own") or {}
    for name in sorted({*theirs, *ours}):
        if theirs.get(name) != ours.get(name):
            found.append(f"{name}: {theirs.get(name)} then, {ours.get(name)} now")
    return found


def gpus() -> str | None:
    """Kinds of GPU in this machine, found without loading a library; None if it has none."""
    kinds = set()
    for file in sorted(_GPUS.glob("*/information")) if _GPUS.is_dir() else ():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "Model":
                kinds.add(value.strip())
    return ", ".join(sorted(kinds)) or None


def of_files(files: Sequence[str]) -> tuple[str | None, int | None]:
    """(hash of the contents, rows of all where every file is Parquet or a table in text)."""
    if not files:
        return None, None
    digest, rows = hashlib.blake2b(digest_size=16), 0
    known = True
    for file in files:
        path = user_path(file)
        try:
            _feed(digest, path)
            count = _rows(path)
        except OSError as error:
            raise SpecError(
                f"fingerprint.files: {error.filename or file}: {error.strerror or error}"
            ) from None
        known, rows = known and count is not None, rows + (count or 0)
    return digest.hexdigest(), rows if known else None


def _feed(digest: Any, path: Path) -> None:
    if path.is_dir():
        for inner in files_below(path):
            digest.update(f"{inner.relative_to(path)} {inner.stat().st_size}\n".encode())
        return
    size = path.stat().st_size
    digest.update(f"{size}\n".encode())
    with path.open("rb") as file:
        if size > WHOLE_BYTES:
            digest.update(file.read(END_BYTES))
            file.seek(-END_BYTES, os.SEEK_END)
        while block := file.read(END_BYTES):
            digest.update(block)


def _rows(path: Path) -> int | None:
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return int(pq.read_metadata(path).num_rows)
        except pa.ArrowInvalid as error:
            raise SpecError(f"fingerprint.files: {path} is no Parquet file: {error}") from None
    if path.suffix not in COUNTED or not path.is_file():
        return None
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(END_BYTES), b""))


def _said(trainable: Any) -> dict[str, Any]:
    """The entries that the trainable adds about its own data."""
    say = getattr(trainable, "fingerprint", None)
    if not callable(say):
        return {}
    said = say()
    if not isinstance(said, Mapping):
        raise SpecError(
            f"the trainable's fingerprint() returned {said!r}, not a mapping such as {{'rows': 1200}}"
        )
    return dict(plain(said))


def source_of(trainable: Any) -> Path | None:
    inner = getattr(trainable, "func", trainable)
    try:
        found = getattr(inner, "source_file", None) or inspect.getsourcefile(inner)
    except (OSError, TypeError):  # a class of a notebook, a REPL or `python -c`; an object that is neither
        return None
    path = Path(found) if found else None
    return path if path is not None and path.is_file() else None


def _hash_of(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _commit(code: Path | None) -> str | None:
    """The commit of the repository that holds the code; None outside a repository."""
    folder = code.parent if code is not None else Path.cwd()
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _minor(version: str | None) -> str | None:
    return ".".join(version.split("+")[0].split(".")[:2]) if version else None


def _differ(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> bool:
    then, now = old.get(name), new.get(name)
    return then is not None and now is not None and then != now
