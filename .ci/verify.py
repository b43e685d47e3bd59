"""Checks what pip has just installed against .ci/hashes.txt: `python -I .ci/verify.py ENVIRONMENT REPORT`.

REPORT is what `pip install --report` wrote. Run it with another Python than the environment's, since a
package may run code whenever that one starts. Where a file is not listed, the environment is deleted and
the exit code is 1. A local build (`torch==2.13.0+cpu`) is only said: the public index has none, so the
machine's owner chose its source.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

LIST = Path(__file__).with_name("hashes.txt")


def listed(text: str) -> dict[str, set[str]]:
    """SHA-256 of all files of a release, by `name==version`, from the lines of hashes.txt."""
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return {release: set(hashes) for release, *hashes in lines}


def releases(report: dict) -> dict[str, str | None]:
    """SHA-256 of each file that pip installed, by `name==version`; not of folders (raysearch itself)."""
    found = {}
    for item in report["install"]:
        source, about = item["download_info"], item["metadata"]
        if "dir_info" not in source:
            name = re.sub(r"[-_.]+", "-", about["name"]).lower()
            found[f"{name}=={about['version']}"] = (
                source.get("archive_info", {}).get("hashes", {}).get("sha256")
            )
    return found


def main(environment: str, report: str) -> int:
    """0 where every installed file is listed or a local build, else 1 after the environment was deleted."""
    known = listed(LIST.read_text())
    installed = releases(json.loads(Path(report).read_text()))
    other = {release: digest for release, digest in installed.items() if digest not in known.get(release, ())}
    local = sorted(release for release in other if "+" in release)
    if local:
        print(f"not checked against .ci/hashes.txt, as local builds: {', '.join(local)}", file=sys.stderr)
    if len(local) == len(other):
        return 0
    shutil.rmtree(environment)
    print(
        f"{environment} was deleted: pip installed files that .ci/hashes.txt does not list:", file=sys.stderr
    )
    for release in sorted(other.keys() - local):
        print(f"  {release}, sha256 {other[release]}", file=sys.stderr)
    print("Find out where pip took them from (pip config list).", file=sys.stderr)
    print("Where the pins have changed, `make constraints` writes the list anew.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
