"""The notebooks in JupyterLab, in a real browser: every cell run, as a reader would.

``DIGITLIB_LAB=all`` takes all notebooks instead of the first two, and trains with the recipe of their
own; ``DIGITLIB_LAB_PICTURES=FOLDER`` keeps a picture of each.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest
from browsing import NO_BROWSER, browser
from jupyterlab import (
    all_cells_run,
    cells_of,
    jupyterlab,
    open_notebook,
    photograph,
    render_all_cells,
    run_all_cells,
    shown_text,
    wait_for,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER or "there is a browser"),
]

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9]*.ipynb"))
WANTED = os.environ.get("DIGITLIB_LAB", "01,02")
CHOSEN = [path for path in NOTEBOOKS if WANTED == "all" or path.name[:2] in WANTED.split(",")]
BAR = re.compile(r"\d+%\|")


def test_every_cell_runs_and_shows_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)  # somebody watches
    shutil.copytree(NOTEBOOKS[0].parent, tmp_path / "notebooks")
    if runs := os.environ.get("DIGITLIB_LAB_RUNS"):
        shutil.copytree(runs, tmp_path / "runs")
    render_all_cells(tmp_path)
    with jupyterlab(tmp_path) as address:
        for path in CHOSEN:
            with browser(tmp_path / f"profile-{path.stem}", 1100, 1000) as driver:
                open_notebook(driver, f"{address}/lab/workspaces/{path.stem}/tree/notebooks/{path.name}")
                before = _images_shown(driver)
                wait_for(lambda: run_all_cells(driver), 60)
                bars, start = set(), time.monotonic()
                while not all_cells_run(driver):
                    assert time.monotonic() - start < 1800, f"{path.name} has not come to its end"
                    bars |= {line[:60] for line in shown_text(driver).splitlines() if BAR.search(line)}
                    time.sleep(0.3)
                if folder := os.environ.get("DIGITLIB_LAB_PICTURES"):
                    photograph(driver, Path(folder) / f"{path.stem}.png")
                code = [cell for cell in cells_of(driver) if cell["cell_type"] == "code"]
                outputs = [output for cell in code for output in cell["outputs"]]
                errors = [output for output in outputs if output["output_type"] == "error"]
                assert not errors, (path.name, errors)
                assert all(cell["execution_count"] for cell in code), path.name
                assert not [output for output in outputs if output.get("name") == "stderr"], path.name
                assert not BAR.search(shown_text(driver)), f"{path.name} leaves a progress bar behind"
                assert _images_shown(driver) == before, (
                    f"{path.name} shows other pictures than it was kept with"
                )
                print(f"{path.name}: {time.monotonic() - start:.0f} s, bars: {sorted(bars)[:3]}")


def _images_shown(driver: object) -> int:
    """Return how many pictures with alternative text stand in the outputs; all must have loaded."""
    code = """const images = [...document.querySelectorAll('.jp-OutputArea-output img')];
        return [images.length, images.filter(image => image.naturalWidth > 0 && image.alt.length > 20).length];"""
    there, good = driver.execute_script(code)
    assert there == good
    return good
