"""Searches as jobs of a real Ray cluster: a dashboard, two nodes, a token; driven by the real command."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from ports import free_port
from waiting import PATIENCE_S, SHOWN, Children, wait_for

from raysearch.cli import main
from raysearch.cluster import connect, dashboard, jobs
from raysearch.cluster.connect import STARTS, _connect, _other_versions, begin, connected, found_cluster
from raysearch.cluster.job_records import Submitted, entries, find, record
from raysearch.errors import ClusterError
from raysearch.results import load
from raysearch.storage.checked_json import to_text

pytestmark = pytest.mark.own_cluster
TESTS = Path(__file__).parent
BIN = Path(sys.executable).parent

SPEC = """
name: first
trainable: descents.py:Paced
metric: loss
mode: min
space: {{lr: {{loguniform: [0.01, 0.5]}}}}
config: {{seconds: {seconds}}}
strategy: {{name: caviar, samples: {samples}, max_iterations: 9, finish: "off"}}
workers: {{count: 1, cpu: 1}}
storage: {storage}
"""


@dataclass(frozen=True)
class Cluster:
    """A cluster of two nodes, and how the command is run on a machine that is not part of it."""

    gcs: str
    url: str
    environment: dict[str, str]
    folder: Path

    def run(self, *words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **({"HOME": str(home)} if home else {})}
        command = [str(BIN / "raysearch"), *words]
        try:
            return subprocess.run(
                command,
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE_S,
            )
        except subprocess.TimeoutExpired as error:
            pytest.fail(f"{error}; it printed:\n{error.stdout!r}\n{error.stderr!r}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("laptop")
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("0123456789abcdef" * 2)
    shutil.copy(TESTS / "trainables.py", folder / "descents.py")
    short = tempfile.mkdtemp(prefix="rs-", dir=os.environ.get("RAY_TMPDIR", "/tmp"))
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment = {
        **kept,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        **{name: os.environ[name] for name in ("RAY_USAGE_STATS_ENABLED", "RAY_worker_niceness")},
    }
    port, board = free_port(), free_port()
    start = [str(BIN / "ray"), "start", "--block", "--num-cpus=2", "--object-store-memory=100000000"]
    start += ["--min-worker-port=0", "--max-worker-port=0", "--node-ip-address=127.0.0.1"]
    head = ["--head", f"--port={port}", f"--dashboard-port={board}", f"--temp-dir={short}"]
    head.append(f"--ray-client-server-port={free_port()}")
    other = [f"--address=127.0.0.1:{port}"]
    log_file = home / "ray.log"
    log = log_file.open("w")

    processes: list[subprocess.Popen[bytes]] = []

    def are_running() -> bool:
        return all(node.poll() is None for node in processes)

    def begin(*more: str, **extra: str) -> bool:
        """Starts a node; False where Ray gives one up, since it waits 30 s at most for a busy machine."""
        count = _started(log_file) + 1
        agent = f"--dashboard-agent-listen-port={free_port()}"  # one number for all clusters otherwise
        command = [*start, agent, *more]
        processes.append(subprocess.Popen(command, env={**environment, **extra}, stdout=log, stderr=log))
        wait_for(
            lambda: not are_running() or _started(log_file) == count,
            saw=lambda: log_file.read_text()[-SHOWN:],
        )
        return are_running()

    def end() -> None:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S)
            process.kill()
        processes.clear()

    try:
        for _ in range(STARTS):
            if begin(*head) and begin(*other, RAY_AUTH_MODE="token"):
                break
            end()
        else:
            pytest.fail(log_file.read_text()[-SHOWN:])
        yield Cluster(f"127.0.0.1:{port}", f"http://127.0.0.1:{board}", environment, folder)
    finally:
        end()
        log.close()
        shutil.rmtree(short, ignore_errors=True)


def _started(log: Path) -> int:
    """How many nodes say that they have started."""
    return log.read_text().count("Ray runtime started")


def write_spec(cluster: Cluster, storage: Path | str, samples: int = 6, seconds: float = 0.0) -> None:
    text = SPEC.format(samples=samples, storage=storage, seconds=seconds)
    (cluster.folder / "search.yaml").write_text(text)


@pytest.mark.slow
def test_a_submitted_search_is_followed_to_its_end_and_then_seen_by_its_job_or_its_run(
    cluster: Cluster, tmp_path: Path
) -> None:
    write_spec(cluster, tmp_path / "runs")
    done = cluster.run("launch", "search.yaml", "--submit", "--address", cluster.url)
    assert done.returncode == 0, done.stdout + done.stderr
    job = done.stdout.splitlines()[0]
    assert re.fullmatch(r"raysubmit_\w+", job)
    assert "6 of 6" in done.stdout
    assert len(load(tmp_path / "runs" / "first").trials()) == 6

    values = json.loads(cluster.run("status", "first", "--json").stdout)
    assert (values["job"]["status"], values["run"]["trials"]) == ("SUCCEEDED", 6)
    assert "6 of 6" in cluster.run("logs", job, "-n", "0").stdout
    listed = json.loads(cluster.run("cluster", "jobs", "--address", cluster.gcs, "--json").stdout)
    assert [entry["job"] for entry in listed] == [job], "the small jobs that only read are not listed"


@pytest.mark.slow
def test_a_job_that_is_stopped_ends_cleanly_and_its_run_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    write_spec(cluster, tmp_path / "runs", samples=100_000, seconds=0.1)
    submitted = cluster.run(
        "launch", "search.yaml", "--submit", "--address", cluster.gcs, "--name", "long", "--no-wait"
    )
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    job = submitted.stdout.strip()
    run = tmp_path / "runs" / "long"
    wait_for(
        lambda: (run / "spec.yaml").exists() and len(load(run).trials()) > 0,
        saw=lambda: cluster.run("logs", job, "-n", "0").stdout[-SHOWN:],
    )
    stopped = cluster.run("cluster", "stop", job)
    assert re.match(rf"{job}  STOPPED", stopped.stdout), stopped.stdout + stopped.stderr
    assert f"-- resume {run}" in stopped.stdout
    assert "stopped by SIGTERM" in cluster.run("logs", job, "-n", "0").stdout
    trials = len(load(run).trials())
    asked = cluster.run("cluster", "submit", "--address", cluster.url, "--", "best", "/nowhere")
    assert asked.returncode == 2, asked.stdout + asked.stderr
    assert "no run at '/nowhere'" in asked.stdout, "what the cluster printed"
    assert "failed with exit code 2" in asked.stderr
    assert len(load(run).trials()) == trials, "nothing is running it any more"


def test_the_doctor_looks_at_every_node_from_within_and_from_outside(
    cluster: Cluster, tmp_path: Path
) -> None:
    write_spec(cluster, tmp_path / "runs")
    inside = cluster.run(
        "doctor", "search.yaml", "--address", cluster.gcs, "--nodes", "2", "--wait", "60", "--json"
    )
    assert inside.returncode == 0, inside.stdout + inside.stderr
    said = json.loads(inside.stdout)
    nodes = said["facts"]["nodes"]
    assert len(nodes) == 2
    assert all(node["storage"]["reads"] and node["storage"]["is_read"] for node in nodes)
    assert all(node["data_ok"] and node["trainable"] is None for node in nodes)
    assert said["facts"]["room"] == 4
    assert not (tmp_path / "runs").exists(), "what it wrote there is gone, and the folder that it made"

    outside = cluster.run("doctor", "--address", cluster.url, "--nodes", "3")
    assert outside.returncode == 2
    assert "2 of 3 nodes have joined" in outside.stdout


def test_a_cluster_that_wants_its_token_says_how_to_give_it(cluster: Cluster, tmp_path: Path) -> None:
    for words in (("cluster", "jobs", "--address", cluster.url), ("doctor", "--address", cluster.gcs)):
        refused = cluster.run(*words, home=tmp_path)
        assert refused.returncode == 2
        assert "wants its token: copy the head's ~/.ray/auth_token" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_job_that_there_is_not_names_those_that_there_are(cluster: Cluster) -> None:
    refused = cluster.run("logs", "raysubmit_nothing", "--address", cluster.url)
    assert refused.returncode == 2
    assert "has no job 'raysubmit_nothing'" in refused.stderr


# ---- without a cluster


def run_here(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command says on stderr as it refuses."""
    assert main(words) == 2
    return capsys.readouterr().err


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    shutil.copy(TESTS / "trainables.py", tmp_path / "descents.py")
    Path("search.yaml").write_text(SPEC.format(samples=6, storage="runs", seconds=0))
    return "search.yaml"


