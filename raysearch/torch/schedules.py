"""A schedule as a torch scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from raysearch.torch.optimizers import ALIASES, apply

if TYPE_CHECKING:
    from raysearch.schedule import Schedule


class TorchSchedule(torch.optim.lr_scheduler.LRScheduler):
    """Sets an optimizer's learning rate, and its other settings, by a schedule; one `step` an optimizer step.

    Groups whose learning rates differ keep their ratios to the first one's.

    >>> optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
    >>> scheduler = raysearch.torch.TorchSchedule(optimizer, raysearch.schedule.of(results, trial=0))
    >>> optimizer.step(); scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, schedule: Schedule, steps_per_iteration: int = 1
    ) -> None:
        """Sets what holds at the beginning. Raises ValueError if steps_per_iteration is below 1."""
        if steps_per_iteration < 1:
            raise ValueError(f"steps_per_iteration = {steps_per_iteration} must be at least 1")
        self.schedule = schedule
        self.steps_per_iteration = steps_per_iteration
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._ratios = [rate / rates[0] if rates[0] else 1.0 for rate in rates]
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The learning rates of now, one a group; those the optimizer has if the schedule says none."""
        config = self._config
        rate = next((config[name] for name in ("lr", *ALIASES) if name in config), None)
        if rate is None:
            return [float(group["lr"]) for group in self.optimizer.param_groups]
        return [float(rate) * ratio for ratio in self._ratios]

    def step(self, epoch: int | None = None) -> None:
        """One optimizer step has been taken."""
        super().step(epoch)
        others = {k: v for k, v in self._config.items() if k != "lr" and k not in ALIASES}
        apply(self.optimizer, others)

    def state_dict(self) -> dict[str, Any]:
        """Where it stands; the schedule itself is not in it."""
        state: dict[str, Any] = super().state_dict()
        del state["schedule"]
        return state

    @property
    def _config(self) -> dict[str, Any]:
        return self.schedule.at(self.last_epoch // self.steps_per_iteration)
