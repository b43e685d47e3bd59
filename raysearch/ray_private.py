"""Ray's private names: all that raysearch uses of them, and what it does where a release has them not.

Elsewhere only documented names of Ray are imported. `PRIVATE` is the whole list: a name is looked for in the
places where releases had it, and `gone` says which the installed Ray has no more.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True, slots=True)
class Private:
    """A private name of Ray.

    Attributes:
        places: `module:attribute`, in the order in which they are tried.
        without: what raysearch does where none of them is there.
        since: the first release that has it; "" if all that are supported do.
    """

    places: tuple[str, ...]
    without: str
    since: str = ""

    def find(self) -> Any:
        """What the name stands for in the installed Ray; None where it is gone."""
        for place in self.places:
            module, _, path = place.partition(":")
            try:
                found: Any = importlib.import_module(module)
                for attribute in path.split("."):
                    found = getattr(found, attribute)
            except (ImportError, AttributeError):
                continue
            return found
        return None


PRIVATE: Mapping[str, Private] = {
    "function session": Private(
        ("ray.train._internal.session:get_session",),
        "the thread of a function trainable is not waited for when its trial is dropped",
    ),
    "train functions": Private(
        ("ray.train.v2._internal.execution.train_fn_utils:LocalTrainFnUtils",),
        "Ray Train's functions (ray.train.report) are those of its older releases",
        since="2.45",
    ),
    "set train functions": Private(
        ("ray.train.v2._internal.execution.train_fn_utils:set_train_fn_utils",),
        "Ray Train's functions (ray.train.report) are those of its older releases",
        since="2.45",
    ),
    "storage context": Private(
        ("ray.train._internal.storage:StorageContext",),
        "trainables get a storage of raysearch's own that has the same attributes",
    ),
    "training result": Private(
        (
            "ray.train._internal.session:_TrainingResult",
            "ray.train._internal.checkpoint_manager:_TrainingResult",
        ),
        "trainables are restored from a plain checkpoint, and told the iteration afterwards",
    ),
    "working folder": Private(
        ("ray.tune.trainable.trainable:Trainable._setup_logdir",),
        "a trainable that is reset sees to its working folder once more, which takes longer",
        since="2.55",
    ),
    "task failure": Private(
        ("ray.air.execution._internal.actor_manager:RayActorManager._actor_task_failed",),
        "Tune ends when Ray's memory monitor kills a worker, and is begun again; how the process of a worker "
        "ended is not told, and what it trained counts as lost when it is started again",
    ),
    "start failure": Private(
        ("ray.air.execution._internal.actor_manager:RayActorManager._actor_start_failed",),
        "why a worker did not start is not told; another one is started all the same",
    ),
    "draining nodes": Private(
        ("ray._private.state:state.get_draining_nodes",),
        "nodes that are about to go count as free until they are gone",
    ),
    "cluster config": Private(
        ("ray._private.state:state.get_cluster_config",),
        "what an autoscaler could start is read from its file on the head, or not known",
    ),
    "store client": Private(
        ("ray._raylet:GcsClient",),
        "what answers counts as a cluster; its dashboard is looked for at the usual port",
    ),
    "own address": Private(
        ("ray._private.services:canonicalize_bootstrap_address",),
        "--address auto is what RAY_ADDRESS says, or the last cluster that `ray start` noted",
    ),
    "own token": Private(
        (
            "ray._private.authentication.authentication_token_setup:"
            "maybe_enable_token_auth_if_token_available",
        ),
        "a token is used where RAY_AUTH_MODE=token says so",
        since="2.58",
    ),
}


def find(name: str) -> Any:
    """What a name of PRIVATE stands for in the installed Ray; None where it is gone."""
    return PRIVATE[name].find()


def gone() -> dict[str, str]:
    """The names that the installed Ray has not -> what raysearch does without."""
    return {name: private.without for name, private in PRIVATE.items() if private.find() is None}


# ---- trainables


def function_session() -> Any:
    """The session of the function trainable that trains in this process; None without one."""
    get_session = find("function session")
    return get_session() if get_session is not None else None


def reports_made() -> int:
    """How many reports the function trainable of this process has made; 0 where Ray does not say."""
    return int(getattr(function_session(), "iteration", 0))


def take_rank(**place: int) -> None:
    """Says to Ray which rank the function trainable of this process is: world_rank, world_size and so on."""
    session = function_session()
    for name, value in place.items() if session is not None else ():
        setattr(session, name, value)


def train_functions() -> tuple[Any, Callable[[Any], None]] | None:
    """The class of what stands behind `ray.train.report` and its like, and what installs one of it."""
    base, install = find("train functions"), find("set train functions")
    return None if base is None or install is None else (base, install)


def restore(trainable: Any, folder: Path, iteration: int) -> None:
    """Has a trainable load the checkpoint in `folder`, as one written after `iteration`."""
    from ray.tune import Checkpoint

    result, checkpoint = find("training result"), Checkpoint(str(folder))
    if result is not None:
        trainable.restore(result(checkpoint, {"training_iteration": iteration}))
    else:
        trainable.restore(checkpoint)
        trainable._iteration = iteration


def work_in(trainable: Any, folder: str) -> None:
    """Sets the folder in which a trainable believes to be."""
    trainable._logdir = folder


def reset(trainable: Any, config: dict[str, Any], **surroundings: Any) -> bool:
    """Has a trainable begin anew with `config` in the folder that `work_in` set; False where it cannot.

    Ray would make that folder and go there once more: a quarter of the time of a trial that does nothing.
    """
    own = vars(trainable)
    own["_setup_logdir"] = _is_set_up
    try:
        return bool(trainable.reset(config, **surroundings))
    finally:
        own.pop("_setup_logdir", None)


def _is_set_up() -> None:
    """In place of Ray's own, where `LocalStorage.begin` has made the folder and gone there."""