def test_what_cannot_be_submitted_is_refused_before_anything_is_sent(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert "which Ray deletes after the job" in run_here(capsys, "launch", spec, "--address", nowhere)
    assert "there is no such file" in run_here(capsys, "launch", "none.yaml", "--submit")
    assert "add --submit" in run_here(capsys, "launch", spec, "--pip", "timm")
    local = run_here(capsys, "launch", spec, "--submit", "--local", "--storage", "/tmp/x")
    assert "leave out --local" in local
    there = run_here(capsys, "launch", spec, "--address", nowhere, "--storage", "/tmp/x")
    assert f"no Ray dashboard answers at {nowhere}" in there
    assert "ssh -L 8265" in there


def test_a_run_that_is_neither_here_nor_submitted_from_here_says_both(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--grace" in run_here(capsys, "stop", "raysubmit_x", "--grace", "soon")
    for command in ("status", "logs"):
        said = run_here(capsys, command, "raysubmit_x")
        assert "no run at 'raysubmit_x'" in said
        assert "--address http://HEAD:8265" in said


def test_without_the_extra_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "NEEDED", ("requests", "no_such_module_at_all"))
    with pytest.raises(
        ClusterError, match=r"no_such_module_at_all is not installed here: .*'\.\[cluster\]' in a checkout"
    ):
        jobs.connect("http://127.0.0.1:8265")


def test_the_address_of_a_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dashboard.address_of("http://head:8265/") == "http://head:8265"
    assert dashboard.address_of("ray://head:10001") == "http://head:8265"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://other:1")
    assert dashboard.address_of(None) == "http://other:1"
    assert dashboard.address_of("https://head") == "https://head"
    with pytest.raises(ClusterError, match="is none of auto, HOST:PORT"):
        dashboard.address_of("s3://bucket")
    with pytest.raises(ClusterError, match="no Ray cluster answers at"):
        dashboard.address_of(f"127.0.0.1:{free_port()}")


def test_without_any_cluster_the_jobs_are_asked_for_in_vain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none_found(address: str) -> str:
        raise ConnectionError("Could not find any running Ray instance.")

    for name in dashboard.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    # Ray looks among all processes of the machine, where other tests have clusters.
    monkeypatch.setattr("ray._private.services.canonicalize_bootstrap_address", none_found)
    assert main(["cluster", "jobs"]) == 2
    assert "error: no Ray cluster runs on this machine; start one" in capsys.readouterr().err


def test_an_address_where_nothing_answers_is_said_at_once() -> None:
    with pytest.raises(ClusterError, match="Is `ray start --head` running there"):
        _connect(f"127.0.0.1:{free_port()}", local=False, cpus=None)  # whatever this process is connected to
    with (
        pytest.raises(ClusterError, match="--submit --address ray://head:10001"),
        connected("ray://head:10001", False),
    ):
        pytest.fail("connected through the client")


@pytest.mark.usefixtures("ray_cluster")
def test_an_address_of_another_cluster_than_the_one_connected_to_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray

    here = ray.get_runtime_context().gcs_address
    port = here.rpartition(":")[2]
    for same in (None, "auto", here, f"127.0.0.1:{port}", f"localhost:{port}"):
        with connected(same, False):
            assert ray.is_initialized()
    with (
        pytest.raises(ClusterError, match="no Ray cluster answers at"),
        connected(f"127.0.0.1:{free_port()}", False),
    ):
        pytest.fail("connected to nothing")
    monkeypatch.setattr(connect, "check_cluster", lambda address: None)  # a cluster answers
    with (
        pytest.raises(ClusterError, match=f"is connected to the Ray cluster at {here} already"),
        connected(f"127.0.0.1:{free_port()}", False),
    ):
        pytest.fail("connected to another cluster")


def test_ray_is_started_again_where_a_busy_machine_kept_it_from_being_up_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_process: Children
) -> None:
    errors: list[Exception] = []
    starts: list[dict[str, Any]] = []
    nodes: list[subprocess.Popen[bytes]] = []
    bystander = start_process("sleep", "600")
    monkeypatch.setattr(connect.ray, "__file__", str(tmp_path / "ray" / "__init__.py"))

    def start(**options: Any) -> None:
        starts.append(options)
        assert all(node.poll() is not None for node in nodes), "a start left its processes to the next"
        node = start_process("sh", "-c", "sleep 600; :", tmp_path / "ray" / "raylet")
        node.wait_for(psutil.Process(node.pid).cmdline)  # empty for a moment after it was started
        nodes.append(node.process)
        if errors:
            raise errors.pop()
        nodes.clear()

    monkeypatch.setattr(connect.ray, "init", start)
    too_slow = Exception("The current node timed out during startup. This could happen because")
    errors += [too_slow] * 2
    begin(num_cpus=1)
    assert starts == [{"num_cpus": 1}] * 3
    assert bystander.is_running
    errors += [too_slow] * 9
    with pytest.raises(ClusterError, match=f"was started {STARTS} times and was not up within 30 s"):
        _connect(None, local=True, cpus=None)
    assert len(starts) == 3 + STARTS
    errors[:] = [KeyError("another")]
    with pytest.raises(KeyError):
        begin()
    assert len(starts) == 3 + STARTS + 1


