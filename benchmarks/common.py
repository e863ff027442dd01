"""What every comparison shares: its options, the machine in the table's header, the file of results."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import joblib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("tensorflow", "keras", "numpy", "pillow", "numba")


def comparison(function: Callable[..., dict[str, Any]]) -> click.Command:
    """Make a command of a comparison: it works in an empty project folder, so that every cache is cold.

    The function gets `data` (a folder of class folders), `full` and `seed`, and
    returns its figures, which are printed and written to ``results/NAME.json``.
    """
    name = Path(sys.modules[function.__module__].__file__ or "").stem

    @click.command(name, help=function.__doc__)
    @click.option("--data", default="sample", show_default=True, help="Folder of class folders, or 'sample'.")
    @click.option("--full", is_flag=True, help="All seeds and sizes; takes as long as it takes.")
    @click.option("--seed", default=1, show_default=True, help="The first seed.")
    @wraps(function)
    def command(data: str, full: bool, seed: int) -> None:
        data = data if data in ("sample", "mnist") else str(Path(data).absolute())
        with tempfile.TemporaryDirectory() as root:
            os.environ["DIGITLIB_ROOT"] = root
            figures = function(data=data, full=full, seed=seed)
        content = {"name": name, "full": full, "seed": seed, "data": Path(data).name} | machine() | figures
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        for key, value in content.items():
            click.echo(f"{key:32} {value:.6g}" if isinstance(value, float) else f"{key:32} {value}")

    return command


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cores": joblib.cpu_count(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "date": time.strftime("%Y-%m-%d"),
    }


class Clock:
    """Seconds of a ``with`` block."""

    seconds = 0.0


@contextmanager
def timed(what: str) -> Iterator[Clock]:
    """Time a block, and say so on standard error, where the progress of a benchmark belongs."""
    clock, start = Clock(), time.perf_counter()
    yield clock
    clock.seconds = time.perf_counter() - start
    click.echo(f"  {what}: {clock.seconds:.2f} s", err=True)
