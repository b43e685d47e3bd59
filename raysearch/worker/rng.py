"""The random generators of a worker: seeded before each segment, kept where one is broken off."""

from __future__ import annotations

import base64
import json
import random
import sys
import zlib
from pathlib import Path
from typing import Any

from raysearch.core.segment import Segment
from raysearch.errors import CheckpointError
from raysearch.storage.atomic import read_text
from raysearch.storage.paths import CHECKPOINT_RANDOM


def seed_of(segment: Segment, at: int | None = None) -> int:
    """What the random generators are seeded with before a segment, or before it goes on after `at`."""
    return zlib.crc32(f"{segment.seed}:{segment.start if at is None else at}".encode())


def seed_all(seed: int) -> None:
    """Seeds Python's, NumPy's and torch's global generators, those that are loaded.

    torch.manual_seed would also note its call stack for a GPU that is not in use, which takes longer.
    """
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(seed)


def state() -> dict[str, Any]:
    """The state of the generators that `seed_all` seeds, in a form that JSON holds; `put_back` takes it."""
    version, words, normal = random.getstate()
    found: dict[str, Any] = {"python": [version, [*words], normal]}
    if "numpy" in sys.modules:
        name, keys, *rest = sys.modules["numpy"].random.get_state()
        found["numpy"] = [name, keys.tolist(), *rest]
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        found["torch"] = _text(torch.default_generator.get_state())
        if torch.cuda.is_available():
            found["cuda"] = [_text(each) for each in torch.cuda.get_rng_state_all()]
    return found


def put_back(known: dict[str, Any]) -> None:
    """Brings the generators to a state that `state` returned."""
    version, words, normal = known["python"]
    random.setstate((version, tuple(words), normal))
    if "numpy" in known:
        sys.modules["numpy"].random.set_state(tuple(known["numpy"]))
    if "torch" in known and "torch" in sys.modules:
        _restore_torch(sys.modules["torch"], known)


def save(folder: Path) -> None:
    """Writes the state of the generators that `seed_all` seeds into a checkpoint, as JSON."""
    (folder / CHECKPOINT_RANDOM).write_text(json.dumps(state()), encoding="utf-8")


def restore(folder: Path) -> bool:
    """Brings the generators to the state in a checkpoint; False if it holds none.

    Raises:
        CheckpointError: it is torn, or a pickle, as 0.1 wrote it: nothing is unpickled that others can write.
    """
    file = folder / CHECKPOINT_RANDOM
    if not file.exists():
        return False
    try:
        put_back(json.loads(read_text(file)))
    except Exception as error:
        raise CheckpointError(f"the random generators in {file} cannot be read: {error}") from error
    return True


def _restore_torch(torch: Any, state: dict[str, Any]) -> None:
    torch.default_generator.set_state(_tensor(torch, state["torch"]))
    if torch.cuda.is_available():
        for device, each in enumerate(state.get("cuda", [])[: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(_tensor(torch, each), device)


def _text(state: Any) -> str:
    return base64.b64encode(bytes(state.cpu().numpy())).decode()


def _tensor(torch: Any, text: str) -> Any:
    return torch.frombuffer(bytearray(base64.b64decode(text, validate=True)), dtype=torch.uint8)
