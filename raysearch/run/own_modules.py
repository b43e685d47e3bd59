"""The modules of their own that a trainable's code imports: what they hold is part of what a run rests on."""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

MOST = 500  # modules that are looked at
OURS = ("raysearch", "ray")


def own_modules(code: Path) -> dict[str, str]:
    """Module -> hash of its file, of all that the file `code` imports, at once or through others.

    Imports inside functions count. Installed packages and Python's own do not: their versions are known
    otherwise. What cannot be found or read is left out; nothing is imported.
    """
    found: dict[str, str] = {}
    waiting = list(_imported(code, ""))
    path = [str(code.parent), *sys.path]
    while waiting and len(found) < MOST:
        name = waiting.pop(0)
        if name in found or name.split(".")[0] in OURS:
            continue
        file = _file_of(name, path)
        if file is None or file == code:
            continue
        try:
            found[name] = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
        except OSError:
            continue
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        waiting += _imported(file, package)
    return dict(sorted(found.items()))


def _imported(file: Path, package: str) -> Iterator[str]:
    """Names of modules that a file may import; of `import a.b` and `from a import b` both `a` and `a.b`."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*filter(None, above), *([node.module] if node.module else [])])
            if base:
                yield from _with_parents(base)
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names if alias.name != "*")


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


def _file_of(name: str, path: list[str]) -> Path | None:
    """The file of a module of the user's own; None for one of others, or where there is none."""
    first, *rest = name.split(".")
    if first in sys.builtin_module_names or first in sys.stdlib_module_names:
        return None
    loaded = getattr(sys.modules.get(first), "__file__", None)
    origin = loaded or getattr(PathFinder.find_spec(first, path), "origin", None)
    if not origin or not origin.endswith(".py") or not _is_own(Path(origin)):
        return None
    file = Path(origin)
    for part in rest:
        if file.name != "__init__.py":
            return None
        inner = file.parent / part
        file = inner / "__init__.py" if inner.is_dir() else inner.with_suffix(".py")
    return file if file.is_file() else None


def _is_own(file: Path) -> bool:
    if {"site-packages", "dist-packages"} & set(file.parts):
        return False
    python = Path(sysconfig.get_paths()["stdlib"])
    return python not in file.parents
