"""A real Dask cluster on this machine, each part a process of its own, and what can happen to it in mid-sweep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 900
"""Seconds to wait for anything: a busy machine takes minutes to load TensorFlow."""


def until(true: Callable[[], Any], what: str) -> Any:
    """Wait for something to become true, and return it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.1)
    raise TimeoutError(f"no {what} within {PATIENCE} s")


class Loopback:
    """A scheduler and workers, as somebody would start them in separate terminals."""

    def __init__(self, root: Path, workers: int = 0) -> None:
        self.root, self.log, self.started = root, (root / "cluster.log").open("wb"), []
        self.environment = os.environ | {"DIGITLIB_ROOT": str(root), "TQDM_DISABLE": "1"}
        file = root / "scheduler.json"
        options = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0")
        self.start("-m", "dask", "scheduler", *options, "--scheduler-file", str(file))
        self.address = json.loads(until(lambda: file.exists() and file.read_text(), "scheduler"))["address"]
        self.workers = [self.worker() for _ in range(workers)]

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start Python with these arguments beside this process."""
        process = subprocess.Popen([sys.executable, *arguments], env=self.environment, stdout=self.log, stderr=self.log)
        self.started.append(process)
        return process

    def worker(self) -> subprocess.Popen[bytes]:
        """Start ``dask worker`` with one thread. Without a nanny, which would start it again when it is killed."""
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        return self.start("-m", "dask", "worker", self.address, *options)

    def sweep(self, space: str, out: str) -> subprocess.Popen[bytes]:
        """Start a sweep on this cluster in a process of its own."""
        code = "import sys; from digitlib.scale import read_space, run_sweep; "
        code += "run_sweep(read_space(sys.argv[1]), sys.argv[2], scheduler=sys.argv[3])"
        return self.start("-c", code, space, out, self.address)


@contextmanager
def loopback(root: Path, workers: int = 0) -> Iterator[Loopback]:
    """Start a scheduler and workers, and end them and all that was started with them."""
    cluster = Loopback(root, workers)
    try:
        yield cluster
    finally:
        for process in reversed(cluster.started):
            process.kill()
            process.wait()
        cluster.log.close()


def finished(out: Path) -> dict[str, int]:
    """Return when each finished run was evaluated, in nanoseconds."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/metrics.json")}


def drama(root: Path, space: str, out: str) -> dict[str, Any]:
    """Do a sweep on two workers, of which one is killed, one is added, and whose client is killed and started again.

    Returns
    -------
    dict
        ``done_before`` (runs finished when the client was killed), ``done_again`` (those of them that were done a second
        time), ``code`` (exit code of the second client).
    """
    folder = root / out
    with loopback(root, 2) as cluster:
        client = cluster.sweep(space, out)
        until(lambda: list(folder.glob("*/history.csv")), "epoch")
        cluster.workers[0].kill()
        cluster.worker()
        until(lambda: finished(folder), "finished run")
        client.kill()
        client.wait()
        before = finished(folder)
        code = cluster.sweep(space, out).wait(PATIENCE)
    after = finished(folder)
    again = [name for name, when in before.items() if after[name] != when]
    return {"done_before": len(before), "done_again": again, "code": code}
