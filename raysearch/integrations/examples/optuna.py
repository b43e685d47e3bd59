"""The digits as an Optuna objective. One line is the search's: `search` in place of `study.optimize`.

python -m raysearch.integrations.examples.optuna
"""

from __future__ import annotations

from typing import Any

import optuna
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from raysearch.integrations.optuna import search, trainable_of

EPOCHS = 27


def objective(trial: optuna.Trial) -> float:
    """The loss of a linear model of the digits; its power is there only where the rate falls."""
    images, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(images / 16, labels, random_state=0)
    settings: dict[str, Any] = {
        "alpha": trial.suggest_float("alpha", 1e-6, 1.0, log=True),
        "eta0": trial.suggest_float("eta0", 1e-4, 1.0, log=True),
        "learning_rate": trial.suggest_categorical("learning_rate", ["constant", "invscaling"]),
    }
    if settings["learning_rate"] == "invscaling":
        settings["power_t"] = trial.suggest_float("power_t", 0.1, 0.9)
    model = SGDClassifier(loss="log_loss", random_state=0, **settings)
    for epoch in range(EPOCHS):
        model.partial_fit(train, train_labels, classes=range(10))
        loss = float(log_loss(test_labels, model.predict_proba(test), labels=range(10)))
        trial.report(loss, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return loss


train = trainable_of(objective)  # for optuna.yaml, which names the space itself

if __name__ == "__main__":
    results = search(objective, samples=60, max_iterations=EPOCHS)
    print(results.best.value, results.best.config)
