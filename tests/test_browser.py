"""The pad and the exported page in a real browser, written on with real mouse events."""

from __future__ import annotations

import base64
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browsing import NO_BROWSER, browser, shown_answer, write
from jupyterlab import jupyterlab, open_notebook, run_all_cells, wait_for
from training import trained

import digitlib as d
from digitlib.run import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER or "there is a browser"),
]

TOP = Path(__file__).parents[1]
DRAWINGS = d.read_strokes()
CASES = [(style, digit) for style in DRAWINGS for digit in DRAWINGS[style]]


@pytest.fixture(scope="module")
def run(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Return a run of the recipe `fast` on the sample, or the one of ``$DIGITLIB_BROWSER_RUN``."""
    with pytest.MonkeyPatch.context() as patch:
        if given := os.environ.get("DIGITLIB_BROWSER_RUN"):
            patch.setenv("DIGITLIB_ROOT", str(Path(given).parents[1]))
            yield d.open_run(given)
            return
        patch.setenv("DIGITLIB_ROOT", str(tmp_path_factory.mktemp("trained")))
        run, recipe = trained(sample, "runs/default", d.get_recipe("fast"))
        test = d.eval_generator(run, recipe, "test")
        best = d.load_best_model(run)
        d.save_metrics(
            run,
            recipe,
            best,
            best.evaluate(test, verbose=0, return_dict=True),
            d.predict_generator(best, test),
        )
        yield run


@pytest.fixture(scope="module")
def page(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("elsewhere") / "a page with spaces.html"
    d.export_model(run, formats=["html"], html=path)
    return path


def test_the_page_gives_keras_answers_on_a_thousand_test_images(run: Run, page: Path, tmp_path: Path) -> None:
    test = d.eval_generator(run, d.load_recipe(run), "test")
    images = np.concatenate([test[number][0] for number in range(len(test))])
    images = images[np.linspace(0, len(images) - 1, min(1000, len(images))).astype(int)]
    expected = d.load_best_model(run).predict(images, verbose=0)
    code = """
        const values = unpackWeights(arguments[0]), n = arguments[1], size = values.length / n, answers = [];
        for (let i = 0; i < n; i++) answers.push(Array.from(runNet(NETWORK, WEIGHTS, values.subarray(i * size, (i + 1) * size))));
        return answers;"""
    found = []
    with browser(tmp_path) as driver:
        driver.get(page.as_uri())
        for part in np.array_split(images, 10):
            packed = base64.b64encode(part.astype("<f4").tobytes()).decode()
            found += driver.execute_script(code, packed, len(part))
    difference = np.abs(np.array(found) - expected).max()
    print(f"{len(images)} images, largest difference {difference:.1e}")
    assert len(found) == len(images) >= 900
    assert difference < 1e-4


def test_the_page_reads_thirty_drawings(page: Path, tmp_path: Path) -> None:
    wrong = []
    with browser(tmp_path) as driver:
        driver.get(page.as_uri())
        canvas, clear = (
            driver.find_element("css selector", f".digitpad-{name}") for name in ("canvas", "clear")
        )
        for style, digit in CASES:
            write(driver, canvas, DRAWINGS[style][digit])
            if (answer := shown_answer(driver)) != digit:
                wrong.append((style, digit, answer))
            form = np.array(
                driver.execute_script("return Array.from(formOf(arguments[0]))", DRAWINGS[style][digit])
            )
            by_python = d.to_mnist_format(d.rasterize(DRAWINGS[style][digit])).ravel().astype(int)
            assert np.abs(form - by_python).max() <= 3, (style, digit)
            clear.click()
        said = wait_for(lambda: "computes" in (text := driver.find_element("id", "check").text) and text, 60)
        complaints = [entry for entry in driver.get_log("browser") if "favicon" not in entry["message"]]
    print(f"{30 - len(wrong)} of 30 right; wrong: {wrong}")
    assert len(wrong) <= 2, wrong
    assert said.startswith("This browser computes what Keras computes")
    assert complaints == []  # the content security policy would complain here


def test_buttons_keys_and_touch_work_on_a_small_screen(page: Path, tmp_path: Path) -> None:
    with browser(tmp_path) as driver:
        metrics = {"width": 360, "height": 640, "deviceScaleFactor": 2, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
        driver.get(page.as_uri())
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 360
        canvas = driver.find_element("css selector", ".digitpad-canvas")
        driver.execute_script("arguments[0].scrollIntoView()", canvas)
        box = driver.execute_script("return arguments[0].getBoundingClientRect().toJSON()", canvas)
        for stroke in DRAWINGS["school"]["4"]:
            points = [
                {"x": box["left"] + x * box["width"], "y": box["top"] + y * box["height"]} for x, y in stroke
            ]
            for kind, point in [("touchStart", points[0]), *(("touchMove", point) for point in points[1:])]:
                driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
            driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert shown_answer(driver) == "4"
        undo = driver.find_element("css selector", ".digitpad-undo")
        focused = driver.execute_script(
            "arguments[0].focus(); return document.activeElement === arguments[0]", undo
        )
        assert focused
        undo.send_keys(" ")
        assert shown_answer(driver) != "Write a digit"  # one stroke is left
        undo.send_keys(" ")
        assert shown_answer(driver) == "Write a digit"
        assert not undo.is_enabled()


@pytest.fixture
def lab(run: Run, tmp_path: Path) -> Iterator[str]:
    """Give the address of a JupyterLab of its own, with the notebook and the run in a folder of its own."""
    (tmp_path / "notebooks").mkdir()
    shutil.copy2(TOP / "notebooks/13_drawing_pad.ipynb", tmp_path / "notebooks")
    shutil.copytree(
        run.folder, tmp_path / "runs/default", ignore=shutil.ignore_patterns("TRAIN", "TEST", "notebooks")
    )
    with jupyterlab(tmp_path, TQDM_DISABLE="1") as address:
        yield address


def test_the_pad_reads_drawings_in_jupyterlab(lab: str, tmp_path: Path) -> None:
    cases = CASES if os.environ.get("DIGITLIB_BROWSER_ALL") else CASES[::3]
    wrong = []
    with browser(tmp_path / "profile", 1200, 1600) as driver:
        open_notebook(driver, f"{lab}/lab/tree/notebooks/13_drawing_pad.ipynb")
        wait_for(lambda: run_all_cells(driver), 60)
        # JupyterLab shows the last cell that was run; a cell far away from what is shown may be taken out of the page.
        wait_for(
            lambda: (
                "of 30 drawings of its classes were named right."
                in _scrolled(driver, "'.jp-Cell:last-child'")
            ),
            240,
        )
        wait_for(
            lambda: _scrolled(driver, "'.digitpad-canvas'") is not None and shown_answer(driver) == "7", 60
        )
        canvas, clear = (
            driver.find_element("css selector", f".digitpad-{name}") for name in ("canvas", "clear")
        )
        for style, digit in cases:
            clear.click()
            wait_for(lambda: shown_answer(driver) == "Write a digit", 30)
            write(driver, canvas, DRAWINGS[style][digit])
            answer = _settled(lambda: shown_answer(driver))
            if answer != digit:
                wrong.append((style, digit, answer))
        if picture := os.environ.get("DIGITLIB_BROWSER_PICTURE"):
            driver.save_screenshot(picture)
    print(f"{len(cases) - len(wrong)} of {len(cases)} right; wrong: {wrong}")
    assert len(wrong) <= max(1, len(cases) // 15), wrong


def _scrolled(driver: object, selector: str) -> str:
    """Bring an element into sight, and return what the notebook shows."""
    code = f"""
        document.querySelector({selector})?.scrollIntoView({{block: 'center'}});
        return document.querySelector('.jp-NotebookPanel')?.innerText ?? ''"""
    return driver.execute_script(code)


def _settled(read: Callable[[], str]) -> str:
    """Return what `read` says once it has stayed the same for a second: several strokes give several answers."""
    last, since = read(), time.monotonic()
    while time.monotonic() - since < 1:
        time.sleep(0.1)
        if (now := read()) != last:
            last, since = now, time.monotonic()
    return last
