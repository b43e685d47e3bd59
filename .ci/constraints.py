"""Writes constraints.txt, what the tests run with, and constraints-floors.txt, the lowest that is declared.

Both hold for every Python of pyproject.toml, by markers. Pins of constraints.txt stay if they still fit.
The libraries that torch brings for CUDA are left out: each build of torch pins its own.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
UV = ROOT / ".venv" / "bin" / "uv"
CUDA = re.compile(r"(nvidia-|cuda-|triton\b|pytorch-triton)")
ELSEWHERE = re.compile(r"; .*(sys_platform|os_name|platform_system) == '(win32|nt|Windows|darwin|Darwin)'$")
TESTED = """\
# What the tests run with on Linux, CPython 3.10 to 3.13. Used by the Makefile; not needed to use raysearch.
# Written by `make constraints`, which keeps what still fits; delete a line to have its newest version.
"""
FLOORS = """\
# The lowest versions that pyproject.toml declares, and what fits beside them. Used by `make floors`.
# Written by `make constraints`.
"""


def compiled(extra: str, before: str, *options: str) -> list[str]:
    """The pins of raysearch with an extra, for all Pythons; those in `before` are kept where they fit."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "pins.txt")
        out.write_text(before)
        universal = ["--universal", "--python-version", "3.10", "--no-header", "--no-annotate", "--quiet"]
        command = [str(UV), "pip", "compile", "pyproject.toml", "--extra", extra, "-o", str(out)]
        subprocess.run([*command, *universal, *options], cwd=ROOT, check=True)
        lines = out.read_text().splitlines()
    return [line for line in lines if line and not CUDA.match(line) and not ELSEWHERE.search(line)]


def write(name: str, head: str, lines: list[str]) -> None:
    """The file, with its head."""
    (ROOT / name).write_text(head + "".join(f"{line}\n" for line in lines))


def main() -> None:
    """Writes both files."""
    tested = ROOT / "constraints.txt"
    write("constraints.txt", TESTED, compiled("dev", tested.read_text() if tested.is_file() else ""))
    write("constraints-floors.txt", FLOORS, compiled("test", "", "--resolution", "lowest-direct"))


if __name__ == "__main__":
    main()