def save_into(trainable: Any, folder: Path) -> None:
    """Has a class trainable write its checkpoint into `folder` and nowhere else.

    With a storage set, Ray writes a temporary folder and copies it; without, it writes where we ask.
    """
    storage, trainable._storage = getattr(trainable, "_storage", None), None
    try:
        trainable.save(str(folder))
    finally:
        trainable._storage = storage


class SilentLogger:
    """What trainables of older releases (2.44 to 2.54 were seen) log their results to: nothing is written.

    Ray's own writes several files a trial below ~/ray_results, and is closed for good by the first reset.
    """

    def __init__(self, logdir: str) -> None:
        self.logdir = logdir
        Path(logdir).mkdir(parents=True, exist_ok=True)

    def on_result(self, result: Mapping[str, Any]) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def logging_to(folder: Callable[[], str]) -> dict[str, Any]:
    """Arguments of a trainable, beside its storage, with which it logs nothing; `folder` gives its logdir."""
    from ray.tune import Trainable

    if "logger_creator" not in inspect.signature(Trainable.__init__).parameters:
        return {}  # newer releases have no loggers there
    return {"logger_creator": lambda config: SilentLogger(folder())}


class PlainStorage:
    """What trainables ask of Ray's storage context, over one local folder; where Ray has no such class."""

    def __init__(self, storage_path: str, experiment_dir_name: str, trial_dir_name: str) -> None:
        self.experiment_dir_name = experiment_dir_name
        self.trial_dir_name = trial_dir_name
        self.sync_config = SimpleNamespace(sync_artifacts=False, sync_artifacts_on_checkpoint=False)
        self.trial_fs_path = str(Path(storage_path, experiment_dir_name, trial_dir_name))
        self.trial_driver_staging_path = str(Path(storage_path, "staging", trial_dir_name))
        self._index = -1

    @property
    def checkpoint_dir_name(self) -> str:
        """The folder of the last checkpoint, in that of the trial."""
        return f"checkpoint_{self._index:06d}"

    def _update_checkpoint_index(self, metrics: Mapping[str, Any]) -> None:
        self._index += 1

    def persist_current_checkpoint(self, checkpoint: Any) -> Any:
        """A copy of the checkpoint in the trial's folder."""
        from ray.tune import Checkpoint

        target = Path(self.trial_fs_path, self.checkpoint_dir_name)
        with checkpoint.as_directory() as source:
            shutil.copytree(source, target, dirs_exist_ok=True)
        return Checkpoint(str(target))

    def persist_artifacts(self, force: bool = False) -> None:
        """Nothing: artifacts stay in the working directory."""


def storage_context() -> Any:
    """The class that a worker's storage derives from: Ray's own, or PlainStorage."""
    return find("storage context") or PlainStorage


# ---- Tune


Handling = Callable[[Exception], contextlib.AbstractContextManager[Exception]]


