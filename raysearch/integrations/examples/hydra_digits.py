"""The digits under Hydra. No line is the search's: `hydra/sweeper=raysearch` on the command line.

python -m raysearch.integrations.examples.hydra_digits --multirun hydra/sweeper=raysearch \\
    'alpha=tag(log,interval(1e-6,1))' 'eta0=tag(log,interval(1e-4,1))' learning_rate=constant,invscaling \\
    hydra.sweeper.samples=60 hydra.sweeper.max_iterations=27 hydra.sweeper.metric=val_loss epochs=27

Without `raysearch.report` its jobs would be trials of one iteration, which end with the value they return.
"""

from __future__ import annotations

from dataclasses import dataclass

import hydra
from hydra.core.config_store import ConfigStore
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import raysearch


@dataclass
class Config:
    """What the command line may set."""

    alpha: float = 1e-4
    eta0: float = 0.01
    learning_rate: str = "constant"
    epochs: int = 27
    seed: int = 0


ConfigStore.instance().store(name="digits", node=Config)


@hydra.main(config_path=None, config_name="digits", version_base=None)
def main(config: Config) -> float:
    """The loss of a linear model of the digits after its last epoch."""
    images, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(images / 16, labels, random_state=0)
    model = SGDClassifier(
        loss="log_loss",
        alpha=config.alpha,
        eta0=config.eta0,
        learning_rate=config.learning_rate,
        random_state=config.seed,
    )
    loss = float("nan")
    for _ in range(config.epochs):
        model.partial_fit(train, train_labels, classes=range(10))
        loss = float(log_loss(test_labels, model.predict_proba(test), labels=range(10)))
        raysearch.report(val_loss=loss)
    return loss


if __name__ == "__main__":
    main()
