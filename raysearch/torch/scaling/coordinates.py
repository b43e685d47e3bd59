"""The coordinate check: whether models of several widths learn alike, seen in seconds before it is believed.

Tensor Programs V, appendix D.1: in muP what each layer puts out changes during the first steps by as much in
a wide model as in a narrow one. Where it changes more with the width, the best rate falls with the width;
where it changes less, that layer learns nothing in a wide model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from raysearch.errors import SpecError
from raysearch.storage.paths import COORDINATE_CHECK

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Made = tuple[nn.Module, torch.optim.Optimizer, Callable[[nn.Module], Tensor]]
FEWEST = 3  # widths
COLOURS = ("#4f7fe8", "#e09a2b", "#12a37a", "#b05fd0", "#d9568c", "#2ba3b8", "#8c7b5a", "#8b93a3")


@dataclass(frozen=True, slots=True)
class Change:
    """How much what a layer puts out has changed since before the first step.

    Attributes:
        change: root mean square of the difference, over all examples and units.
        size: root mean square of what it puts out now.
    """

    width: float
    seed: int
    step: int
    layer: str
    change: float
    size: float


@dataclass(frozen=True)
class CoordinateCheck:
    """What a coordinate check saw, and its verdict.

    Attributes:
        slopes: layer -> exponent of the width by which its change grows over the last half of the steps; 0 is
            what muP promises, NaN where the change is not finite.
        bound: slopes of at most this size pass.
        changes: what was seen, a row a layer, step, width and seed.

    `verdict` says it in words: passed: in 4 layers the change goes with at most width^-0.08 (6); ...
    """

    slopes: Mapping[str, float]
    bound: float
    changes: tuple[Change, ...]

    @property
    def passed(self) -> bool:
        """Whether every layer's slope is within the bound."""
        return all(abs(slope) <= self.bound for slope in self.slopes.values())  # NaN is not

    @property
    def verdict(self) -> str:
        """One sentence: passed, or which layers are out of bounds and what follows."""
        bad = {layer: s for layer, s in self.slopes.items() if not abs(s) <= self.bound}
        if not bad:
            worst = max(self.slopes, key=lambda layer: abs(self.slopes[layer]))
            return (
                f"passed: in {len(self.slopes)} layers the change goes with at most "
                f"width^{self.slopes[worst]:+.2f} ({worst}); up to ±{self.bound:g} is allowed"
            )
        layer = max(bad, key=lambda one: math.inf if math.isnan(bad[one]) else abs(bad[one]))
        slope = bad[layer]
        if math.isnan(slope):
            return f"failed: what {layer} puts out is not finite; take a smaller rate, and check again"
        why = (
            "so the best rate falls as the model gets wider"
            if slope > 0
            else "so it learns less the wider the model is"
        )
        return (
            f"failed: in {len(bad)} of {len(self.slopes)} layers, first {layer}, the change goes with "
            f"width^{slope:+.2f}, beyond ±{self.bound:g}, {why}: rates do not transfer across the width"
        )

    def frame(self) -> pd.DataFrame:
        """One row a layer, step, width and seed: width, seed, step, layer, change, size."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.changes])

    def figure(self) -> go.Figure:
        """Changes against the width, both logarithmic, a line a layer; dotted after the first step.

        Lines that are level pass. `check.figure().write_html("check.html")` keeps it.
        """
        import plotly.graph_objects as go

        figure = go.Figure(
            layout={
                "template": "none",
                "height": 440,
                "title": {"text": self.verdict.replace("<", "&lt;"), "font": {"size": 12}},
                "xaxis": {"type": "log", "title": {"text": "width"}, "tickvals": self._widths},
                "yaxis": {"type": "log", "title": {"text": "change of what a layer puts out (RMS)"}},
            }
        )
        last = max(one.step for one in self.changes)
        for number, layer in enumerate(self.slopes):
            for step, dash in ((last, "solid"), (1, "dot")):
                figure.add_scatter(
                    x=self._widths,
                    y=[math.exp(v) for v in self._logs(layer, [step])],
                    name=f"{layer} ({self.slopes[layer]:+.2f})",
                    legendgroup=layer,
                    showlegend=step == last,
                    line={"dash": dash, "color": COLOURS[number % len(COLOURS)]},
                    hovertemplate=f"{layer.replace('<', '&lt;')}, step {step}<br>%{{y:.3g}}<extra></extra>",
                )
        return figure

    def save(self, folder: str | Path) -> Path:
        """Writes it into a folder, such as a run's, for `raysearch transfer`; returns the file."""
        file = Path(folder) / COORDINATE_CHECK
        rows = [list(asdict(one).values()) for one in self.changes]
        text = json.dumps({"bound": self.bound, "slopes": dict(self.slopes), "changes": rows})
        file.write_text(text, encoding="utf-8")
        return file

    @property
    def _widths(self) -> list[float]:
        return sorted({one.width for one in self.changes})

    def _logs(self, layer: str, steps: Sequence[int]) -> list[float]:
        return _mean_logs(self.changes, layer, steps, self._widths)


