"""The cause of a fault: said by who saw it, kept in the journal, whatever the words of the error."""

from __future__ import annotations

import builtins
import dataclasses
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trainables
from ray import tune
from ray.exceptions import RayTaskError
from scripted import segment
from test_engine import ids, make

import raysearch
from raysearch.core.cause import cause_of
from raysearch.core.segment import Cause, Outcome, Segment, Status, segment_id
from raysearch.engine.faults import Loss
from raysearch.engine.messages import MEMORY_KILL, Lease
from raysearch.errors import CheckpointError, NoCheckpointError, TrainableError
from raysearch.storage.journal.decisions import causes, detail_text
from raysearch.storage.journal.journal import Journal
from raysearch.storage.journal.reading import read_outcomes
from raysearch.worker.host import Host
from raysearch.worker.isolated_host import IsolatedHost
from raysearch.worker.job import Job
from raysearch.worker.shipping import ship

WORDS = (
    "CUDA out of memory. Tried to allocate 2.00 GiB",
    "torch.OutOfMemoryError: CUDA out of memory",
    "MemoryError: ",
    "OutOfMemoryError",
    MEMORY_KILL,
    "out of memory with 1 GPU, tried again with 2 GPU",
    "the trainable writes no checkpoint",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "not enough memory: you tried to allocate 9 bytes",
)
TOO_MUCH = 1 << 50


def out_of_luck() -> None:
    raise ValueError(WORDS[0])


def by_torch() -> None:
    torch.empty(TOO_MUCH)


def by_numpy() -> None:
    np.empty(TOO_MUCH)


def on_a_gpu() -> None:
    raise torch.OutOfMemoryError("something of a kind that no pattern knows")


def by_the_system() -> None:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def wrapped() -> None:
    try:
        by_torch()
    except RuntimeError as error:
        raise LookupError("step 3 failed") from error


def while_handled() -> None:
    try:
        on_a_gpu()
    except torch.OutOfMemoryError:
        raise LookupError("step 3 failed, see the log")  # noqa: B904


def twice() -> None:
    try:
        wrapped()
    except LookupError as error:
        raise RuntimeError("the fit was broken off") from error


def hidden() -> None:
    try:
        by_torch()
    except RuntimeError:
        raise LookupError("the batch does not fit") from None


class Big(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.empty(TOO_MUCH)


class Odd(Big):
    def __getitem__(self, index: int) -> torch.Tensor:
        raise RuntimeError(f"no picture\nRuntimeError: {WORDS[0]}\nValueError: as the file says")


def loaded(dataset: Any) -> Callable[[], None]:
    def load() -> None:
        next(iter(torch.utils.data.DataLoader(dataset, num_workers=1)))

    return load


def in_a_ray_task() -> None:
    raise RayTaskError("step", "Traceback", MemoryError())


def raised_by(fault: Callable[[], None]) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011  (whatever the fault raises)
        fault()
    return caught.value


MEMORY = [by_torch, by_numpy, on_a_gpu, by_the_system, wrapped, while_handled, twice, hidden, in_a_ray_task]


@pytest.mark.parametrize("fault", [*MEMORY, loaded(Big())])
def test_memory_that_ran_out_is_known_by_the_type_also_of_what_was_wrapped(
    fault: Callable[[], None],
) -> None:
    assert cause_of(raised_by(fault)) is Cause.OUT_OF_MEMORY


@pytest.mark.parametrize("fault", [out_of_luck, loaded(Odd())])
def test_other_errors_have_no_cause_whatever_they_say(fault: Callable[[], None]) -> None:
    assert cause_of(raised_by(fault)) is Cause.OTHER


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, KeyError, SystemExit, TrainableError])
@pytest.mark.parametrize("words", WORDS)
def test_no_words_make_a_cause(kind: type[BaseException], words: str) -> None:
    assert cause_of(kind(words)) is Cause.OTHER
    assert cause_of(kind(f"trial 3: {words}")) is Cause.OTHER


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "MPS backend out of memory (MPS allocated: 8.00 GB)",
        "[enforce fail at alloc_cpu.cpp:75] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to",
    ],
)
def test_where_torch_raises_a_plain_runtime_error_its_own_beginning_is_the_sign(text: str) -> None:
    assert cause_of(RuntimeError(text)) is Cause.OUT_OF_MEMORY
    assert cause_of(ValueError(text)) is Cause.OTHER
    assert cause_of(RuntimeError(f"we hoped that it was no {text}")) is Cause.OTHER


