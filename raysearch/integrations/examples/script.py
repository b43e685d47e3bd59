"""The digits in a script of its own that knows nothing of raysearch: arguments in, lines of JSON out.

It writes its state into the folder RAYSEARCH_CHECKPOINT_DIR before it prints, and begins from there.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
from pathlib import Path
from typing import Any

from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

EPOCHS = 1000


def begun(args: argparse.Namespace, file: Path) -> tuple[int, Any]:
    """The epochs that the model has, and the model: from the file if it is there."""
    if file.exists():
        with file.open("rb") as opened:
            epoch, model = pickle.load(opened)
        return epoch, model
    model = MLPClassifier(args.hidden, alpha=args.alpha, learning_rate_init=args.lr, random_state=args.seed)
    return 0, model


def main() -> None:
    """Trains until somebody stops it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--alpha", type=float, default=1e-4)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    images, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(images / 16, labels, random_state=0)
    file = Path(os.environ.get("RAYSEARCH_CHECKPOINT_DIR", "."), "model.pickle")
    first, model = begun(args, file)
    for epoch in range(first, EPOCHS):
        model.partial_fit(train, train_labels, classes=range(10))
        loss = float(log_loss(test_labels, model.predict_proba(test), labels=range(10)))
        with file.open("wb") as opened:
            pickle.dump((epoch + 1, model), opened)
        print(json.dumps({"val_loss": loss, "val_accuracy": model.score(test, test_labels)}))


if __name__ == "__main__":
    main()
