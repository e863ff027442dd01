"""How long each notebook takes, extras included, executed one after another as papermill does it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import papermill

from benchmarks.common import comparison, timed

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Seconds of every notebook with its default parameters, start of its kernel included."""
    os.environ |= {"TQDM_DISABLE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    figures = {}
    for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        given = {"data": data} if "data" in papermill.inspect_notebook(str(path)) else {}
        with timed(path.stem) as clock:
            papermill.execute_notebook(
                str(path),
                None,
                given,
                kernel_name="python3",
                progress_bar=False,
                cwd=os.environ["DIGITLIB_ROOT"],
            )
        figures[path.name] = clock.seconds
    return {"seconds": figures}


if __name__ == "__main__":
    main()