def test_an_error_of_a_process_that_torch_started_is_read_from_the_traceback_it_brings() -> None:
    error = torch.multiprocessing.ProcessRaisedException  # type: ignore[attr-defined]
    begin = (
        "\n\n-- Process 0 terminated with the following error:\nTraceback (most recent call last):\n  File\n"
    )
    ended = error(begin + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n", 0, 1)
    assert cause_of(ended) is Cause.OUT_OF_MEMORY
    after = error(begin + "MemoryError\n\nDuring handling\nValueError: MemoryError: no\n", 0, 1)
    assert cause_of(after) is Cause.OTHER


def test_errors_that_refer_to_each_other_and_have_no_text_are_looked_through_once() -> None:
    class Mute(RuntimeError):
        def __str__(self) -> str:
            raise LookupError

        def __getattr__(self, name: str) -> Any:
            raise LookupError(name)

    first, second = Mute(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert cause_of(first) is Cause.OTHER


def test_a_group_of_errors_ran_out_of_memory_where_one_of_them_did() -> None:
    group = getattr(builtins, "ExceptionGroup", None)
    if group is None:
        pytest.skip("Python 3.10 has no groups of errors")
    assert cause_of(group("both", [ValueError(), group("inner", [MemoryError()])])) is Cause.OUT_OF_MEMORY
    assert cause_of(group("both", [ValueError(WORDS[0])])) is Cause.OTHER


# ---- a real worker


FAULTS: dict[str, tuple[Callable[[], None], Cause]] = {
    "words": (out_of_luck, Cause.OTHER),
    "torch": (by_torch, Cause.OUT_OF_MEMORY),
    "wrapped": (wrapped, Cause.OUT_OF_MEMORY),
    "handled": (while_handled, Cause.OUT_OF_MEMORY),
}


class Faulty(trainables.Walk):
    """Walks; its configuration says what is wrong with it."""

    def step(self) -> dict[str, Any]:
        fault = self.config["fault"]
        if fault in FAULTS:
            FAULTS[fault][0]()
        return {**super().step(), **({"loss": float("nan")} if fault == "nan" else {})}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return super().reset_config(new_config)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        if self.config["fault"] == "save":
            raise ValueError(WORDS[0])
        super().save_checkpoint(checkpoint_dir)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        if self.config["fault"] == "load":
            raise ValueError(WORDS[0])
        if self.config["fault"] == "load in no memory":
            by_torch()
        super().load_checkpoint(checkpoint_dir)


def faulty(config: dict[str, Any]) -> None:
    """The same as a function, which Ray runs in a thread and whose errors it wraps."""
    if config["fault"] in FAULTS:
        FAULTS[config["fault"]][0]()
    tune.report({"loss": 1.0})


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    made: list[Any] = []

    def host(trainable: Any, isolate: bool = False) -> Any:
        scratch = tmp_path / f"scratch{len(made)}"
        job = Job("", ship(trainable), "loss", "min", isolate=isolate)
        made.append(
            IsolatedHost(job, scratch, None) if isolate else Host(trainable, metric="loss", scratch=scratch)
        )
        return made[-1]

    yield host
    for one in made:
        one.drop()


def first(**config: Any) -> Segment:
    return Segment(segment_id(0, 0), 0, None, {"rate": 0.5, **config}, 0, 1, 7, "for a test")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("trainable", "isolate"), [(Faulty, False), (faulty, False)])
def test_a_workers_process_says_the_cause_of_what_the_trainable_raised(
    hosts: Callable[..., Any], fault: str, trainable: Any, isolate: bool
) -> None:
    trained = hosts(trainable, isolate).train(Lease(first(fault=fault)), None, lambda iteration: 0)
    assert (trained.status, trained.cause) == (Status.FAILED, FAULTS[fault][1])


def test_memory_that_runs_out_while_a_checkpoint_is_loaded_says_nothing_against_the_checkpoint(
    hosts: Callable[..., Any], tmp_path: Path
) -> None:
    host, begun = hosts(Faulty), first(fault="")
    host.train(Lease(begun), None, lambda iteration: 0)
    folder = tmp_path / "kept"
    folder.mkdir()
    host.save(folder)
    after = dataclasses.replace(begun, id=segment_id(0, 1), parent=begun.id, start=1, stop=2)

    def go_on(fault: str) -> Any:
        lease = Lease(dataclasses.replace(after, config={"rate": 0.5, "fault": fault}), "kept", begun.id)
        return hosts(Faulty).train(lease, folder, lambda iteration: 0)

    assert (trained := go_on("load in no memory")).status is Status.FAILED
    assert trained.cause is Cause.OUT_OF_MEMORY
    with pytest.raises(CheckpointError) as unreadable:
        go_on("load")
    assert cause_of(unreadable.value) is Cause.CHECKPOINT


def test_a_trainable_that_writes_no_checkpoint_says_so_by_the_type_of_its_error(
    hosts: Callable[..., Any],
) -> None:
    host, begun = hosts(trainables.NoCheckpoint), first()
    host.train(Lease(begun), None, lambda iteration: 0)
    fork = Segment(segment_id(1, 0), 1, begun.id, {"rate": 0.25}, 1, 2, 7, "a fork")
    trained = host.train(Lease(fork), None, lambda iteration: 0)
    assert (trained.status, trained.cause) == (Status.FAILED, Cause.NO_CHECKPOINT)
    assert trained.error.startswith("NoCheckpointError: the configuration changes along the path")
    assert cause_of(NoCheckpointError()) is Cause.NO_CHECKPOINT


EXPECTED = {
    "": (Status.COMPLETED, Cause.OTHER),
    "nan": (Status.DIVERGED, Cause.OTHER),
    "save": (Status.COMPLETED, Cause.CHECKPOINT),
    **{name: (Status.FAILED, cause) for name, (_, cause) in FAULTS.items()},
}


def test_every_cause_reaches_the_journal_and_is_the_same_after_a_resume(tmp_path: Path) -> None:
    options = {"sampler": "sobol", "max_iterations": 1, "min_iterations": 1, "finish": None}
    raysearch.search(
        Faulty,
        space={"rate": {"fixed": 0.5}, "fault": {"choice": [*EXPECTED]}},
        metric="loss",
        mode="min",
        storage=str(tmp_path),
        name="run",
        executor="inline",
        retries=0,
        strategy=raysearch.Caviar(samples=16, **options),
    )
    rows = [*read_outcomes(tmp_path / "run" / "journal")]
    assert {o.segment.config["fault"]: (o.status, o.cause) for o in rows} == EXPECTED
    results = raysearch.resume(tmp_path / "run", raysearch.How("inline"))
    assert len(results.trials()) == 16
    assert [(o.cause, o.error) for o in read_outcomes(tmp_path / "run" / "journal")] == [
        (o.cause, o.error) for o in rows
    ]


# ---- the executor's side, and the journal


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("words", ["", *WORDS])
def test_a_journal_keeps_the_cause_and_not_what_the_words_suggest(
    tmp_path: Path, cause: Cause, words: str
) -> None:
    of = Segment(0, 0, None, {}, 0, 1, 0, "why", origin="a past run")
    outcome = Outcome(of, Status.LOST, error=words, cause=cause)
    with Journal.create(tmp_path / "j") as journal:
        journal.append([outcome])
        assert [*read_outcomes(tmp_path / "j")] == [outcome]
        journal.compact()
    assert [*read_outcomes(tmp_path / "j")] == [outcome]


def test_a_cause_that_a_newer_version_writes_counts_as_other() -> None:
    assert [*causes(['{"cause":"cosmic ray"}'], [WORDS[0]])] == [Cause.OTHER]


def test_an_outcome_without_fault_says_nothing_of_a_cause() -> None:
    assert detail_text(Outcome(segment(0), Status.COMPLETED)) == "{}"


def test_a_worker_that_goes_with_its_node_is_told_from_one_that_had_to_go_and_one_that_died() -> None:
    search, _, log, _ = make(segment(0), segment(1), segment(2), segment(3))
    for worker in "abcd":
        ids(search, worker, 1)
    search.commit(search.attendance.leave("a", 1.0, "left with its node", Cause.NODE_LOST))
    search.commit(search.attendance.leave("b", 1.0, "was told to go"))
    search.commit(search.attendance.hello("c", 1.0))
    search.commit(search.attendance.lose("d", 1.0, Loss("stalled", Cause.STALLED)))
    assert [(o.status, o.cause) for o in log.rows] == [
        (Status.LOST, Cause.NODE_LOST),
        (Status.LOST, Cause.LEFT),
        (Status.LOST, Cause.PROCESS_DIED),
        (Status.FAILED, Cause.STALLED),
    ]
