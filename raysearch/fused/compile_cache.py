"""Steps as machine code, which torch's compiler makes from a list of operations.

It takes the compiler half a minute of a processor for each list, so it works in a process of its own, at
low priority, while training goes on by the list. Its result lies in the cache folder, so the next
worker and the next search only load it. The process that trains never loads the compiler.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.utils._pytree import tree_leaves

from raysearch.core.cache_dir import cache_folder, why_shared
from raysearch.fused.graph_capture import written

if TYPE_CHECKING:
    from raysearch.fused.packed_state import Rows
    from raysearch.fused.plan import Moment
    from raysearch.fused.step import Step, StepBlock

WORTH_S = 60.0  # spent in steps of one shape: about what compiling costs, so it is twice the best at most
_VIEWS = ("weights", "gradients")  # of the rows, which are given too


class Library:
    """A step in compilation, and then the compiled step.

    Attributes:
        trouble: why there is no compiled step, in words; empty while there may be one.
    """

    def __init__(self, steps: GraphModule, inputs: Sequence[Tensor], home: Path | None = None) -> None:
        """Starts the compiler unless the result is cached. The compiler's process ends with this one."""
        self._strides = [tensor.stride() for tensor in inputs]
        self._file = (home or cache_folder() / "compiled") / f"{_key(steps, inputs)}.pt2"
        self._run: Any = None
        self._process: subprocess.Popen[bytes] | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (as long as the process)
        self.trouble = self._distrust() or ("" if self._file.exists() else missing(inputs[0].device))
        if not self.trouble and not self._file.exists():
            self._start(steps, inputs)

    def ready(self) -> bool:
        """True if it can be called; looks how far the compiler is."""
        if self._run is None and not self.trouble and self._is_made():
            self.trouble = self._distrust()
        if self._run is None and not self.trouble and self._is_made():
            try:
                self._run = torch._C._aoti.AOTIModelPackageLoader(str(self._file), "model", False, 1, -1)
            except RuntimeError as error:
                self._file.unlink(missing_ok=True)  # made again by the next one
                self.trouble = f"what was compiled cannot be loaded: {error}"
        return self._run is not None

    def is_busy(self) -> bool:
        """True while the compiler is at work."""
        return self._process is not None and self._process.poll() is None

    def wait(self, seconds: float) -> bool:
        """Waits for the compiler, at most for `seconds`; returns `ready`."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        return self.ready()

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        """Does to the inputs what the list does; the losses.

        Raises:
            RuntimeError: they lie in memory in another way, of which the library itself would not take note.
        """
        if [tensor.stride() for tensor in inputs] != self._strides:
            raise RuntimeError("inputs of a compiled step lie in memory in another way than before")
        losses: Tensor = self._run.boxed_run(list(inputs))[0]
        return losses

    def _start(self, steps: GraphModule, inputs: Sequence[Tensor]) -> None:
        content = pickle.dumps((steps, list(inputs), torch.get_num_threads()))
        digest = hashlib.sha256(content).hexdigest()  # what another process writes into the job is not loaded
        command = [sys.executable, "-m", "raysearch.fused.compile_worker", str(self._file), digest]
        quiet = subprocess.DEVNULL
        with tempfile.TemporaryFile() as job:
            job.write(content)
            job.seek(0)
            self._process = subprocess.Popen(command, stdin=job, stdout=quiet, stderr=self._said)
        weakref.finalize(self, _end, self._process)

    def _distrust(self) -> str:
        """Why the library is neither made nor loaded, in words; empty if only this user can change it."""
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = why_shared(self._file if self._file.exists() else self._file.parent)
        except OSError as error:
            found = f"{self._file.parent}: {error.strerror or error}"
        return f"compiled code is not kept where others could change it: {found}" if found else ""

    def _is_made(self) -> bool:
        if self._process is None:
            return self._file.exists()
        if self._process.poll():
            self.trouble = self._words() or f"the compiler ended with {self._process.returncode}"
        return self._process.returncode == 0

    def _words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def missing(device: torch.device) -> str:
    """What compiling needs and this machine lacks, in words; empty if nothing."""
    if device.type != "cpu":
        return f"only steps on a CPU are compiled, not on {device.type}"
    if not hasattr(torch._C, "_aoti") or not hasattr(torch._C._aoti, "AOTIModelPackageLoader"):
        return f"torch {torch.__version__} cannot load compiled steps"
    named = os.environ.get("CXX")
    if not any(shutil.which(each) for each in ([named] if named else ["g++", "clang++"])):
        return f"there is no C++ compiler ({named or 'g++, clang++'}) on this machine"
    return ""


def inputs_of(block: StepBlock, moment: Moment, rows: Rows | None = None) -> list[Tensor]:
    """What a compiled step of a block takes: no two of them share memory. Of other rows where given."""
    given = block.tensors(rows)
    own = tree_leaves({name: value for name, value in given.items() if name not in _VIEWS})
    return [*own, moment.examples.contiguous(), *moment[1:]]


def listed(step: Step, block: StepBlock, moment: Moment) -> tuple[GraphModule, list[Tensor]]:
    """The step as a list of operations on `inputs_of`, with inputs to try it on.

    Weights and gradients are views that the list takes of the rows, as a compiler needs to know it.
    """
    rows, models = block.rows.copied(block.first, block.stop), block.stop - block.first
    given = block.tensors(rows)
    moment = moment._replace(examples=moment.examples.contiguous())

    def whole() -> Tensor:
        parameters, gradients, _ = given["rows"]
        own = [list(rows.leaves(0, models, of).values()) for of in (parameters, gradients)]
        return step({**given, **dict(zip(_VIEWS, own, strict=True))}, moment)

    inputs = tree_leaves({name: value for name, value in given.items() if name not in _VIEWS})
    steps = written(whole, [*inputs, *moment])
    return steps, inputs_of(block, moment, block.rows.copied(block.first, block.stop))


def _key(steps: GraphModule, inputs: Sequence[Tensor]) -> str:
    """Equal for lists that do the same to inputs of the same shapes, on the same kind of processor."""
    found = hashlib.sha256()
    about = [(tuple(t.shape), t.stride(), str(t.dtype), t.device.type) for t in inputs]
    machine = (torch.__version__, torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())
    found.update(repr((machine, about, str(steps.graph))).encode())
    for name, constant in steps.named_buffers():
        found.update(name.encode())
        found.update(constant.detach().contiguous().flatten().view(torch.uint8).cpu().numpy().tobytes())
    return found.hexdigest()[:32]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait()
