"""Flips: one bit of one stored file, of runs that ended or were killed, memories, orders, notes, exports.

Each reader must give the answer that it gives of the files as they were written; or an error, or a remark,
that names the file.
"""

from __future__ import annotations

import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.bench.fuzz.kinds import Case, OtherAnswer
from raysearch.errors import RaysearchError, RaysearchWarning
from raysearch.storage.paths import RunPaths

if TYPE_CHECKING:
    from raysearch.results.results import Results

TRAINABLE = "raysearch.bench.support.trivial:Trivial"
NOW = 2e9
REPORTED = 0.2  # share of the cases whose report is made too, which takes as long as all else together

Answers = dict[str, Any]
Reader = Callable[[Path], Any]


class Flips:
    """Runs as they lie on a disk, with one bit that is not as it was."""

    count = 5_000

    def prepare(self, folder: Path) -> None:
        """The stored files, and what each reader makes of them."""
        self._whole, self._copy = folder / "whole", folder / "copy"
        self._whole.mkdir()
        for name, killed in (("ended", False), ("killed", True), ("raised", False)):
            _make_run(self._whole / "runs", name, killed)
        _make_others(self._whole)
        self._files = sorted(
            str(path.relative_to(self._whole)) for path in self._whole.rglob("*") if path.is_file()
        )
        shutil.copytree(self._whole, self._copy)
        self._answers: dict[Path, dict[str, Any]] = {}
        for file in self._files:
            if _place(file) not in self._answers:
                self._answers[_place(file)] = found = dict(self._read(file, True))
                self._restore(file)
                if wrong := [answer for answer in found.values() if isinstance(answer, Exception)]:
                    raise AssertionError(f"{file} is not read as it was written: {wrong[0]}")

    def case(self, seed: int, number: int) -> Case:
        """One bit of one file; each kind of file alike often, however many there are of it."""
        rng = random.Random(f"{seed}/{number}")
        kinds: dict[str, list[str]] = {}
        for file in self._files:
            kinds.setdefault(_kind(file), []).append(file)
        file = rng.choice(kinds[rng.choice(sorted(kinds))])
        size = (self._whole / file).stat().st_size
        bit = rng.randrange(8 * size) if size else 0
        return Case(f"{file}: bit {bit} of {8 * size}", (file, bit, rng.random() < REPORTED))

    def attempt(self, case: Case) -> None:
        """Flips the bit, asks every reader of the file, and puts the files back as they were."""
        file, bit, with_report = case.given
        changed = bytearray((self._whole / file).read_bytes())
        if changed:
            changed[bit // 8] ^= 1 << bit % 8
        (self._copy / file).unlink()
        (self._copy / file).write_bytes(changed)
        refused: RaysearchError | None = None
        try:
            said = self._said_first(file)
            for reader, answer in self._read(file, with_report):
                clean = self._answers[_place(file)][reader]
                refused = _judged(file, reader, answer, clean, said) or refused
        finally:
            self._restore(file)
        if refused is not None:
            raise refused

    def _read(self, file: str, with_report: bool) -> Iterator[tuple[str, Any]]:
        """(reader, what it answers, as (answer, remarks), or raises) for each reader of a file."""
        for name, read in _readers(file, with_report):
            try:
                yield name, read(self._copy)
            except RaysearchError as error:
                yield name, error

    def _said_first(self, file: str) -> list[str]:
        """What a command says, and Python warns of, before it reads a run, so also where it then fails."""
        from raysearch.results.remarks import remarks

        try:
            return remarks(self._copy / _place(file)) if file.startswith("runs/") else []
        except RaysearchError:
            return []

    def _restore(self, file: str) -> None:
        place = _place(file)
        shutil.rmtree(self._copy / place)
        shutil.copytree(self._whole / place, self._copy / place)


# ---- judging


def _place(file: str) -> Path:
    """What is read together: a run, the memory, the orders, or the exports."""
    return Path(*Path(file).parts[: 2 if file.startswith("runs/") else 1])


def _judged(file: str, reader: str, answer: Any, clean: Any, said: list[str]) -> RaysearchError | None:
    """The error, if it or what was said before names the file; None for the right answer, or a remark.

    Raises:
        OtherAnswer: another answer without a word, or an error that does not say which file.
    """
    if isinstance(answer, RaysearchError):
        if not any(_names(file, text) for text in (str(answer), *said)):
            raise OtherAnswer(f"{reader}: an error that does not name the file: {answer}")
        return answer
    found, remarks = answer
    if found != clean[0] and not any(_names(file, text) for text in remarks):
        raise OtherAnswer(f"{reader}: {_difference(found, clean[0])}")
    return None


def _names(file: str, text: str) -> bool:
    """Whether a text names the file, or the checkpoint that it is part of."""
    path = Path(file)
    return path.name in text or ("checkpoints" in path.parts and path.parts[-2] in text)


def _difference(found: Any, clean: Any) -> str:
    for mine, right in zip(str(found).splitlines(), str(clean).splitlines(), strict=False):
        if mine != right:
            at = next((i for i, (a, b) in enumerate(zip(mine, right, strict=False)) if a != b), 0)
            return f"{mine[max(0, at - 40) : at + 40]!r} for {right[max(0, at - 40) : at + 40]!r}"
    return "there is more, or less, of it"


def _kind(file: str) -> str:
    path = Path(file)
    if "checkpoints" in path.parts:
        return f"checkpoint {path.name}"
    return (
        path.suffix
        if file.startswith("runs/") and "journal" in path.parts
        else path.name.lstrip("0123456789-")
    )


# ---- readers: each answers (what it found, remarks)


def _readers(file: str, with_report: bool) -> Iterator[tuple[str, Reader]]:
    top = Path(file).parts[0]
    if top == "memory":
        yield "memory", _memory
    elif top == "orders":
        yield "orders", _orders
    elif top == "exports":
        yield "exports", _exports
    else:
        run = Path(*Path(file).parts[:2])
        yield "status", lambda root: _status(root / run)
        yield "best", lambda root: _best(root / run)
        yield "tables", lambda root: _tables(root / run)
        if with_report:
            yield "report", lambda root: _report(root / run)
        yield "tracking", lambda root: _tracking(root / run)
        yield "resume", lambda root: _resume(root / run)  # last: it writes


def _status(run: Path) -> Any:
    from raysearch.results.remarks import remarks
    from raysearch.run.follower import Follower, spent_so_far

    said = remarks(run)
    look = Follower(run).look(NOW)
    return (str(look.snapshot.as_dict()), look.holder, spent_so_far(run)), said


def _loaded(run: Path) -> tuple[Results, list[str]]:
    """The results as Python has them, and what it warns of when they are loaded."""
    import raysearch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RaysearchWarning)
        results = raysearch.load(run)
    return results, [str(one.message) for one in caught]


