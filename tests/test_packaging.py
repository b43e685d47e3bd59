from __future__ import annotations

import email
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

import raysearch
from raysearch import examples
from raysearch.core.version import DISTRIBUTION

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
STEM = DISTRIBUTION.replace("-", "_")  # in names of files
LINKS = {"strategies": "raysearch/strategies", "cluster": "raysearch/cluster"}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|srv|root|Users|home/(?!ray\b))[/\w.]*/[a-z.]")
REGISTRY = re.compile(r"index.url|find.links|https?://[^ \"]*/(?:simple|packages)/|pypi\.org|pythonhosted")


def run(*command: str, cwd: Path = ROOT, path: Path | None = None) -> str:
    """What the command prints; its error output is in the failure."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(path)} if path else None
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def source_files() -> list[str]:
    """Files of the project: tracked, or new and not ignored."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    return [name for name in listed if (ROOT / name).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, so that nothing stale gets in and nothing is left behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in source_files():
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / "source" / name, follow_symlinks=False)
    run(
        sys.executable,
        "-m",
        "build",
        "--sdist",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        cwd=folder / "source",
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel is installed, without its dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--target", str(folder)]
    run(sys.executable, "-m", "pip", "install", *options, str(wheel))
    return folder


def in_wheel(source: str) -> str:
    """Where a source file lies in the wheel."""
    top, _, rest = source.partition("/")
    return f"{LINKS[top]}/{rest}" if top in LINKS else source


def test_the_wheel_has_every_module_of_the_package_and_no_other(names: Sequence[str]) -> None:
    tops = ("raysearch/", "strategies/", "cluster/", "hydra_plugins/")
    modules = {in_wheel(name) for name in source_files() if name.startswith(tops) and name.endswith(".py")}
    assert {name for name in names if name.endswith(".py")} == modules
    assert {"raysearch/strategies/base.py", "raysearch/cluster/__init__.py"} <= modules


def test_the_wheel_has_the_examples_specs_the_templates_the_type_marker_and_the_licence(
    names: Sequence[str],
) -> None:
    specs = {str(examples.path(name).relative_to(ROOT)) for name in examples.names()}
    assert specs | {"raysearch/py.typed", "raysearch/cluster/templates/slurm.sh"} <= {*names}
    assert [name for name in names if name.endswith("/LICENSE")] == [
        f"{STEM}-{raysearch.__version__}.dist-info/licenses/LICENSE"
    ]


def test_the_wheel_has_one_package_and_hydra_s_namespace_at_its_top_and_so_no_tests(
    names: Sequence[str],
) -> None:
    tops = {name.split("/")[0] for name in names}
    assert tops == {"raysearch", "hydra_plugins", f"{STEM}-{raysearch.__version__}.dist-info"}
    assert "hydra_plugins/__init__.py" not in names, "Hydra's other plugins would not be found"


def test_both_archives_hold_what_an_index_asks_for_and_its_page_can_be_drawn(wheel: Path) -> None:
    pytest.importorskip("twine", reason="twine is not installed")
    (sdist,) = wheel.parent.glob("*.tar.gz")
    said = run(sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist))
    assert said.count("PASSED") == 2
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml", "raysearch/launch.py", "strategies/base.py"} <= names


