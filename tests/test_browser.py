"""The pad, the exported page and the notebooks in a real browser, with real mouse events.

``DIGITLIB_LAB=all`` takes all notebooks instead of the first two.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
from browsing import NO_BROWSER, browser, clear, jupyterlab, prediction, run_notebook, shown_text, wait_for, write

import digitlib as d
from digitlib.handwriting import rasterize, read_strokes, to_mnist_format
from digitlib.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER or "there is a browser")]

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9]*.ipynb"))
WANTED = os.environ.get("DIGITLIB_LAB", "01,02")
DRAWINGS = read_strokes()
CASES = [(style, digit) for style in DRAWINGS for digit in DRAWINGS[style]]
BAR = re.compile(r"\d+%\|")


@pytest.fixture(scope="module")
def run(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Return a run of the recipe `fast` on the sample."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIGITLIB_ROOT", str(tmp_path_factory.mktemp("trained")))
        run = d.prepare(sample, "runs/default", mode="none")
        d.train_run(run, d.get_recipe("fast"))
        yield run


@pytest.fixture(scope="module")
def page(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = d.Classifier.load(run).export("html", tmp_path_factory.mktemp("else where"))
    return path.rename(path.with_name("a page with spaces.html"))


def test_the_page_gives_keras_probabilities_on_test_images(run: Run, page: Path, tmp_path: Path) -> None:
    images = d.eval_generator(run, d.load_recipe(run), "test").originals(np.arange(500))
    code = """return arguments[0].map((image) =>
        Array.from(runNet(NETWORK, WEIGHTS, inputOf(Uint8Array.from(image)))));"""
    with browser(tmp_path) as driver:
        driver.get(page.as_uri())
        found = [row for part in images.reshape(10, 50, -1).tolist() for row in driver.execute_script(code, part)]
    assert np.abs(np.array(found) - d.Classifier.load(run).predict_proba(images)).max() < 1e-4


def test_the_page_reads_thirty_drawings(page: Path, tmp_path: Path) -> None:
    wrong = []
    with browser(tmp_path) as driver:
        driver.get(page.as_uri())
        for style, digit in CASES:
            write(driver, DRAWINGS[style][digit])
            if (label := prediction(driver)) != digit:
                wrong.append((style, digit, label))
            image = driver.execute_script("return Array.from(imageOf(arguments[0]))", DRAWINGS[style][digit])
            by_python = to_mnist_format(rasterize(DRAWINGS[style][digit])).ravel().astype(int)
            assert np.abs(image - by_python).max() <= 3, (style, digit)
            clear(driver)
        check = wait_for(lambda: "computes" in (text := driver.find_element("id", "check").text) and text, 60)
        complaints = [entry for entry in driver.get_log("browser") if "favicon" not in entry["message"]]
    assert len(wrong) <= 2, wrong
    assert check.startswith("This browser computes what Keras computes")
    assert complaints == []  # the content security policy would complain here


def test_buttons_keys_and_touch_work_on_a_small_screen(page: Path, tmp_path: Path) -> None:
    with browser(tmp_path) as driver:
        metrics = {"width": 360, "height": 640, "deviceScaleFactor": 2, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
        driver.get(page.as_uri())
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 360
        canvas = driver.find_element("css selector", ".digitpad-canvas")
        box = driver.execute_script(
            "arguments[0].scrollIntoView(); return arguments[0].getBoundingClientRect().toJSON()", canvas
        )
        for stroke in DRAWINGS["school"]["4"]:
            places = [{"x": box["left"] + x * box["width"], "y": box["top"] + y * box["height"]} for x, y in stroke]
            for number, place in enumerate(places):
                touch = {"type": "touchMove" if number else "touchStart", "touchPoints": [place]}
                driver.execute_cdp_cmd("Input.dispatchTouchEvent", touch)
            driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert prediction(driver) == "4"
        undo = driver.find_element("css selector", ".digitpad-undo")
        driver.execute_script("arguments[0].focus()", undo)
        assert driver.switch_to.active_element == undo
        undo.send_keys(" ")
        assert prediction(driver) != "Draw a digit"  # one stroke is left
        undo.send_keys(" ")
        assert prediction(driver) == "Draw a digit"
        assert not undo.is_enabled()


def test_the_pad_reads_drawings_in_jupyterlab(run: Run, tmp_path: Path) -> None:
    source = (
        f"import digitlib as d\nd.DrawingPad({str(run.folder)!r}, strokes=d.handwriting.stored_drawing('school', 7))"
    )
    notebook = nbformat.read(NOTEBOOKS[0], 4)
    notebook.cells = [nbformat.v4.new_code_cell(source)]
    nbformat.write(notebook, tmp_path / "pad.ipynb")
    wrong = []
    with jupyterlab(tmp_path) as address, browser(tmp_path / "profile") as driver:
        run_notebook(driver, f"{address}/lab/tree/pad.ipynb", 120)
        wait_for(lambda: prediction(driver) == "7", 60)
        write(driver, DRAWINGS["school"]["4"])  # the stored 7 vanishes with its first stroke
        wait_for(lambda: prediction(driver) == "4", 60)
        for style, digit in CASES[::3]:
            clear(driver)
            write(driver, DRAWINGS[style][digit])
            if (label := _settled(lambda: prediction(driver))) != digit:
                wrong.append((style, digit, label))
    assert len(wrong) <= 1, wrong


def test_images_are_kept_relabelled_and_dropped_in_jupyterlab(run: Run, tmp_path: Path) -> None:
    split, file = run.split, tmp_path / "corrections.csv"
    some = split.groupby("class").head(1).head(6)
    issues = some[["filename"]].assign(likely_label=["8", "7", *some["class"].tail(4)], quality=0.01)
    issues.to_csv(tmp_path / "issues.csv", index=False)
    source = f"""import pandas as pd
