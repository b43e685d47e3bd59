"""Trees of recorded trainings, each node trained on from its parent's weights with one of a few choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from raysearch.core.segment import Config
from raysearch.errors import SpecError, unknown
from raysearch.space.space import Space

Path_ = tuple[int, ...]  # the choice made in each segment


@dataclass(frozen=True)
class Tree:
    """Recorded trainings of one seed.

    Attributes:
        curves: path -> the metric after each epoch of its last segment.
        choices: the configuration that each choice stands for.
    """

    curves: Mapping[Path_, Sequence[float]]
    choices: Sequence[Config]

    @cached_property
    def depth(self) -> int:
        """Segments of a whole training."""
        return max(map(len, self.curves))

    @cached_property
    def length(self) -> int:
        """Epochs of a segment."""
        return len(next(iter(self.curves.values())))

    @cached_property
    def space(self) -> Space:
        """The hyper-parameters, each with its recorded values in order."""
        names = self.choices[0].keys()
        values = {name: sorted({config[name] for config in self.choices}) for name in names}
        return Space.from_dict({name: {"ordinal": found} for name, found in values.items()})

    @property
    def middle(self) -> Config:
        """The start in the middle of the space."""
        return self.space.decode([0.5] * self.space.dimension)

    def value(self, path: Path_) -> float:
        """The metric at the end of a path."""
        return float(self.curves[path][-1])


def read_trees(file: str, metric: str) -> dict[int, Tree]:
    """The trees in a Parquet file, by seed: columns seed, path, hp_*, and lists of curves.

    Raises:
        SpecError: it cannot be read, or lacks a column.
    """
    import pandas as pd

    if not Path(file).is_file():
        raise SpecError(f"{file}: there is no such file")
    try:
        frame = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise SpecError(f"{file}: cannot be read as Parquet: {error}") from None
    names = [name for name in frame.columns if name.startswith("hp_")]
    for column in ("seed", "path", "choice", metric):
        if column not in frame.columns:
            raise SpecError(f"{file}: {unknown('column', column, frame.columns)}")
    first = frame.drop_duplicates("choice").sort_values("choice")
    choices = [
        {name.removeprefix("hp_"): float(value) for name, value in zip(names, row, strict=True)}
        for row in first[names].itertuples(index=False, name=None)
    ]
    return {
        int(str(seed)): Tree(
            {tuple(map(int, p)): v for p, v in zip(rows["path"], rows[metric], strict=True)}, choices
        )
        for seed, rows in frame.groupby("seed")
    }