def test_the_citation_names_the_project_as_pyproject_does() -> None:
    citation = yaml.safe_load((ROOT / ".github" / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["license"] == project["license"]
    assert [author["name"] for author in citation["authors"]] == [each["name"] for each in project["authors"]]
    assert citation["title"] == "raysearch"
    assert {"cff-version", "message", "type"} <= set(citation)


def test_the_version_is_said_once_and_the_same_everywhere(wheel: Path, installed: Path) -> None:
    (metadata,) = installed.glob(f"{STEM}-*.dist-info/METADATA")
    assert email.message_from_string(metadata.read_text())["Version"] == raysearch.__version__
    assert wheel.name.startswith(f"{STEM}-{raysearch.__version__}-")


def test_the_command_is_installed(installed: Path) -> None:
    (entries,) = installed.glob(f"{STEM}-*.dist-info/entry_points.txt")
    assert "raysearch = raysearch.cli:main" in entries.read_text().splitlines()


@pytest.mark.parametrize("first", ["raysearch.strategies, raysearch.cluster", "strategies, cluster"])
def test_a_users_own_strategies_folder_and_ours_do_not_shadow_each_other(
    installed: Path, tmp_path: Path, first: str
) -> None:
    for name in ("strategies", "cluster"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    code = f"""
import {first}
import raysearch.strategies.base, raysearch.cluster, strategies, cluster
print(strategies.__file__, cluster.__file__)
print(raysearch.strategies.base.__file__, raysearch.cluster.__file__)
"""
    theirs, ours = run(sys.executable, "-c", code, cwd=tmp_path, path=installed).splitlines()
    assert theirs == f"{tmp_path}/strategies/__init__.py {tmp_path}/cluster/__init__.py"
    assert ours == f"{installed}/raysearch/strategies/base.py {installed}/raysearch/cluster/__init__.py"


def test_importing_raysearch_loads_neither_ray_nor_torch(installed: Path, tmp_path: Path) -> None:
    code = (
        "import sys, raysearch; print(raysearch.__file__, sorted({'ray', 'torch', 'wandb'} & {*sys.modules}))"
    )
    printed = run(sys.executable, "-c", code, cwd=tmp_path, path=installed)
    assert printed.split(maxsplit=1) == [f"{installed}/raysearch/__init__.py", "[]\n"]


@pytest.mark.parametrize(("folder", "link"), LINKS.items())
def test_the_folders_at_the_top_are_linked_into_the_package(folder: str, link: str) -> None:
    mode = run("git", "ls-files", "--stage", link).split()[0]
    assert mode == "120000", f"{link} must be committed as a link"
    assert (ROOT / link).readlink() == Path("..", folder)


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY], ids=["path of a machine", "registry"])
def test_no_file_names_a_registry_or_a_path_of_one_machine(pattern: re.Pattern[str]) -> None:
    found = []
    for name in source_files():
        if (ROOT / name).is_symlink() or name == "tests/test_packaging.py":
            continue
        text = (ROOT / name).read_bytes().decode(errors="ignore")
        found += [
            f"{name}:{i}: {line}" for i, line in enumerate(text.splitlines(), 1) if pattern.search(line)
        ]
    assert found == []


def test_the_distribution_has_one_name_and_no_page_installs_a_strangers() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'^name = "(.*?)"', text, re.MULTILINE)[1] == DISTRIBUTION
    theirs = re.compile(r"""(pip install|--pip|--install)\s+['"]?raysearch(\[|==|['"`\s]|$)""")
    files = [ROOT / name for name in source_files() if (ROOT / name).is_file()]
    told = [file for file in files if theirs.search(file.read_text("utf-8", "ignore"))]
    assert told == []


def reported(release: str, digest: str) -> dict[str, object]:
    """An entry of `pip install --report`."""
    name, version = release.split("==")
    archive = {"url": "https://example.com/a.whl", "archive_info": {"hashes": {"sha256": digest}}}
    return {"metadata": {"name": name, "version": version}, "download_info": archive}


@pytest.mark.parametrize(
    ("release", "right", "words"),
    [
        ("typer==", True, ""),
        ("torch==2.13.0+cpu", True, "not checked against .ci/hashes.txt, as local builds: torch==2.13.0+cpu"),
        ("typer==", False, ", sha256 {digest}"),
        ("stranger==1.0", False, "stranger==1.0, sha256 {digest}"),
    ],
    ids=["as listed", "a local build", "other bytes", "a package that nobody named"],
)
def test_what_pip_installed_is_compared_with_the_hashes_and_a_stranger_deletes_the_environment(
    tmp_path: Path, release: str, right: bool, words: str
) -> None:
    listed = (ROOT / ".ci" / "hashes.txt").read_text()
    digest = "0" * 64
    if release == "typer==":
        version, first = re.search(r"^typer==(\S+) (\w{64})", listed, re.MULTILINE).groups()
        release, digest = f"Typer=={version}", first if right else digest
    (tmp_path / "environment" / "bin").mkdir(parents=True)
    report = tmp_path / "report.json"
    folder = {"metadata": {"name": "raysearch-segments", "version": "0"}, "download_info": {"dir_info": {}}}
    report.write_text(json.dumps({"install": [folder, reported(release, digest)]}))

    command = [sys.executable, "-I", ".ci/verify.py", str(tmp_path / "environment"), str(report)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == (0 if right else 1), done.stderr
    assert (tmp_path / "environment").exists() == right
    assert words.format(digest=digest) in done.stderr


def test_every_pin_has_hashes() -> None:
    pinned = re.findall(r"^([\w.-]+==[^\s;]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    hashed = re.findall(
        r"^(\S+==\S+)(?: [0-9a-f]{64})+$", (ROOT / ".ci/hashes.txt").read_text(), re.MULTILINE
    )
    assert len(pinned) > 200
    assert set(pinned) <= set(hashed)
