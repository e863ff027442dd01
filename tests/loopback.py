"""A real Dask cluster on this machine, each part a command of its own, and what can happen to it in mid-sweep."""

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
    """A scheduler and workers, as somebody would start them in separate terminals.

    Parameters
    ----------
    root : pathlib.Path
        The project's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.log, self.started = root, (root / "cluster.log").open("wb"), []
        self.environment = os.environ | {"DIGITLIB_ROOT": str(root), "TQDM_DISABLE": "1"}
        file = root / "scheduler.json"
        self.command("dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0",
            "--scheduler-file", str(file))  # fmt: skip
        self.address = until(lambda: file.exists() and file.read_text(), "scheduler")
        self.address = json.loads(self.address)["address"]

    def command(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start ``python -m ...`` beside this process."""
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], env=self.environment, stdout=self.log, stderr=self.log
        )
        self.started.append(process)
        return process

    def worker(self) -> subprocess.Popen[bytes]:
        """Start ``dask worker`` with one thread. Without a nanny, which would start it again when it is killed."""
        return self.command("dask", "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard")

    def sweep(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start ``digitlib sweep`` on this cluster."""
        return self.command("digitlib", "sweep", *arguments, "--scheduler", self.address)

    def close(self) -> None:
        """End what was started."""
        for process in self.started:
            process.kill()
            process.wait()
        self.log.close()


@contextmanager
def loopback(root: Path) -> Iterator[Loopback]:
    """Start a scheduler, and end it and all that was started with it."""
    cluster = Loopback(root)
    try:
        yield cluster
    finally:
        cluster.close()


def at_work(out: Path, process: subprocess.Popen[bytes]) -> str:
    """Return the run that a worker holds, empty if none."""
    for path in out.glob("*/.lock"):
        try:
            if path.read_text() == str(process.pid) and path.parent.name != "split":
                return path.parent.name
        except OSError:  # it has just been given back
            continue
    return ""


def finished(out: Path) -> dict[str, int]:
    """Return when each finished run got its mark, in nanoseconds."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/done.json")}


def drama(root: Path, space: str, out: str) -> dict[str, Any]:
    """Do a sweep on two workers, of which one is killed, one is added, and whose client is killed and started again.

    Returns
    -------
    dict
        ``killed_in`` (the run that the worker was at), ``done_before`` (runs finished when the client was killed),
        ``done_again`` (those of them that were done a second time), ``code`` (exit code of the second client).
    """
    arguments, folder = (space, "--no-notebooks", "--out", out), root / out
    with loopback(root) as cluster:
        first, _ = cluster.worker(), cluster.worker()
        client = cluster.sweep(*arguments)
        run = until(lambda: at_work(folder, first), "run begun")
        until(
            lambda: (folder / run / "history.csv").exists() or (folder / run / "done.json").exists(), "epoch"
        )
        run = until(lambda: at_work(folder, first), "run begun")
        first.kill()
        first.wait()
        cluster.worker()
        until(lambda: finished(folder), "finished run")
        client.kill()
        client.wait()
        before = finished(folder)
        code = cluster.sweep(*arguments).wait(PATIENCE)
    after = finished(folder)
    again = [name for name, when in before.items() if after[name] != when]
    return {"killed_in": run, "done_before": len(before), "done_again": again, "code": code}
