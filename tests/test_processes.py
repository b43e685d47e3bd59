"""A worker's process: where its output goes, and what becomes of an isolated trial whose worker is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from waiting import wait_for

TESTS = Path(__file__).parent

PRINTS = """
import os, subprocess, sys
from pathlib import Path
from raysearch.worker.logs import TrialOutput
trial = "segment 0.0"
TrialOutput(Path(sys.argv[1]), lambda: trial).take_over()
print("from python", sys.stdout.encoding.lower())
os.write(1, b"from C\\n")
subprocess.run(["echo", "from a child"], stdout=sys.stdout, check=True)
trial = "segment 1.0"
sys.stderr.buffer.write(b"bytes\\n")
print("from the next trial: \\udcff", file=sys.stderr)
"""

HANGS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import trainables
from scripted import segment
from dataclasses import replace
from raysearch.engine.messages import Lease
from raysearch.worker.isolated_host import IsolatedHost
from raysearch.worker.shipping import ship
from raysearch.worker.job import Job

host = IsolatedHost(Job("", ship(trainables.Hanging), "loss", "min"), Path(sys.argv[2]), None)
start = host._start
host._start = lambda trial: (start(trial), print(host._child.pid, flush=True))
host.train(Lease(replace(segment(0), config={"rate": 0.9})), None, lambda iteration: False)
"""


def test_all_output_of_a_process_is_in_its_file_under_the_trials_heading(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "worker-0.log"
    done = subprocess.run([sys.executable, "-c", PRINTS, str(log)], capture_output=True, check=True)
    assert done.stdout == done.stderr == b""
    assert log.read_text() == (
        "--- segment 0.0\nfrom python utf-8\nfrom C\nfrom a child\nbytes\n"
        "--- segment 1.0\nfrom the next trial: \\udcff\n"
    )


def test_an_isolated_trial_does_not_outlive_its_worker(tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", HANGS, str(TESTS), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    child = int(worker.stdout.readline())
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    wait_for(lambda: not _runs(child))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
