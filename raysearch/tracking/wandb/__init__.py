"""W&B: the only package that imports wandb, and only in the tracking process."""
