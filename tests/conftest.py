"""What several test files share: one Ray cluster for the session, folders for runs, learning curves.

`make test` runs files of tests in several processes (pytest-xdist), each with a Ray cluster of its own
from the first test that needs one; `pytest FILE` is one process.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from waiting import PATIENCE_S, Children
from wandb_standin import CANARY, StandIn

settings.register_profile("calm", deadline=None)  # a busy machine is slow: only tests of speed time things
settings.load_profile("calm")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # who gives way gets nothing on a busy one
os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "300")
os.environ.setdefault("WANDB_MODE", "offline")
# Hundreds of processes import this package, and without bytecode each of them would compile it.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

BENCH = Path(__file__).parents[2] / "shared" / "bench"
IS_ONE_OF_SEVERAL = "PYTEST_XDIST_WORKER" in os.environ
if IS_ONE_OF_SEVERAL:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other on a busy core are slow
    # A cluster that a test starts is found by tests of the same process alone.
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="rs-", dir=os.environ.get("RAY_TMPDIR", "/tmp"))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Deletes what the clusters of this process left, if it has a folder of its own for them."""
    if IS_ONE_OF_SEVERAL:
        shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--shuffle-files SEED`: no file may need what another one left."""
    parser.addoption("--shuffle-files", metavar="SEED", help="files of tests in the random order of SEED")


# Files of a minute and more, the longest first, and those of real clusters among them: begun late they would
# keep one process busy while the others have ended. The rest follow by their number of slow tests.
LONGEST = ("nodes", "site", "jobs", "tune", "integrations", "neighbours", "learner", "cli", "elastic")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest must not be the last that is begun."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    first = {f"test_{name}.py": -1000 + place for place, name in enumerate(LONGEST)}
    places = {item.path: first.get(item.path.name, -slow[item.path]) for item in items}
    if seed := config.getoption("--shuffle-files"):
        rng = random.Random(seed)
        places = {path: rng.random() for path in sorted(places)}
    items.sort(key=lambda item: places[item.path])


HAS_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Notes of a test that failed that it did, for fixtures which would hand on what it left."""
    report = yield
    item.stash[HAS_FAILED] = item.stash.get(HAS_FAILED, False) or report.failed
    return report


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium for the tests of a file; skips where none is installed.

    Not for the session: while it is there, an event loop runs in this thread, and no other can.
    """
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed (Debian: apt-get install chromium)")
    quiet = "--no-first-run --disable-background-networking --disable-component-update --disable-sync"
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", *quiet.split()]
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags, timeout=1000 * PATIENCE_S)
        yield chromium
        chromium.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A stand-in for the W&B server, which the client finds through the environment."""
    standin = StandIn()
    monkeypatch.setenv("WANDB_BASE_URL", standin.url)
    monkeypatch.setenv("WANDB_API_KEY", CANARY)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    yield standin
    standin.close()
    assert standin.unknown == [], "the client asked for something that the stand-in does not know"


@pytest.fixture
def has_failed(request: pytest.FixtureRequest) -> Callable[[], bool]:
    """Whether the test has, for a fixture that puts away what it left."""
    return lambda: request.node.stash.get(HAS_FAILED, False)


@pytest.fixture(scope="session")
def _session_cluster() -> Iterator[Callable[[], None]]:
    import ray

    from raysearch.cluster.connect import begin

    def begin_if_gone() -> None:
        if not ray.is_initialized():
            begin(
                num_cpus=4,
                include_dashboard=False,
                log_to_driver=False,
                object_store_memory=200 * 2**20,
                configure_logging=False,
            )

    yield begin_if_gone
    ray.shutdown()


@pytest.fixture
def ray_cluster(_session_cluster: Callable[[], None], has_failed: Callable[[], bool]) -> Iterator[None]:
    """A local cluster of four CPUs, started once for the process and connected to. Not to be shut down.

    After a test that failed the next one gets a new cluster: what was left on this one is not its fault.
    """
    import ray

    _session_cluster()
    yield
    assert ray.is_initialized(), "this test shut the session's cluster down: mark it own_cluster"
    if has_failed():
        ray.shutdown()


@pytest.fixture
def start_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    """Starts a process that is killed when the test has ended, with all that it started."""
    children = Children(tmp_path_factory.mktemp("printed"))
    yield children
    children.end()


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """An empty folder that runs are kept in."""
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room for those of Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="rs-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def run_dir(storage: Path) -> Path:
    """The folder of a run that is still to be made."""
    return storage / "run"


@pytest.fixture(scope="session")
def shared_bench() -> Path:
    """The folder of the learning-curve tables."""
    if not BENCH.is_dir():
        pytest.skip("no learning-curve tables beside the repository (../shared/bench)")
    return BENCH