def test_other_versions_of_ray_and_python_are_said_plainly() -> None:
    said = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.50.0\n    Python: 3.10.1\n"
        "This process on node 10.0.0.2 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    )
    words = _other_versions("head:6379", said)
    assert (
        "head:6379 has Ray 2.50.0 and Python 3.10.1, this machine has Ray 2.60.0 and Python 3.11.7" in words
    )
    assert "--submit" in words


def test_a_package_that_the_cluster_lacks_is_named_with_what_brings_it() -> None:
    said = 'last logs: Traceback (most recent call last):\n  File "cli.py"\n    import typer\n'
    told = {}
    for error in ("ModuleNotFoundError: No module named 'typer.main'", "ValueError: No module named 'typer'"):
        state = jobs.JobState(
            "j", "http://h:1", "FAILED", "python -m x", "", f"{said}{error}\n", 1, None, None
        )
        told[error] = jobs.why_failed(state)
    lacks, other = told.values()
    assert lacks == (
        "j failed with exit code 1: ModuleNotFoundError: No module named 'typer.main'; the cluster's Python "
        "lacks it: --pip typer brings it, or use an image that has it"
    )
    assert other == "j failed with exit code 1: ValueError: No module named 'typer'"


def test_submissions_are_found_by_job_by_run_and_by_its_name_the_latest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert entries() == []
    one, two = (Submitted(f"job-{i}", "http://h:1", "s3://b/runs/first", float(i)) for i in range(2))
    assert record(one) is record(two) is None
    (file,) = tmp_path.glob("raysearch/*")
    with file.open("a") as out:
        out.write(to_text(asdict(two)).replace("job-1", "job-2") + "\n")
        out.write('{"job": "torn')
    assert find("job-0") == one
    assert find("job-2") is None
    assert find("first") == find("s3://b/runs/first") == two
    assert find("other") is None
    file.chmod(0o400)
    if os.geteuid():
        assert "give --address" in str(record(one))


