"""Optuna's studies, from the SQLite file or journal file in which Optuna keeps them; without Optuna.

The tables are those of Optuna's RDBStorage (schema 12, and older ones without `value_type`), the operations
those of its JournalStorage. Both hold JSON alone.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysearch.core.segment import Mode
from raysearch.errors import SpecError, unknown
from raysearch.interop.history.past import NAN, Asked, Past, PastTrial, json_lines, number_of, rising
from raysearch.interop.optuna_domains import optuna_domain
from raysearch.space.domains import Domain
from raysearch.space.space import Space

STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")  # as the journal numbers them
MODES: dict[Any, Mode] = {"MINIMIZE": "min", "MAXIMIZE": "max", 1: "min", 2: "max"}
NAMES = "study:metric_names"
_SPECIAL = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": NAN}
_OLD_KINDS = {  # of Optuna before 3.0: the class today, and what its name said
    "UniformDistribution": ("FloatDistribution", {}),
    "LogUniformDistribution": ("FloatDistribution", {"log": True}),
    "DiscreteUniformDistribution": ("FloatDistribution", {}),
    "IntUniformDistribution": ("IntDistribution", {}),
    "IntLogUniformDistribution": ("IntDistribution", {"log": True}),
}


@dataclass(slots=True)
class _Trial:
    """A trial while it is read."""

    state: str = "RUNNING"
    config: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, str] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    curve: dict[float, float] = field(default_factory=dict)

    def set(self, name: str, internal: Any, distribution: str) -> None:
        """Notes a value, which storages keep as a number, or as the place of a choice."""
        kind, given = _kind(distribution)
        value = number_of(internal)
        if kind == "CategoricalDistribution":
            choices = given["choices"]
            if not (value.is_integer() and 0 <= value < len(choices)):
                raise SpecError(f"{name}: {internal!r} is no place among {len(choices)} choices")
            self.config[name] = choices[int(value)]
        else:
            self.config[name] = int(value) if kind == "IntDistribution" else value
        self.distributions[name] = distribution


@dataclass(slots=True)
class _Study:
    """A study while it is read."""

    name: str
    modes: list[Mode]
    metrics: list[str] = field(default_factory=list)
    trials: list[_Trial] = field(default_factory=list)


def read_sqlite(source: Path, asked: Asked) -> Past:
    """The history of a study in an SQLite file, which is opened for reading alone.

    Raises:
        SpecError: it is no storage of Optuna's, or names are missing or not there.
    """
    try:
        uri = f"{source.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as base:
            studies = dict(base.execute("SELECT study_name, study_id FROM studies").fetchall())
            name = _chosen(source, asked, studies)
            return _past(source, asked, _study_in(base, studies[name], name))
    except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"{source.name} cannot be read as a storage of Optuna's: {error}") from None


def read_journal(source: Path, asked: Asked) -> Past:
    """The history of a study in a journal file of Optuna's.

    Raises:
        SpecError: it is no journal of Optuna's, or names are missing or not there.
    """
    try:
        studies = _replayed(source)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"{source.name} cannot be read as a journal of Optuna's: {error!r}") from None
    by_name = {study.name: study for study in studies if study is not None}
    return _past(source, asked, by_name[_chosen(source, asked, by_name)])


def _chosen(source: Path, asked: Asked, names: Mapping[str, Any]) -> str:
    if asked.study is not None:
        if asked.study not in names:
            raise SpecError(f"{source.name}: --study: {unknown('study', asked.study, names)}")
        return asked.study
    if len(names) != 1:
        listed = ", ".join(sorted(names)[:12]) or "none"
        raise SpecError(f"{source.name} holds {len(names)} studies; say which: --study NAME ({listed})")
    return next(iter(names))


def _study_in(base: sqlite3.Connection, identity: int, name: str) -> _Study:
    def rows(query: str) -> list[tuple[Any, ...]]:
        return base.execute(query, (identity,)).fetchall()

    modes = rows("SELECT direction FROM study_directions WHERE study_id = ? ORDER BY objective")
    names = rows(f"SELECT value_json FROM study_system_attributes WHERE study_id = ? AND key = '{NAMES}'")
    study = _Study(name, [MODES[mode] for (mode,) in modes], json.loads(names[0][0]) if names else [])
    trials = {
        trial: _Trial(state)
        for trial, state in rows("SELECT trial_id, state FROM trials WHERE study_id = ? ORDER BY trial_id")
    }
    of_study = "WHERE trial_id IN (SELECT trial_id FROM trials WHERE study_id = ?)"
    for trial, param, value, form in rows(
        "SELECT trial_id, param_name, param_value, distribution_json "
        f"FROM trial_params {of_study} ORDER BY param_id"
    ):
        trials[trial].set(param, value, form)
    kind = _type_column(base, "trial_values", "value_type")
    for trial, value, special in rows(
        f"SELECT trial_id, value, {kind} FROM trial_values {of_study} ORDER BY objective"
    ):
        trials[trial].values.append(_SPECIAL.get(special, number_of(value)))
    kind = _type_column(base, "trial_intermediate_values", "intermediate_value_type")
    for trial, step, value, special in rows(
        f"SELECT trial_id, step, intermediate_value, {kind} FROM trial_intermediate_values {of_study}"
    ):
        trials[trial].curve[float(step)] = _SPECIAL.get(special, number_of(value))
    study.trials += trials.values()
    return study


def _type_column(base: sqlite3.Connection, table: str, column: str) -> str:
    """The column that says of infinities, or a constant in older schemas."""
    known = {row[1] for row in base.execute(f"PRAGMA table_info({table})")}
    return column if column in known else "'FINITE'"


def _replayed(source: Path) -> list[_Study | None]:
    studies: list[_Study | None] = []
    trials: list[_Trial] = []
    for line in json_lines(source):
        operation = line["op_code"]
        study = studies[line["study_id"]] if "study_id" in line else None
        if operation == 0:
            if line["study_name"] not in {one.name for one in studies if one is not None}:
                studies.append(_Study(line["study_name"], [MODES[m] for m in line["directions"]]))
        elif operation == 1 and study is not None:
            studies[line["study_id"]] = None
        elif operation == 3 and study is not None:
            study.metrics = line["system_attr"].get(NAMES, study.metrics)
        elif operation == 4 and study is not None:
            trials.append(_made(line))
            study.trials.append(trials[-1])
        elif operation in (5, 6, 7):
            _changed(trials[line["trial_id"]], line)
    return studies


def _made(line: Mapping[str, Any]) -> _Trial:
    """A trial as it is created: empty, or whole where it was added."""
    trial = _Trial(STATES[line.get("state", 0)])
    for name, form in line.get("distributions", {}).items():
        trial.set(name, line["params"][name], form)
    given = line.get("values") or ([line["value"]] if line.get("value") is not None else [])
    trial.values = [number_of(value) for value in given]
    points = line.get("intermediate_values", {})
    trial.curve = {float(step): number_of(value) for step, value in points.items()}
    return trial


def _changed(trial: _Trial, line: Mapping[str, Any]) -> None:
    if trial.state in ("COMPLETE", "PRUNED", "FAIL"):
        return  # a line of a worker that came too late, as Optuna has it
    if line["op_code"] == 5:
        trial.set(line["param_name"], line["param_value_internal"], line["distribution"])
    elif line["op_code"] == 7:
        trial.curve[float(line["step"])] = number_of(line["intermediate_value"])
    else:
        trial.state = STATES[line["state"]]
        trial.values = [number_of(value) for value in line.get("values") or ()]


# ---- what both come to


def _past(source: Path, asked: Asked, study: _Study) -> Past:
    place = _objective(source, asked, study)
    left_out: Counter[str] = Counter()
    trials, distributions = [], []
    for one in study.trials:
        if one.state in ("RUNNING", "WAITING"):
            left_out["not ended"] += 1
            continue
        curve = rising(one.curve) if len(study.modes) == 1 else ()  # reports are of a single objective
        value = NAN
        if one.state == "COMPLETE" and place < len(one.values):
            value = one.values[place]
        elif one.state == "PRUNED":
            if not curve:
                left_out["pruned without a report"] += 1
                continue
            value = curve[-1][1]
        trials.append(PastTrial(one.config, value, curve))
        distributions.append(one.distributions)
    space, why = _space(distributions)
    return Past(
        name=study.name,
        trials=tuple(trials),
        metric=study.metrics[place] if place < len(study.metrics) else asked.metric or "",
        mode=study.modes[place],
        space=space,
        why_no_space=why,
        counts="step" if any(trial.curve for trial in trials) else "",
        left_out=left_out,
    )


def _objective(source: Path, asked: Asked, study: _Study) -> int:
    """Which of a study's objectives is asked for."""
    if study.metrics and asked.metric is not None and asked.metric not in study.metrics:
        raise SpecError(f"{source.name}: --metric: {unknown('metric', asked.metric, study.metrics)}")
    if asked.metric in study.metrics:
        return study.metrics.index(str(asked.metric))
    if len(study.modes) == 1:
        return 0
    listed = ", ".join(study.metrics) or "give them names with study.set_metric_names"
    raise SpecError(
        f"study {study.name!r} has {len(study.modes)} objectives; say which: --metric NAME ({listed})"
    )