from digitlib.pipeline import ImageCleaner
issues = pd.read_csv({str(tmp_path / "issues.csv")!r}, dtype={{"likely_label": str}})
ImageCleaner({str(run.folder)!r}, issues, file={str(file)!r})"""
    notebook = nbformat.read(NOTEBOOKS[0], 4)
    notebook.cells = [nbformat.v4.new_code_cell(source)]
    nbformat.write(notebook, tmp_path / "clean.ipynb")
    shots = os.environ.get("DIGITLIB_SHOTS")

    def decided() -> list[tuple[str, ...]]:
        lines = file.read_text().splitlines()[1:] if file.exists() else []
        rows = {line.split(",")[0]: tuple(line.split(",")[2:]) for line in lines}
        return [rows.get(name, ()) for name in some["filename"]]

    with jupyterlab(tmp_path) as address, browser(tmp_path / "profile", 1300, 1100) as driver:
        run_notebook(driver, f"{address}/lab/tree/clean.ipynb", 120)
        cards = wait_for(lambda: driver.find_elements("css selector", ".cleaner-card"), 60)
        assert len(cards) == 6
        images = driver.find_elements("css selector", ".cleaner img")
        wait_for(lambda: len(images) == 6 and all(one.get_property("naturalWidth") for one in images), 60)
        cards[0].find_element("css selector", "button.cleaner-relabel").click()
        wait_for(lambda: decided()[0] == ("relabel", "8"), 30)
        cards[1].find_element("css selector", "button.cleaner-drop").click()
        wait_for(lambda: decided()[1] == ("drop", ""), 30)
        driver.execute_script("arguments[0].focus()", cards[2])
        driver.switch_to.active_element.send_keys("k")  # and goes on to the next one
        driver.switch_to.active_element.send_keys("9")
        driver.switch_to.active_element.send_keys("d")
        driver.switch_to.active_element.send_keys("d")  # twice would delete the cell in JupyterLab
        expected = [("relabel", "8"), ("drop", ""), ("keep", ""), ("relabel", "9"), ("drop", ""), ("drop", "")]
        wait_for(lambda: decided() == expected, 30)
        driver.switch_to.active_element.send_keys("u")
        wait_for(lambda: decided()[5] == (), 30)
        assert len(driver.find_elements("css selector", ".jp-CodeCell")) == 1
        status = driver.find_element("css selector", ".cleaner-status")
        wait_for(lambda: status.text.startswith("5 of 6 images decided"), 30)
        for theme in ("Light", "Dark") if shots else ():
            driver.execute_script(
                f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})"
            )
            time.sleep(3)
            driver.save_screenshot(f"{shots}/cleaner-{theme}.png")
    assert run.read_json("source.json").get("corrections") is None


def _settled(read: Callable[[], str]) -> str:
    """Return what `read` returns once it has stayed the same for a second: several strokes give several predictions."""
    last, since = read(), time.monotonic()
    while time.monotonic() - since < 1:
        time.sleep(0.1)
        if (now := read()) != last:
            last, since = now, time.monotonic()
    return last


def test_every_cell_runs_and_shows_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)  # somebody watches
    shutil.copytree(NOTEBOOKS[0].parent, tmp_path / "notebooks")
    figures = """const images = [...document.querySelectorAll('.jp-OutputArea-output.jp-RenderedImage img')];
        const words = [...document.querySelectorAll('.jp-OutputArea-output p.jp-sr-only')];
        return [images.filter((image) => image.naturalWidth > 0).length,
            words.filter((one) => one.textContent.length > 20 && one.offsetWidth <= 1).length];"""
    with jupyterlab(tmp_path) as address:
        for path in NOTEBOOKS:
            if WANTED != "all" and path.name[:2] not in WANTED.split(","):
                continue
            with browser(tmp_path / path.stem, 1100, 1000) as driver:
                # A workspace of its own, or JupyterLab would open the notebook before as well.
                cells = run_notebook(driver, f"{address}/lab/workspaces/{path.stem}/tree/notebooks/{path.name}", 1800)
                outputs = [one for cell in nbformat.read(path, 4).cells for one in cell.get("outputs", [])]
                kept = sum("image/png" in one.get("data", {}) for one in outputs)
                kept -= path.stem[:2] in ("10", "13")  # there is a widget in place of its still image
                assert driver.execute_script(figures) == [kept, kept], path.name
                assert not BAR.search(shown_text(driver)), f"{path.name} leaves a progress bar behind"
            code = [cell for cell in cells if cell["cell_type"] == "code"]
            assert all(cell["execution_count"] for cell in code), path.name
            outputs = [output for cell in code for output in cell["outputs"]]
            unwanted = [one for one in outputs if one["output_type"] == "error" or one.get("name") == "stderr"]
            assert not unwanted, (path.name, unwanted)
