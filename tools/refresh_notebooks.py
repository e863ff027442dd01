"""Execute the notebooks anew on the sample, with the default parameters, and keep their outputs.

The runs go to an empty folder, so that nothing cached stands in for the real work.
"""

from __future__ import annotations

import base64
import io
import os
import tempfile
from pathlib import Path

import nbformat
from guards import tidy
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def smaller(picture: str) -> str:
    """Return a PNG in base64 with a palette of 128 colours: plots have no more, and take a third of the space."""
    shrunk = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB").quantize(
        128, dither=Image.Dither.NONE
    ).save(shrunk, "PNG", optimize=True)
    return base64.b64encode(shrunk.getvalue()).decode()


def refresh(path: Path) -> None:
    """Execute one notebook and write it back, without times and other noise in its metadata."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
    ).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if picture := output.get("data", {}).get("image/png"):
                output["data"]["image/png"] = smaller(picture)
    nbformat.write(notebook, path)
    list(tidy(path))


def main() -> None:
    """Refresh all notebooks in order."""
    with tempfile.TemporaryDirectory() as root:
        os.environ |= {"DIGITLIB_ROOT": root, "TQDM_DISABLE": "1"}
        for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
            print(path.name, flush=True)
            refresh(path)


if __name__ == "__main__":
    main()
