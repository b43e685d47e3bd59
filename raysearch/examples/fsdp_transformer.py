"""The small transformer of transformer.py, its weights and optimizer sharded over the processes (FSDP2).

Each process writes its own shards into the checkpoint (torch.distributed.checkpoint), which any number of
processes can go on from.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from ray import tune
from torch import Tensor
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy

from raysearch.examples.transformer import BATCH, STEPS, problem


class FsdpTransformer(tune.Trainable):  # type: ignore[misc]
    """See fsdp_transformer.yaml for its hyper-parameters."""

    def setup(self, config: dict[str, Any]) -> None:
        """A fresh model, sharded by blocks."""
        if not dist.is_initialized():
            dist.init_process_group()
        self.seed = int(config.get("seed", 0))
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        mesh = init_device_mesh(self.device.type, (dist.get_world_size(),))
        torch.manual_seed(self.seed)  # the same weights on all ranks
        self.model = problem().build(config).to(self.device)
        for block in self.model.blocks:  # type: ignore[union-attr]
            fully_shard(block, mesh=mesh)
        fully_shard(self.model, mesh=mesh)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config["lr"], weight_decay=config["weight_decay"]
        )

    def step(self) -> dict[str, Any]:
        """STEPS steps on BATCH windows each, of which every rank takes its part; then the validation."""
        rank, ranks = dist.get_rank(), dist.get_world_size()
        inputs, following = problem().train
        generator = torch.Generator().manual_seed(hash((self.seed, self.iteration)))
        order = torch.randperm(len(inputs), generator=generator)[: STEPS * BATCH]
        for chosen in order.split(BATCH):
            mine = chosen[rank::ranks]
            loss = self._loss(inputs[mine], following[mine])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        with torch.no_grad():
            inputs, following = problem().validation
            total = self._loss(inputs[rank::ranks], following[rank::ranks]) * len(inputs[rank::ranks])
        dist.all_reduce(total)
        return {"val_loss": total.item() / len(inputs)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Every rank writes its shards."""
        state_dict_saver.save(self._state(), checkpoint_id=checkpoint_dir)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Every rank reads what it needs of the shards, however many ranks wrote them."""
        state = self._state()
        state_dict_loader.load(state, checkpoint_id=checkpoint_dir)
        set_state_dict(
            self.model, self.optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"]
        )

    def _state(self) -> dict[str, Any]:
        model, optimizer = get_state_dict(self.model, self.optimizer)
        return {"model": model, "optimizer": optimizer}

    def _loss(self, inputs: Tensor, following: Tensor) -> Tensor:
        logits = self.model(inputs.to(self.device))
        return cross_entropy(logits.flatten(0, 1), following.to(self.device).flatten())
