"""What the series costs beyond its own work: imports, and notebooks around TensorFlow and fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import comparison, timed
from digitlib.pipeline.kernels import preparation_of

TOP = Path(__file__).parents[1]


def import_seconds(module: str) -> float:
    """Return the median time of an import in a new interpreter, less that of the interpreter."""
    code = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(5)
    ]
    return float(np.median([float(run.stdout.split()[-1]) for run in runs]))


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """`import digitlib`, and the whole series headless against the imports and the fit in it."""
    light, heavy = import_seconds("digitlib"), import_seconds("digitlib.training.backend")
    command = [sys.executable, "-m", "digitlib", "run", "--data", data, "--out", "runs/overhead"]
    with timed("the series, headless") as clock:
        subprocess.run(command, cwd=TOP, check=True, stdout=subprocess.DEVNULL)
    metrics = json.loads((Path(os.environ["DIGITLIB_ROOT"]) / "runs/overhead/metrics.json").read_text())
    importing = sum(
        "digitlib.training.backend" in loaded_by(path)
        for path in sorted((TOP / "notebooks").glob("0*.ipynb"))
    )
    needed = importing * heavy + metrics["fit_seconds"]
    return {
        "import digitlib": light,
        "import of TensorFlow": heavy,
        "notebooks that import TensorFlow": importing,
        "fit_seconds": metrics["fit_seconds"],
        "series": clock.seconds,
        "series against imports and fit": clock.seconds / needed,
    }


def loaded_by(path: Path) -> list[str]:
    """Return the modules that are loaded for a notebook's imports and for what its cells take from digitlib."""
    code = f"{preparation_of(path)}\nimport sys\nprint(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return told.stdout.split()


if __name__ == "__main__":
    main()