def on_task_failure(tune_controller: Any, handling: Handling) -> None:
    """Has Tune handle the failure of a worker's task within `handling(error)`, as the error that this gives.

    Where Ray has other insides nothing is changed.
    """
    _around(getattr(tune_controller, "_actor_manager", None), "_actor_task_failed", handling)


def on_start_failure(tune_controller: Any, handling: Handling) -> None:
    """As `on_task_failure`, of a worker that did not start."""
    _around(getattr(tune_controller, "_actor_manager", None), "_actor_start_failed", handling)


def _around(manager: Any, method: str, handling: Handling) -> None:
    """Replaces a method of the manager: Tune pickles attributes of the controller, but not those of this."""
    fail = getattr(manager, method, None)
    if fail is None or "exception" not in (signature := inspect.signature(fail)).parameters:
        return

    def failed(*args: Any, **named: Any) -> None:
        given = signature.bind(*args, **named)
        with handling(given.arguments["exception"]) as error:
            given.arguments["exception"] = error
            fail(*given.args, **given.kwargs)

    setattr(manager, method, failed)


def forget_error_file(trial: Any) -> None:
    """Has Tune not unpickle the file, in the run's folder, into which it wrote the error of a trial.

    Others may write there; Tune takes the text beside it instead.
    """
    trial.run_metadata.pickled_error_filename = None


# ---- clusters


def draining_nodes() -> set[str]:
    """Ids of nodes that are about to go: preempted, or scaled down. Empty where Ray does not say."""
    ask = find("draining nodes")
    return set(ask()) if ask is not None else set()


def cluster_config() -> Any:
    """What the autoscaler told Ray of the nodes that it could start; None where nobody told."""
    ask = find("cluster config")
    return ask() if ask is not None else None


def session_folder() -> str:
    """The folder in which Ray keeps its sessions' files on this node; Ray is connected."""
    import ray

    ask = getattr(ray.get_runtime_context(), "get_temp_dir", None)  # documented, since 2.55
    return str((ask() if ask is not None else None) or _temp_folder())


def store_client(place: str) -> Any:
    """A client of the store of the cluster at HOST:PORT; None where Ray has no such name.

    Raises:
        Exception: nothing answers there; Ray's own errors change from release to release.
    """
    client = find("store client")
    return client(address=place) if client is not None else None


def own_address(address: str) -> str | None:
    """HOST:PORT of the cluster that `address` means, "auto" included; None where none is found.

    Raises:
        ValueError: it is no address.
        ConnectionError: none is found.
    """
    meant = find("own address")
    if meant is not None:
        found: str | None = meant(address)
        return found
    if address != "auto":
        return address
    return os.environ.get("RAY_ADDRESS") or noted_address()


def noted_address() -> str | None:
    """HOST:PORT of the cluster that `ray start` made here and no `ray stop` ended, running or not."""
    noted = _temp_folder() / "ray" / "ray_current_cluster"
    return (noted.read_text().strip() or None) if noted.is_file() else None


def refusals() -> tuple[type[Exception], ...]:
    """The errors with which a cluster refuses who comes without its token; none before Ray 2.51."""
    import ray.exceptions

    refused = getattr(ray.exceptions, "AuthenticationError", None)
    return (refused,) if refused is not None else ()


def use_own_token() -> bool:
    """Turns authentication on for this process, if there is a token here; True if it did."""
    enable = find("own token")
    if enable is None:
        return False
    logger = logging.getLogger(enable.__module__)
    before, logger.disabled = logger.disabled, True  # its advice is for who starts a cluster
    try:
        return bool(enable(warn_if_disabled=False))
    finally:
        logger.disabled = before


def _temp_folder() -> Path:
    """The folder below which Ray keeps `ray/` unless told otherwise."""
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())


def settings_of(scheduler: Any) -> dict[str, Any]:
    """What a scheduler or search algorithm of Ray Tune was made with, as far as it keeps it, by name."""
    return {name.strip("_"): value for name, value in vars(scheduler).items()}


def first_rung_of(scheduler: Any) -> int:
    """The `grace_period` of an ASHAScheduler: the lowest rung that it keeps; 1 where it keeps none."""
    kept = (getattr(bracket, "_rungs", ()) for bracket in settings_of(scheduler).get("brackets", ()))
    rungs = [rung[0] if isinstance(rung, tuple) else rung.milestone for rungs in kept for rung in rungs]
    return int(min(rungs, default=1))
