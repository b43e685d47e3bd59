"""A checkpoint of several ranks in one folder: what they wrote alike once, what differs under each rank.

    folder/                 rank 0's files, and those that no other rank wrote
    folder/.raysearch.ranks/1/   what rank 1 wrote otherwise

Sharded checkpoints (torch.distributed.checkpoint), whose ranks write files of different names, lie side by
side as if all had written into the folder.
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from raysearch.storage.checkpoints.links import linked
from raysearch.storage.paths import CHECKPOINT_META, CHECKPOINT_RANKS
from raysearch.worker.group.messages import Piece

PIECE = 8 << 20  # bytes of a file that are sent at a time


def part_of(folder: Path, rank: int) -> Path:
    """Where a rank writes its part until `merge`."""
    return folder / f"{CHECKPOINT_RANKS}.new" / str(rank)


def pieces_of(part: Path) -> Iterator[Piece]:
    """The files of a part, piece by piece: an empty file is one empty piece."""
    for file in sorted(each for each in part.rglob("*") if each.is_file()):
        name = file.relative_to(part).as_posix()
        with file.open("rb") as stream:
            data = stream.read(PIECE)
            yield Piece(name, data)
            while data := stream.read(PIECE):
                yield Piece(name, data)


def take(part: Path, piece: Piece) -> None:
    """Adds a piece to its file in `part`.

    Raises:
        OSError: it cannot be written.
    """
    file = part / piece.name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as stream:
        stream.write(piece.data)


def merge(folder: Path, ranks: Iterable[int]) -> None:
    """Brings the parts of these ranks, in this order, together in `folder`; those of others are deleted.

    Raises:
        OSError: a file cannot be moved.
    """
    for rank in ranks:
        part = part_of(folder, rank)
        for source in sorted(file for file in part.rglob("*") if file.is_file()):
            relative = source.relative_to(part)
            if str(relative) == CHECKPOINT_META and (folder / relative).exists():
                continue
            target = folder / relative
            if target.exists():
                if filecmp.cmp(source, target, shallow=False):
                    continue
                target = folder / CHECKPOINT_RANKS / str(rank) / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
    shutil.rmtree(folder / f"{CHECKPOINT_RANKS}.new", ignore_errors=True)


def view_for(rank: int, checkpoint: Path, scratch: Path) -> Path:
    """The checkpoint as the rank wrote it: `checkpoint` itself, or a new folder in `scratch`.

    Raises:
        OSError: the folder cannot be made.
    """
    if not (checkpoint / CHECKPOINT_RANKS).is_dir():
        return checkpoint
    view = scratch / "view"
    shutil.rmtree(view, ignore_errors=True)
    leave_out = shutil.ignore_patterns(CHECKPOINT_RANKS)
    shutil.copytree(checkpoint, view, ignore=leave_out, copy_function=linked)
    own = checkpoint / CHECKPOINT_RANKS / str(rank)
    for file in (each for each in own.rglob("*") if each.is_file()):
        target = view / file.relative_to(own)
        target.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        linked(str(file), str(target))
    return view
