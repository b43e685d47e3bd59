"""`raysearch nudge`, `rollback` and `enqueue`: a person changes a search that is running."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.cli import options
from raysearch.cli.output import command, print_json, tell
from raysearch.core.segment import segment_id, trial_number
from raysearch.core.yaml_io import read_mapping, read_yaml
from raysearch.errors import RunError, SpecError, unknown
from raysearch.storage.mirror import shown

if TYPE_CHECKING:
    from raysearch.spec.search_spec import SearchSpec

PATIENCE_S = 60.0  # for the answer of the process that runs it
POLL_S = 0.1
TAKES = "panda does, unless it is exploit: truncation"
SEGMENT = re.compile(r"(\d+[a-z]?)\.(\d+)")


def nudge(run: options.Run, values: options.Values, as_json: options.AsJson = False) -> None:
    """Change hyper-parameters of a running search: raysearch nudge runs/x lr=3e-4."""
    root, spec = _run(run)
    _give(root, {"kind": "nudge", "values": _values(spec, values)}, as_json)


def rollback(run: options.Run, segment: options.SegmentName, as_json: options.AsJson = False) -> None:
    """Return a running search to the end of a segment, such as 12.3 (raysearch lineage RUN)."""
    root, _ = _run(run)
    found = SEGMENT.fullmatch(segment)
    if found is None:
        raise SpecError(
            f"{segment!r} is no segment; they are like 12.3: {command('lineage', run)} shows them"
        )
    number = segment_id(trial_number(found[1]), int(found[2]))
    _give(root, {"kind": "rollback", "segment": number}, as_json)


def enqueue(run: options.Run, config: options.ConfigFile, as_json: options.AsJson = False) -> None:
    """Have a configuration of yours tried as the next trial: raysearch enqueue runs/x config.yaml."""
    from raysearch.run.location import existing_run
    from raysearch.spec.search_spec import load_spec
    from raysearch.strategies.base import abilities_of
    from raysearch.strategies.caviar.enqueued import ENQUEUE, enqueued_config

    root = existing_run(run)
    spec = load_spec(root / "spec.yaml")
    if not abilities_of(spec.strategy).enqueues:
        raise SpecError(f"{run}: strategy {spec.strategy.name} takes no configurations; caviar does")
    given = read_mapping(config, "CONFIG", "a mapping of hyper-parameters to values")
    try:
        asked = enqueued_config(spec.space, given)
    except SpecError as error:
        raise SpecError(f"{config}: {error}") from None
    _give(root, {"kind": ENQUEUE, "config": asked}, as_json, more=("--samples", "+1"))


def add_samples(root: Path, samples: str, as_json: bool) -> None:
    """Has a search that a process runs try more configurations."""
    from raysearch.run.edits import SAMPLES

    _give(root, {"kind": SAMPLES, "samples": samples}, as_json)


# ---- inside


def _run(run: str) -> tuple[Path, SearchSpec]:
    """The folder and spec of a run. Raises SpecError if its strategy takes no orders."""
    from raysearch.run.location import existing_run
    from raysearch.spec.search_spec import load_spec
    from raysearch.strategies.base import abilities_of

    root = existing_run(run)
    spec = load_spec(root / "spec.yaml")
    if not abilities_of(spec.strategy).takes_orders:
        raise SpecError(f"{run}: strategy {spec.strategy.name} takes no nudges and no rollbacks; {TAKES}")
    return root, spec


def _values(spec: SearchSpec, texts: Sequence[str]) -> dict[str, Any]:
    from raysearch.space.names import flat_name

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise SpecError(f"{text!r} is not NAME=VALUE, such as lr=3e-4")
        name = flat_name(name, spec.space.names)
        if name not in spec.space.free:
            raise SpecError(unknown("hyper-parameter", name, spec.space.free))
        found[name] = read_yaml(value, text)
        if why := spec.space.domains[name].why_not(found[name]):
            raise SpecError(f"{text}: {why}")
    return found


def _give(root: Path, order: Mapping[str, Any], as_json: bool, more: Sequence[str] = ()) -> None:
    """Gives the order to the run, and prints its answer if a process runs it.

    Args:
        more: options of `resume` under which a complete run can take the order in; none if nothing can.
    """
    from raysearch.run.liveness import is_complete, run_by
    from raysearch.run.orders import Orders
    from raysearch.storage.paths import RunPaths

    paths, run = RunPaths(root), shown(root)
    orders = Orders(paths.orders)
    if is_complete(root) and not more:
        raise SpecError(
            f"{run}: the training is complete, so there is nothing left to change; to train it for longer: "
            f"{command('resume', run, '--max-iterations', 'N')}"
        )
    name = orders.give(order)
    until = time.monotonic() + PATIENCE_S
    while (answer := orders.answered(name)) is None:
        if run_by(root) is None:
            go_on = command("resume", run, *(more if is_complete(root) else ()))
            text = f"no process is running {run}: the order is taken in by {go_on}"
            _say({"order": name, "taken": None, "words": text}, as_json)
            return
        if time.monotonic() > until:
            raise RunError(
                f"{run}: the process that runs it has not answered for {PATIENCE_S:g} s; the order stays "
                "until the process takes it"
            )
        time.sleep(POLL_S)
    accepted, words = answer
    if not accepted:
        raise SpecError(f"{run}: refused: {words}")
    _say({"order": name, "taken": True, "words": f"{words}, from the next decision on"}, as_json)


def _say(said: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(said)
    else:
        tell(said["words"])