def _best(run: Path) -> Any:
    results, said = _loaded(run)
    return f"{results.best}\n{results.verdict()}", said


def _tables(run: Path) -> Any:
    results, said = _loaded(run)
    tables = (results.trials(finals=True), results.segments(), results.curves(), results.lineage())
    return "\n".join(table.to_csv(index=False) for table in tables), said


def _report(run: Path) -> Any:
    from raysearch.report.sections import content_of

    results, said = _loaded(run)
    content = content_of(results)
    return f"{content.headline}\n{[section.words for section in content.sections]}", said


def _tracking(run: Path) -> Any:
    from raysearch.tracking.wandb.sync_state import state_of

    return state_of(run), []


def _resume(run: Path) -> Any:
    """What a resume reads: the spec, the journal, and the checkpoints that it would go on from."""
    from raysearch.run.going_on import last_start, started_otherwise
    from raysearch.run.session import Session, Setup
    from raysearch.spec.search_spec import load_spec
    from raysearch.storage.checkpoints.meta import read_meta

    paths = RunPaths(run)
    started = started_otherwise(paths, last_start(paths.journal))
    said = [f"spec.yaml was edited: {', '.join(started.edited)}"] if started is not None else []
    spec = started.spec if started is not None else load_spec(paths.spec)
    session = Session.open(Setup(str(run), spec), NOW)
    try:
        names = sorted(session.search.register.checkpoints())
        lost = []
        for name in names:
            try:
                read_meta(session.checkpoints.verified(name))
            except RaysearchError as error:
                lost.append(str(error))
        status = session.search.status(NOW)
        found = (names, status.trials, dict(status.segments), str(status.best), len(lost))
        return found, [*said, *lost, *status.live.warnings]
    finally:
        session.close(NOW)


def _memory(root: Path) -> Any:
    from raysearch.workflows.memory.store import Memory

    held = Memory(root / "memory").records()
    return str(held.good), [*(f"{name}: {why}" for name, why in held.bad), *held.plain]


