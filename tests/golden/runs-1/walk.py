"""A trainable that needs neither torch nor data: a noisy bowl that a good rate descends quickly."""

import json
import math
from pathlib import Path

import numpy as np
from ray.tune import Trainable


class Walk(Trainable):
    def setup(self, config):
        self.x = 1.0
        self.config = dict(config)

    def step(self):
        rate = self.config["lr"]
        self.x *= 1.0 - min(rate, 1.9 - rate if rate < 1.9 else -1.0)
        noise = np.random.default_rng(self.iteration).normal() * 0.001
        loss = (
            math.inf
            if self.config.get("act") == "boom" and self.iteration >= 2
            else self.x**2 + noise + self.config["wd"]
        )
        return {"loss": loss, "rate": rate}

    def save_checkpoint(self, folder):
        Path(folder, "x.json").write_text(json.dumps(self.x))

    def load_checkpoint(self, folder):
        self.x = json.loads(Path(folder, "x.json").read_text())

    def reset_config(self, config):
        self.setup(config)
        return True

    def apply_config(self, config):
        self.config = dict(config)
