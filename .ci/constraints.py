"""Writes the pins that the tests run with, the hashes of their files, and the lowest declared versions.

constraints.txt and constraints-floors.txt hold for every Python of pyproject.toml, by markers. Pins of
constraints.txt stay if they still fit. The libraries that torch brings for CUDA are left out of the pins:
each build of torch pins its own. .ci/hashes.txt has them, for the build that the package index has.
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


HASHES = """\
# SHA-256 of every file of the releases in constraints.txt, a release a line, for .ci/verify.py.
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
    return [line for line in lines if line and not ELSEWHERE.search(line)]


def hashes(pinned: str) -> list[str]:
    """`name==version sha256 ...` for each release that `pinned` leads to."""
    lines = " ".join(compiled("dev", pinned, "--generate-hashes")).replace("\\", " ")
    parts = re.split(r"\s(?=[\w.-]+==)", lines)
    found = [(part.split()[0], re.findall(r"--hash=sha256:(\w+)", part)) for part in parts]
    return [" ".join([release, *digests]) for release, digests in found]


def write(name: str, head: str, lines: list[str]) -> None:
    """The file, with its head."""
    (ROOT / name).write_text(head + "".join(f"{line}\n" for line in lines))


def main() -> None:
    """Writes both files."""
    tested = ROOT / "constraints.txt"
    pins = compiled("dev", tested.read_text() if tested.is_file() else "")
    write("constraints.txt", TESTED, [line for line in pins if not CUDA.match(line)])
    write(".ci/hashes.txt", HASHES, hashes(tested.read_text()))
    floors = compiled("test", "", "--resolution", "lowest-direct")
    write("constraints-floors.txt", FLOORS, [line for line in floors if not CUDA.match(line)])


if __name__ == "__main__":
    main()
