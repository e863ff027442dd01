"""What `import digitlib`, the series of notebooks, and each notebook take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import papermill

from benchmarks.common import comparison, timed

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9]*.ipynb"))


def import_seconds() -> float:
    """Return the median time of ``import digitlib`` in a new interpreter."""
    code = "import time; start = time.perf_counter(); import digitlib; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", code]
    told = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(5)]
    return float(np.median([float(text) for text in told]))


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Seconds of ``import digitlib`` and of the series by `digitlib run`; with --full of each notebook, extras included."""
    os.environ["TQDM_DISABLE"] = "1"
    command = [sys.executable, "-m", "digitlib", "run", "--data", data, "--out", "runs/series"]
    with timed("digitlib run") as series:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = {}
    for path in NOTEBOOKS if full else ():
        given = {"data": data} if "data" in papermill.inspect_notebook(str(path)) else {}
        with timed(path.stem) as clock:
            papermill.execute_notebook(
                path, None, given, kernel_name="python3", progress_bar=False, cwd=os.environ["DIGITLIB_ROOT"]
            )
        seconds[path.name] = clock.seconds
    return {"import digitlib": import_seconds(), "series seconds": series.seconds, "seconds": seconds}


if __name__ == "__main__":
    main()
