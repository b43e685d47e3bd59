"""What pip installs on the nodes: raysearch of a wheel or checkout that the user names, never of an index."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from raysearch.cluster.render.layout import Layout
from raysearch.cluster.versions import ray_version
from raysearch.core.user_paths import user_path
from raysearch.core.version import DISTRIBUTION, __version__
from raysearch.errors import SpecError

FOLDER = "raysearch-install"  # in the home folder of each machine
PREPARED = ("slurm", "kuberay-cluster")  # kinds on whose machines nothing is installed unless it is named
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*(.*)", re.DOTALL)
_LOCAL = re.compile(r"(.*?)(\[[A-Za-z0-9._, -]*\])?", re.DOTALL)
_HOW = (
    "name a wheel or checkout of raysearch, such as --install dist/"
    f"{DISTRIBUTION.replace('-', '_')}-{__version__}-py3-none-any.whl (in a checkout, "
    "`pip wheel --no-deps -w dist .` makes one), "
    "a wheel's https:// address, or an --image that holds raysearch"
)


@dataclass(frozen=True, slots=True)
class Package:
    """One package: what pip is told, and the file or folder of this machine that it is, if it is one."""

    words: str
    extras: str = ""
    local: Path | None = None

    @property
    def on_node(self) -> str:
        """Where a local one lies on each machine, below its home folder."""
        return f"{FOLDER}/{self.local.name}" if self.local else ""


def packages(layout: Layout, kind: str) -> list[Package]:
    """What pip installs on each node; Ray at the version of this machine too, where the image may lack it.

    Raises:
        SpecError: raysearch would come from an index, or from nowhere, or the nodes cannot get a local file.
    """
    found = [_package(text) for text in layout.install]
    local = next((package for package in found if package.local is not None), None)
    if local is not None and kind.startswith("kuberay"):
        raise SpecError(
            f"--install {local.words}: pods do not see a file of this machine; give the https:// address of "
            "a wheel, or an --image that holds raysearch"
        )
    if kind in PREPARED or layout.image:
        return found
    named = local is not None or any("raysearch" in text for text in (*layout.install, *layout.setup))
    if not named and kind != "ssh":  # a machine of one's own may have it
        raise SpecError(f"--install: nothing says where the nodes get raysearch from; {_HOW}")
    if kind.startswith("kuberay") or any(_name(package.words) == "ray" for package in found):
        return found
    return [Package(f"ray[default]=={ray_version()}"), *found]


def _package(text: str) -> Package:
    """The package that a text names.

    Raises:
        SpecError: it would be fetched from an index by a name of raysearch.
    """
    match = _LOCAL.fullmatch(text)
    assert match is not None
    where, extras = user_path(match[1]), match[2] or ""
    if (where.exists() and ("/" in match[1] or match[1] == "." or where.suffix == ".whl")) or (
        where.suffix == ".whl" and "://" not in text
    ):
        return _of_this_machine(text, where, extras)
    if _name(text) in ("raysearch", DISTRIBUTION) and not re.search(r"@\s*\w+(\+\w+)?://", text):
        raise SpecError(
            f"--install {text}: on a package index that name is not raysearch's (yet): pip would install "
            f"somebody else's code; {_HOW}"
        )
    return Package(text)


def _of_this_machine(text: str, where: Path, extras: str) -> Package:
    if not where.exists():
        raise SpecError(f"--install {text}: there is no file {where}")
    is_checkout = where.is_dir() and (where / "pyproject.toml").is_file()
    if where.suffix != ".whl" and not is_checkout:
        raise SpecError(f"--install {text}: is neither a wheel (*.whl) nor a folder with a pyproject.toml")
    is_ours = where.name.startswith(DISTRIBUTION.replace("-", "_")) or (where / "raysearch").is_dir()
    return Package(text, extras or ("[cluster]" if is_ours else ""), where.resolve())


def _name(text: str) -> str:
    """The name in a requirement, as an index compares it; "" for what has none, such as an address."""
    match = _NAME.fullmatch(text.strip())
    if match is None or match[3].startswith(("://", ":", "/", "+")):
        return ""
    return re.sub(r"[-_.]+", "-", match[1]).lower()
