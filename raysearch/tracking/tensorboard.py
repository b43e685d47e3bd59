"""TensorBoard, through tensorboardX: RUN/tensorboard/KEY, a folder a run. See with `tensorboard --logdir`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tensorboardX import SummaryWriter

from raysearch.errors import RunError

if TYPE_CHECKING:
    from raysearch.storage.paths import RunPaths
    from raysearch.tracking.rows import Feed


class TensorBoard:
    """A sink; see raysearch.tracking.sinks."""

    def __init__(self, paths: RunPaths) -> None:
        self._folder = paths.root / "tensorboard"
        try:
            if self._folder.is_dir():
                shutil.rmtree(self._folder)  # the runs are written anew
            self._folder.mkdir()
        except OSError as error:
            raise RunError(
                f"TensorBoard's files cannot be written to {self._folder}: {error.strerror or error}; "
                "what is there must be a folder that this user may write"
            ) from None
        self._writers: dict[str, Any] = {}

    def log(self, feed: Feed, row: Mapping[str, Any], number: int) -> None:
        """Every number of a row as a scalar, at its training iteration, or its number in the search's own run."""  # noqa: E501
        writer = self._writer(feed)
        step = int(row.get("training_iteration", number))
        for name, value in row.items():
            if (
                isinstance(value, (int, float))
                and not isinstance(value, bool)
                and name != "training_iteration"
            ):
                writer.add_scalar(name, value, step)

    def end(self, feeds: Sequence[Feed]) -> None:
        """Writes configurations with their results, for TensorBoard's HPARAMS page; closes the files."""
        for feed in feeds:
            last = {n: v for n, v in (feed.rows[-1] if feed.rows else {}).items() if isinstance(v, float)}
            if feed.config and last:
                plain = {
                    n: v if isinstance(v, (int, float, str, bool)) else str(v) for n, v in feed.config.items()
                }
                metrics = {f"final/{name}": value for name, value in last.items()}
                self._writer(feed).add_hparams(plain, metrics, name=".")
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _writer(self, feed: Feed) -> Any:
        if feed.key not in self._writers:
            # `add_hparams` opens a file of its own there, in the same second with the same name but for this.
            folder = str(self._folder / feed.name)
            self._writers[feed.key] = SummaryWriter(folder, write_to_disk=True, filename_suffix=".rows")
        return self._writers[feed.key]


def make(paths: RunPaths) -> TensorBoard:
    """The sink of a run."""
    return TensorBoard(paths)
