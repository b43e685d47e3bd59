"""What travels to a cluster with a search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import raysearch
from raysearch.cluster.job_package import (
    by_interpreter,
    check_relative,
    check_storage,
    folder_and_spec,
    pack,
    trainable_file,
    with_raysearch,
)
from raysearch.cluster.versions import VARIABLE, versions
from raysearch.errors import SpecError


def test_a_parcel_holds_the_folder_the_versions_and_a_grace_before_the_kill(tmp_path: Path) -> None:
    (tmp_path / "my.py").touch()
    parcel = pack("my.py:T", tmp_path, excludes=["data/"], pip=["timm==1.0"])
    environment = parcel.runtime_env
    assert environment["working_dir"] == str(tmp_path)
    assert {".git", ".venv", "data/"} <= {*environment["excludes"]}
    assert environment["pip"] == ["timm==1.0"]
    assert int(environment["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"]) > 3
    assert json.loads(environment["env_vars"][VARIABLE]) == versions()
    assert "py_modules" not in environment
    assert parcel.notes == ()


def test_no_key_of_this_machine_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "secret-1234")
    assert "secret-1234" not in json.dumps(
        pack("raysearch.bench.support.trivial:Trivial", tmp_path).runtime_env
    )


def test_a_package_that_lies_elsewhere_travels_along_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "src" / "my_package_elsewhere"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    parcel = pack("my_package_elsewhere.models:T", tmp_path)
    assert parcel.runtime_env["py_modules"] == [str(package)]
    assert str(package) in parcel.notes[0]
    assert "py_modules" not in pack("my_package_elsewhere.models:T", tmp_path / "src").runtime_env


def test_a_package_that_is_not_here_or_an_installed_one_is_said_to_be_needed_there(tmp_path: Path) -> None:
    assert "has to be on the cluster" in pack("nowhere_at_all.models:T", tmp_path).notes[0]
    assert "--pip pytest" in pack("pytest:T", tmp_path).notes[0]


def test_more_of_the_environment_comes_from_a_file_and_is_added_to(tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text("pip: [a]\nenv_vars: {X: '1'}\nexcludes: [big]\n")
    environment = pack(None, tmp_path, pip=["b"], runtime_env=file).runtime_env
    assert environment["pip"] == ["a", "b"]
    assert environment["env_vars"]["X"] == "1"
    assert "big" in environment["excludes"]
    file.write_text("- a list")
    with pytest.raises(SpecError, match=r"env\.yaml: holds list, not a mapping"):
        pack(None, tmp_path, runtime_env=file)
    with pytest.raises(SpecError, match="cannot be read"):
        pack(None, tmp_path, runtime_env=tmp_path / "none.yaml")


def test_a_trainables_file_must_lie_in_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out.py").touch()
    (tmp_path / "in" / "my.py").touch()
    assert trainable_file(f"{tmp_path}/in/my.py:T", tmp_path / "in") == "my.py"
    assert trainable_file("my.module:T", tmp_path) is None
    for wrong in (f"{tmp_path}/out.py:T", "missing.py:T"):
        with pytest.raises(SpecError, match="no such file in the working directory"):
            trainable_file(wrong, tmp_path / "in")


def test_a_trainables_file_may_not_be_written_as_a_path_of_this_machine(tmp_path: Path) -> None:
    spec = tmp_path / "search.yaml"
    spec.write_text("trainable: my.py:T\n")
    check_relative(spec)
    spec.write_text("trainable: /data/my.py:T\n")
    with pytest.raises(SpecError, match="write it relative to the spec"):
        check_relative(spec)


@pytest.mark.parametrize("storage", ["/shared/runs", "~/runs", "s3://bucket/runs"])
def test_a_storage_that_outlives_the_job_is_taken(storage: str) -> None:
    check_storage(storage)


def test_a_storage_in_the_jobs_own_folder_is_refused() -> None:
    with pytest.raises(SpecError, match="which Ray deletes after the job"):
        check_storage("runs/")


def test_the_spec_is_named_as_the_cluster_will_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "a.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert folder_and_spec("specs/a.yaml", None)[1] == "specs/a.yaml"
    assert folder_and_spec("a.yaml", tmp_path / "specs")[1] == "a.yaml"
    assert folder_and_spec("digits", None)[1] == "digits"
    (tmp_path / "other").mkdir()
    with pytest.raises(SpecError, match="is not in the working directory"):
        folder_and_spec(str(tmp_path / "specs" / "a.yaml"), tmp_path / "other")
    with pytest.raises(SpecError, match=r"there is no file 'b.yaml'"):
        folder_and_spec("b.yaml", None)
    with pytest.raises(SpecError, match="there is no such folder"):
        folder_and_spec("specs/a.yaml", tmp_path / "none")


def test_the_raysearch_of_this_machine_travels_unless_another_one_is_named() -> None:
    ours = str(Path(raysearch.__file__).parent)
    assert with_raysearch({"py_modules": ["/a"]}) == {"py_modules": ["/a", ours]}
    for pip in (["https://x/raysearch_segments-0.1-py3-none-any.whl"], {"packages": ["raysearch-segments"]}):
        assert "py_modules" not in with_raysearch({"pip": pip})
    assert with_raysearch({"image_uri": "registry/raysearch:1"}) == {"image_uri": "registry/raysearch:1"}


def test_a_job_runs_raysearch_by_the_interpreter() -> None:
    assert by_interpreter(["raysearch", "best", "a b"]) == ["python", "-m", "raysearch.cli", "best", "a b"]
    assert by_interpreter(["ls"]) == ["ls"]
