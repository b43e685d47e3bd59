"""Ray Train's functions in a rank: a loop function for a TorchTrainer trains as it is.

`ray.train.report` and `get_checkpoint` are those of the trial, `get_context` says the rank, and what
`ray.train.torch` prepares (`prepare_model`, `prepare_data_loader`) finds the process group of the worker.
"""

from __future__ import annotations

import shutil
from typing import Any

from raysearch import ray_private
from raysearch.errors import TrainableError
from raysearch.worker.group.messages import Place


def lend(place: Place) -> None:
    """Has Ray Train's functions work in this process."""
    found = ray_private.train_functions()
    if found is None:
        return
    base, install = found
    install(_functions(base, place))


def take_rank(place: Place) -> None:
    """Has the session of a function trainable that was made just now know its rank."""
    ray_private.take_rank(
        world_rank=place.rank,
        world_size=place.world_size,
        local_rank=place.local_rank,
        local_world_size=place.local_world_size,
        node_rank=place.node_rank,
    )


def _context(place: Place) -> Any:
    from ray import train

    class Context(train.TrainContext):  # type: ignore[misc]
        """What a loop function hears of its rank."""

        def get_experiment_name(self) -> str:
            return "raysearch"

        def get_world_size(self) -> int:
            return place.world_size

        def get_world_rank(self) -> int:
            return place.rank

        def get_local_rank(self) -> int:
            return place.local_rank

        def get_local_world_size(self) -> int:
            return place.local_world_size

        def get_node_rank(self) -> int:
            return place.node_rank

        def get_storage(self) -> Any:
            raise TrainableError("a trial has no storage of Ray Train's: report a checkpoint instead")

    return Context()


def _functions(base: Any, place: Place) -> Any:
    from ray import tune

    class Functions(base):  # type: ignore[misc]
        """What stands behind Ray Train's functions."""

        def report(
            self, metrics: dict[str, Any], checkpoint: Any = None, *arguments: Any, **named: Any
        ) -> None:
            if refused := [name for name in ("checkpoint_upload_fn", "validation") if named.get(name)]:
                raise TrainableError(
                    f"ray.train.report({refused[0]}=...) is not there in a trial: leave it out"
                )
            if checkpoint is not None:
                checkpoint = tune.Checkpoint(checkpoint.path, checkpoint.filesystem)
            try:
                tune.report(metrics, checkpoint=checkpoint)
            finally:
                if checkpoint is not None and named.get("delete_local_checkpoint_after_upload"):
                    shutil.rmtree(checkpoint.path, ignore_errors=True)

        def get_checkpoint(self) -> Any:
            return tune.get_checkpoint()

        def get_context(self) -> Any:
            return _context(place)

        def is_distributed(self) -> bool:
            return True

        def barrier(self) -> None:
            import torch.distributed

            torch.distributed.barrier()

        def broadcast_from_rank_zero(self, data: Any) -> Any:
            import torch.distributed

            held = [data]
            torch.distributed.broadcast_object_list(held)
            return held[0]

    return Functions("raysearch")
