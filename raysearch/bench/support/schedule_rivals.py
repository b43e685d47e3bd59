"""Single models that panda is compared with: each from its paper's description, at the cost that it is given.

A rival gets a model, a learning rate and how many iterations it may train; it trains the model and leaves
it as it would hand it over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from raysearch.bench.support.raised_models import Model

Rival = Callable[[Model, float, int], None]
Shape = Callable[[float], float]


def shaped(shape: Shape) -> Rival:
    """Trains at the rate times the shape at each iteration's beginning, a share of the training."""

    def train(model: Model, lr: float, iterations: int) -> None:
        for done in range(iterations):
            model.learn(lr * shape(done / iterations))

    return train


def cosine(share: float) -> float:
    """Half a period from 1 to 0 (Loshchilov and Hutter 2017, eq. 5, without restarts)."""
    return 0.5 * (1.0 + math.cos(math.pi * share))


def warmup_stable_decay(share: float) -> float:
    """A twentieth of warm-up, then 1, and over the last fifth 1 - sqrt (Haegele et al. 2024, section 3)."""
    if share < 0.05:
        return (share + 0.005) / 0.055
    return 1.0 if share < 0.8 else 1.0 - math.sqrt((share - 0.8) / 0.2)


def one_cycle(share: float) -> float:
    """From 1/25 up to 1 over 30%, then down to 1/10,000, both by cosine (Smith and Topin 2018)."""
    if share < 0.3:
        return 1.0 - (1.0 - 1 / 25) * cosine(share / 0.3)
    return 1e-4 + (1.0 - 1e-4) * cosine((share - 0.3) / 0.7)


def averaged(model: Model, lr: float, iterations: int) -> None:
    """A constant rate; hands over a moving average of the weights whose memory is a tenth of the training.

    As weight averaging stands in for decay in Haegele et al. 2024 (section 4).
    """
    memory = max(1.0, 0.1 * iterations)
    mean = model.weights()
    for done in range(iterations):
        model.learn(lr)
        share = max(1.0 / memory, 1.0 / (done + 1))
        mean = (1.0 - share) * mean + share * model.weights()
    model.put(mean)


def schedule_free(model: Model, lr: float, iterations: int) -> None:
    """AdamW (SGD where the model has SGD in numpy) without a schedule, a twentieth of warm-up."""
    optimizer = model.free_schedule(lr, round(0.05 * iterations))
    for _ in range(iterations):
        optimizer.learn()
    optimizer.settle()


GROW, SHRINK = 2.0, 1.5  # factors of a raise and of what follows a failed one; both fall towards 1
CALMER = 0.9  # power of both after each failed raise
SEARCH, WINDOW = 0.4, 0.04  # of the training: while the rate is searched, and a window of the slope


def ada_lrs(model: Model, lr: float, iterations: int) -> None:
    """AdaLRS (Dong et al. 2025): raises the rate while the loss then falls faster; linear decay after.

    The slope of the loss is fitted by least squares over a window. After each window the rate is raised for
    one; where the loss then falls faster than before, the raise holds. Else
    the model goes back to where the raise began and the rate is lowered below what it was. What was trained
    in vain counts.
    """
    window = max(4, round(WINDOW * iterations))
    grow, shrink, done = GROW, SHRINK, 0
    slope = _watched(model, lr, window)
    done += window
    while done + window <= SEARCH * iterations:
        before = model.state()
        found = _watched(model, lr * grow, window)
        done += window
        if found < slope:
            lr, slope = lr * grow, found
            continue
        model.load(before)
        lr, grow, shrink = lr / shrink, grow**CALMER, shrink**CALMER
        if done + window <= SEARCH * iterations:
            slope = _watched(model, lr, window)
            done += window
    rest = iterations - done
    for i in range(rest):
        model.learn(lr * (1.0 - i / rest))


def _watched(model: Model, lr: float, window: int) -> float:
    """The slope of the loss an iteration over a window, by least squares; +inf where it diverged."""
    losses = np.array([model.learn(lr) for _ in range(window)])
    x = np.arange(window) - (window - 1) / 2
    return float(x @ losses / (x @ x)) if np.isfinite(losses).all() else math.inf


RIVALS: Mapping[str, Rival] = {
    "constant": shaped(lambda share: 1.0),
    "cosine": shaped(cosine),
    "wsd": shaped(warmup_stable_decay),
    "one-cycle": shaped(one_cycle),
    "constant-ema": averaged,
    "schedule-free": schedule_free,
    "adalrs": ada_lrs,
}
