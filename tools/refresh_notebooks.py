"""Execute the notebooks on the sample with the default parameters, and keep their outputs.

Runs go to an empty folder, so that nothing cached replaces the real work.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from guards import tidy
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def refresh(path: Path) -> None:
    """Execute one notebook and write it back, without times and other noise in its metadata."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
    ).execute()
    nbformat.write(notebook, path)
    list(tidy(path))


def main() -> None:
    """Refresh all notebooks in order, then the solutions, which need what the notebooks leave."""
    with tempfile.TemporaryDirectory() as root:
        os.environ |= {"DIGITLIB_ROOT": root, "TQDM_DISABLE": "1"}
        for path in [*sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), *sorted(NOTEBOOKS.glob("solutions/[0-9]*.ipynb"))]:
            print(path.name, flush=True)
            refresh(path)


if __name__ == "__main__":
    main()
