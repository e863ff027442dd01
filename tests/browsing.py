"""A real browser for tests: found, started, and drawn in with real mouse events."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.remote.webelement import WebElement

CHROME = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
DRIVER = shutil.which("chromedriver")
NO_BROWSER = "" if CHROME and DRIVER else "needs Chromium and chromedriver, which are not installed"

OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-quic", "--hide-scrollbars",
)  # fmt: skip


@contextmanager
def browser(profile: Path, width: int = 1000, height: int = 900) -> Iterator[webdriver.Chrome]:
    """Give a headless Chromium that logs what its console says."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROME)
    for option in (*OPTIONS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    driver.set_script_timeout(600)
    # As if somebody had clicked into the window: JupyterLab has no current notebook otherwise.
    driver.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    try:
        yield driver
    finally:
        driver.quit()


def write(driver: webdriver.Chrome, canvas: WebElement, strokes: list[list[list[float]]]) -> None:
    """Draw strokes with the mouse, as the browser gets it from the system."""
    box = driver.execute_script(
        "const r = arguments[0].getBoundingClientRect(); return [r.left, r.top, r.width, r.height]", canvas
    )

    def mouse(kind: str, point: list[float], buttons: int) -> None:
        event = {"type": kind, "x": box[0] + point[0] * box[2], "y": box[1] + point[1] * box[3]}
        event |= {
            "button": "left",
            "buttons": buttons,
            "clickCount": int(kind != "mouseMoved"),
            "pointerType": "mouse",
        }
        driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    for stroke in strokes:
        mouse("mouseMoved", stroke[0], 0)
        mouse("mousePressed", stroke[0], 1)
        for point in stroke[1:]:
            mouse("mouseMoved", point, 1)
        mouse("mouseReleased", stroke[-1], 0)


def shown_answer(driver: webdriver.Chrome) -> str:
    """Return the name that stands beside the pad, empty if there is no pad; at one go, since it may be replaced."""
    return driver.execute_script("return document.querySelector('.digitpad-answer')?.textContent ?? ''")
