"""What a torch training needs to be searched well: new values for its optimizer, losses in parts.

raysearch.torch.apply(self.optimizer, self.config)     # at the end of load_checkpoint
metrics["val_loss_parts"] = raysearch.torch.parts(losses)
"""

from raysearch.torch.optimizers import apply
from raysearch.torch.parts import parts
from raysearch.torch.schedules import TorchSchedule

__all__ = ["TorchSchedule", "apply", "parts"]