def _orders(root: Path) -> Any:
    from raysearch.run.orders import Orders

    orders = Orders(root / "orders")
    waiting = [orders.read(name) for name in orders.waiting()]
    answers = [orders.answered(path.stem) for path in sorted((root / "orders").glob("*.answer"))]
    return (waiting, answers), []


def _exports(root: Path) -> Any:
    from raysearch import schedule
    from raysearch.core.user_paths import user_path
    from raysearch.spec.search_spec import load_spec
    from raysearch.storage.exports import read_config

    folder = user_path(root / "exports")
    plan = load_spec(folder / "plan.yaml")
    found, remark = schedule.read(folder / "schedule.yaml")
    config, other = read_config(folder / "best.yaml", "--config")
    return (found, config, plan.strategy), [remark, other, *plan.notes]


# ---- what is stored


def _make_run(storage: Path, name: str, killed: bool) -> None:
    """A run of a few trials, with checkpoints; one that was killed has a log beside its Parquet part."""
    import raysearch

    strategy: Any = raysearch.Caviar(samples=12, max_iterations=9, min_iterations=1, sampler="sobol")
    if name == "raised":
        strategy = raysearch.Panda(max_iterations=40, nudge=["x"])
    raysearch.search(
        TRAINABLE,
        space={"x": {"uniform": [0.0, 1.0]}},
        metric="loss",
        mode="min",
        strategy=strategy,
        baseline={"x": 0.5},
        name=name,
        storage=str(storage),
        seed=3,
        executor="inline",
        on_status=lambda status: None,
        say=lambda text: None,
    )
    paths = RunPaths(storage / name)
    paths.tracking.mkdir(exist_ok=True)
    _note_state(paths)
    if killed:
        _cut_short(paths)


def _cut_short(paths: RunPaths) -> None:
    """Makes the journal one of a process that was killed: a Parquet part, and a log that was appended to."""
    from raysearch.storage.journal.journal import Journal
    from raysearch.storage.journal.reading import read_events, read_outcomes

    events = [event for event in read_events(paths.journal) if event.kind != "end"]
    outcomes = [*read_outcomes(paths.journal)]
    whole = paths.journal.rename(paths.root / "whole")
    with Journal.create(paths.journal) as journal:
        for event in events:
            journal.append_event(*event)
        journal.append(outcomes[:12])
        journal.compact()
        for outcome in outcomes[12:18]:
            journal.append([outcome])
        shutil.rmtree(whole)
        shutil.copytree(paths.journal, whole)  # as it lies there while the process lives
    shutil.rmtree(paths.journal)
    whole.rename(paths.journal)


def _note_state(paths: RunPaths) -> None:
    from raysearch.storage.atomic import replace_text
    from raysearch.storage.checked_json import to_text

    replace_text(paths.tracking_state, to_text({"rows": 12, "trouble": ""}, indent=2))


def _make_others(root: Path) -> None:
    """A memory of two searches, orders that wait or were answered, and what people take with them."""
    import raysearch
    from raysearch import schedule
    from raysearch.run.orders import Orders
    from raysearch.spec.search_spec import load_spec
    from raysearch.storage.exports import config_text
    from raysearch.workflows.memory.store import Memory, record_of
    from raysearch.workflows.plan import written_into

    results = raysearch.load(root / "runs" / "ended")
    for task in ("one", "two"):
        Memory(root / "memory").add(record_of(results, task=task, now=NOW))
    exports, raised = root / "exports", raysearch.load(root / "runs" / "raised")
    exports.mkdir()
    (exports / "schedule.yaml").write_text(schedule.of(raised).to_text(), encoding="utf-8")
    (exports / "best.yaml").write_text(config_text(results.best.config), encoding="utf-8")
    spec = load_spec(RunPaths(results.path).spec)
    (exports / "plan.yaml").write_text(spec.to_yaml(), encoding="utf-8")
    (exports / "plan.yaml").write_text(written_into(exports / "plan.yaml", spec), encoding="utf-8")
    orders = Orders(root / "orders")
    for kind in ("nudge", "pause", "stop"):
        name = orders.give({"kind": kind, "grace_s": 30.0, "values": {"x": 0.25}})
        if kind == "stop":
            orders.answer(name, True, "stopping: nothing is in training")