def coordinate_check(
    make: Callable[[int], Made],
    widths: Sequence[int],
    *,
    steps: int = 10,
    seeds: Sequence[int] = (0, 1, 2),
    bound: float = 0.3,
) -> CoordinateCheck:
    """Trains a model of each width for a few steps and compares how much each layer's outputs change.

        def make(width):
            model = Net(width)
            rules = scaling.rules_for(model, base=Net(64), delta=Net(128))
            rules.initialise(model)
            optimizer = torch.optim.AdamW(rules.groups(model), lr=0.01)
            return model, optimizer, lambda model: cross_entropy(model(images), labels)

        check = scaling.coordinate_check(make, widths=(64, 128, 256))

    Args:
        make: width -> (fresh model, its optimizer, function that gives the loss of a model on the same
            batch at each call).
        widths: three or more, twice as wide each time or further apart; width stands for whatever grows.
        steps: optimizer steps on that batch.
        seeds: of torch, one training a width each. The state of torch's generator is left as it was.
        bound: the largest exponent of the width that passes, up or down.

    Looked at are the modules that have parameters of their own and no others within. A rate of 0.5 to 2 times
    the one that will be searched around tells most.

    Raises:
        SpecError: fewer than three widths, no step or seed, or no layer changed at all.
    """
    if len(set(widths)) < FEWEST:
        raise SpecError(
            f"widths = {list(widths)}: give {FEWEST} different ones or more, such as (64, 128, 256)"
        )
    if steps < 2 or not seeds:
        raise SpecError(f"steps = {steps}, seeds = {list(seeds)}: at least 2 steps and one seed are needed")
    found = [one for w in sorted(set(widths)) for seed in seeds for one in _changes(make, w, seed, steps)]
    layers = dict.fromkeys(one.layer for one in found)
    late = range(steps // 2 + 1, steps + 1)
    each = {layer: _slope(found, layer, late, sorted(set(widths))) for layer in layers}
    slopes = {layer: slope for layer, slope in each.items() if slope is not None}
    if not slopes:
        raise SpecError(
            "no layer's outputs changed in any width: is the rate zero, or are all parameters frozen?"
        )
    return CoordinateCheck(slopes, bound, tuple(one for one in found if one.layer in slopes))


def load_check(folder: str | Path) -> CoordinateCheck | None:
    """The check that `CoordinateCheck.save` wrote into the folder; None where there is none.

    Raises:
        SpecError: the file is not one of `save`.
    """
    file = Path(folder) / COORDINATE_CHECK
    if not file.is_file():
        return None
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        changes = tuple(Change(*row) for row in held["changes"])
        return CoordinateCheck(dict(held["slopes"]), float(held["bound"]), changes)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(
            f"{file} is not what CoordinateCheck.save writes: check again, and save it"
        ) from error


def _changes(make: Callable[[int], Made], width: int, seed: int, steps: int) -> Iterator[Change]:
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        model, optimizer, loss = make(width)
        first: dict[str, Tensor] = {}
        for step in range(steps + 1):
            with _outputs(model) as seen:
                value = loss(model)
            for layer, output in seen.items():
                before = first.setdefault(layer, output)
                if step and before.shape == output.shape:
                    yield Change(width, seed, step, layer, _rms(output - before), _rms(output))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()


@contextmanager
def _outputs(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """What each layer puts out in the calls within, joined where it is called more than once."""
    seen: dict[str, Tensor] = {}

    def noting(layer: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
            values = (
                next((one for one in output if isinstance(one, Tensor)), None)
                if isinstance(output, tuple)
                else output
            )
            if isinstance(values, Tensor) and values.is_floating_point():
                flat = values.detach().float().flatten()
                seen[layer] = torch.cat([seen[layer], flat]) if layer in seen else flat

        return note

    layers = [
        (path or type(model).__name__, module)
        for path, module in model.named_modules()
        if not any(True for _ in module.children()) and any(True for _ in module.parameters(recurse=False))
    ]
    handles = [module.register_forward_hook(noting(layer)) for layer, module in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())


def _mean_logs(
    changes: Sequence[Change], layer: str, steps: Sequence[int], widths: Sequence[float]
) -> list[float]:
    """For each width the mean log of a layer's change over steps and seeds; NaN where one is not finite."""
    found: dict[float, list[float]] = {width: [] for width in widths}
    for one in changes:
        if one.layer == layer and one.step in steps:
            found[one.width].append(one.change)
    return [
        float(np.mean(np.log(values))) if values and all(0 < v < math.inf for v in values) else math.nan
        for values in found.values()
    ]


def _slope(
    changes: Sequence[Change], layer: str, steps: Sequence[int], widths: Sequence[float]
) -> float | None:
    """Exponent of the width in a layer's change; None where it never changes, as what is frozen does."""
    if not any(one.change for one in changes if one.layer == layer):
        return None
    logs = _mean_logs(changes, layer, steps, widths)
    if not np.isfinite(logs).all():
        return math.nan
    return float(np.polyfit(np.log(widths), logs, 1)[0])