class Tail:
    """A job's output over connections that break, as Ray's client gives it: each begins at the start."""

    def __init__(self) -> None:
        self.connections = 0

    async def tail_job_logs(self, job: str) -> Any:
        self.connections += 1
        yield "one\n"
        if self.connections == 1:
            raise ConnectionResetError
        yield "two\n"

    def get_job_info(self, job: str) -> Any:
        ended = "SUCCEEDED" if self.connections > 1 else "RUNNING"
        names = ["entrypoint", "metadata", "message", "driver_exit_code", "start_time", "end_time", "job_id"]
        return type("Info", (), {**dict.fromkeys(names), "status": ended, "submission_id": job})

    def get_job_logs(self, job: str) -> str:
        return "one\ntwo\nthree\n"


def test_the_output_of_a_job_is_shown_once_though_the_connection_breaks() -> None:
    client = Tail()
    shown = "".join(jobs.Jobs(client, "http://h:1", None).output("job"))
    assert shown == "one\ntwo\nthree\n"
    assert client.connections == 2


def test_a_cluster_that_ray_notes_and_that_is_gone_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        gone = f"127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(gone)
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        with pytest.raises(ClusterError, match=f"notes a cluster of this machine at {gone}.*ray stop"):
            _connect(None, False, None)


def test_a_search_without_an_address_can_say_which_cluster_it_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert found_cluster() == ""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.5:6379\n")
    assert found_cluster() == "at 10.0.0.5:6379 (as `ray start` noted on this machine)"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
    assert found_cluster() == "at 10.0.0.7:6379 (RAY_ADDRESS)"
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert found_cluster() == ""
