"""An application under Hydra whose jobs only take time: lognormal, the same for the same job in any sweep.

Imports nothing of raysearch: peers run it in environments of their own.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig


@dataclass
class Config:
    """`stamps`: folder into which each job writes when it began, when it ended and in which process;
    `median` in seconds.
    """

    lr: float = 0.1
    median: float = 1.0
    sigma: float = 0.8
    stamps: str = ""


ConfigStore.instance().store(name="jobs", node=Config)


@hydra.main(config_path=None, config_name="jobs", version_base=None)
def main(config: Config) -> float:
    """Waits, as a job whose work a GPU does; returns a value that depends on `lr` alone."""
    began = time.time()
    job = int(HydraConfig.get().job.num)
    time.sleep(config.median * random.Random(job).lognormvariate(0.0, config.sigma))
    Path(config.stamps, str(job)).write_text(f"{began} {time.time()} {os.getpid()}", encoding="utf-8")
    return abs(config.lr - 0.01)


if __name__ == "__main__":
    main()