def _space(distributions: Sequence[Mapping[str, str]]) -> tuple[Space | None, str]:
    """(the space that all trials were proposed in, why there is none)."""
    found: dict[str, set[str]] = {}
    for each in distributions:
        for name, form in each.items():
            found.setdefault(name, set()).add(form)
    several = sorted(name for name, forms in found.items() if len(forms) > 1)
    partial = sorted(name for name in found if any(name not in each for each in distributions))
    if several:
        return None, f"the study changed the range of {', '.join(several)} on its way"
    if partial:
        return None, f"not every trial has {', '.join(partial)}"
    try:
        domains: dict[str, Domain] = {n: optuna_domain(*_kind(next(iter(f)))) for n, f in found.items()}
        return (Space(domains), "") if domains else (None, "it has no hyper-parameters")
    except SpecError as error:
        return None, str(error)


def _kind(form: str) -> tuple[str, dict[str, Any]]:
    """(name of the class, attributes) of a distribution's JSON; of old versions as of new ones."""
    read = json.loads(form)
    if "name" not in read:  # Optuna's short form
        kind = {"categorical": "Categorical", "float": "Float", "int": "Int"}[read["type"]]
        return f"{kind}Distribution", read
    given = dict(read["attributes"])
    kind, said = _OLD_KINDS.get(read["name"], (read["name"], {}))
    if "q" in given:
        given["step"] = given.pop("q")
    return kind, {**given, **said}
