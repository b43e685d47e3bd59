"""`raysearch wandb push` and `raysearch sink`: send a run from its journal, at any time and again."""

from __future__ import annotations

import typer

from raysearch.cli import options
from raysearch.cli.output import print_json, tell
from raysearch.errors import RunError
from raysearch.storage.mirror import shown

wandb = typer.Typer(no_args_is_help=True, help="Send a run to Weights & Biases.")


@wandb.callback()
def _group() -> None:
    """Send a run to Weights & Biases from its journal."""


def sink(run: options.Run, names: options.Sinks, follow: options.Watch = False) -> None:
    """Write a run to TensorBoard, MLflow, or a sink of your own; `--watch` follows it to its end."""
    from raysearch.run.location import existing_run
    from raysearch.storage.paths import RunPaths
    from raysearch.tracking.sending import send
    from raysearch.tracking.wandb.sync_state import ended

    root = existing_run(run)
    try:
        rows = send(root, names, follow, lambda: ended(RunPaths(root)) is not None)
    except OSError as error:
        raise RunError(f"{shown(root)}: not all was written to {', '.join(names)}: {error}") from error
    tell(f"{rows:,} rows of {shown(root)} written to {', '.join(names)}")


@wandb.command()
def push(run: options.Run, as_json: options.AsJson = False) -> None:
    """Send to W&B the parts of a run that it lacks; sending them again changes nothing."""
    from raysearch.run.location import existing_run
    from raysearch.tracking.supervisor import push as send
    from raysearch.tracking.wandb.api_key import FILE_VARIABLE, VARIABLE, base_url, find_key
    from raysearch.tracking.wandb.sync_state import state_of

    root = existing_run(run)
    key = find_key()
    if key is None:
        raise RunError(
            f"there is no key for {base_url()}: set {VARIABLE}, name a file in {FILE_VARIABLE}, or run `wandb login`"  # noqa: E501
        )
    code = send(root, key)
    state = state_of(root)
    if as_json:
        print_json(state)
    if code:
        why = state.get("trouble") or "the tracking process ended early"
        raise RunError(
            f"not everything is at {base_url()} yet: {why}. Send it again; see {root}/tracking/process.log"
        )
    if not as_json:
        tell(f"{state['rows']:,} rows of {state['runs']:,} runs are at {state['url'] or base_url()}")
