"""Random searches: the values that are recorded as used are those that the training code noted at its steps.

`RAYSEARCH_SEARCHES=1000` tries as many in place of a few.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from training_lab import OPTIMIZERS, SCHEDULERS, Applying, Class, Reset, Searching, close, function

import raysearch

EXAMPLES = int(os.environ.get("RAYSEARCH_SEARCHES", "12"))
KINDS: dict[str, Any] = {
    "class": Class,
    "applying": Applying,
    "searching": Searching,
    "reset": Reset,
    "function": function,
}
DOMAINS: tuple[Any, ...] = (
    {"loguniform": [1e-3, 0.5]},
    {"uniform": [0.01, 0.1]},
    {"choice": [0.5, 0.01, 0.003]},
    {"choice": [1, 0.1]},
)
PANDA = raysearch.Panda(max_iterations=8, interval=2)


def caviar(variant: str, sampler: str, samples: int, min_iterations: int) -> raysearch.Caviar:
    return raysearch.Caviar(
        samples=samples,
        max_iterations=4,
        min_iterations=min_iterations,
        variant=variant,
        sampler=sampler,
        finish=None,
    )


STRATEGIES = st.one_of(
    st.just(PANDA),
    st.builds(
        caviar,
        st.sampled_from(["promotion", "stopping"]),
        st.sampled_from(["random", "sobol", "model"]),
        st.integers(2, 4),
        st.integers(1, 2),
    ),
)


def trainable_of(kind: str, more: dict[str, Any]) -> Any:
    """The trainable of this kind, with these entries of its configuration for good."""
    found = KINDS[kind]
    if kind == "function":

        def train(config: dict[str, Any]) -> None:
            found({**config, **more})

        return train

    class Fixed(found):  # type: ignore[misc, valid-type]
        def setup(self, config: dict[str, Any]) -> None:
            super().setup({**config, **more})

    return Fixed


def check(curves: pd.DataFrame, groups: int) -> None:
    """Each iteration's used learning rate in the first group, against the rates that its steps noted."""
    names = sorted((c for c in curves if c.startswith("rate")), key=lambda name: int(name[4:]))[::groups]
    rates = curves[names]
    expected: dict[str, Callable[[pd.DataFrame], Any]] = {
        "first": lambda r: r[names[0]],
        "last": lambda r: r[names[-1]],
        "least": lambda r: r.min(axis=1),
        "greatest": lambda r: r.max(axis=1),
    }
    assert len(curves) > 0
    for part, of in expected.items():
        assert curves[f"used.lr.{part}"].to_list() == close(of(rates).to_list()), part


@given(
    kind=st.sampled_from(sorted(KINDS)),
    scheduler=st.sampled_from(sorted(SCHEDULERS)),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    has_groups=st.booleans(),
    domain=st.sampled_from(DOMAINS),
    strategy=STRATEGIES,
    seed=st.integers(0, 99),
)
@settings(
    max_examples=EXAMPLES,
    phases=[Phase.reuse, Phase.generate],  # what fails is small already
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=EXAMPLES < 100,
)
def test_what_a_search_records_as_used_is_what_its_steps_were_taken_with(
    kind: str, scheduler: str, optimizer: str, has_groups: bool, domain: Any, strategy: Any, seed: int
) -> None:
    more = {"scheduler": scheduler, "optimizer": optimizer, "groups": has_groups}
    is_panda = strategy is PANDA
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
        results = raysearch.search(
            trainable_of(kind, more),
            space={"lr": {"loguniform": [1e-4, 1.0]} if is_panda else domain},
            metric="loss",
            mode="min",
            storage=folder,
            name="random",
            executor="inline",
            strategy=strategy,
            seed=seed,
            baseline={"lr": 0.01} if is_panda else None,
        )
        check(results.curves(), 2 if has_groups else 1)
        segments = results.segments()
    if scheduler == "constant" and not is_panda:
        asked = segments["config.lr"].to_numpy() * (0.1 if has_groups else 1.0)
        assert np.allclose(segments["used.lr.first"], asked, rtol=1e-6)
