"""A real browser for tests, drawn in with real mouse events, and a JupyterLab to open in it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import WebDriverException

CHROME = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DRIVER = shutil.which("chromedriver")
NO_BROWSER = "" if CHROME and DRIVER else "needs Chromium and chromedriver, which are not installed"
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-quic", "--hide-scrollbars",
)  # fmt: skip
SETTINGS = {
    # All cells stay in the page, also those far away from what is shown, and nothing is asked.
    "notebook-extension/tracker": '{"windowingMode": "none"}',
    "apputils-extension/notification": '{"fetchNews": "false"}',
}


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


def write(driver: webdriver.Chrome, strokes: list[list[list[float]]]) -> None:
    """Draw strokes on the pad with the mouse, as the browser gets it from the system."""
    code = "return document.querySelector('.digitpad-canvas').getBoundingClientRect().toJSON()"
    box = driver.execute_script(code)

    def mouse(kind: str, point: list[float], buttons: int) -> None:
        place = {"x": box["left"] + point[0] * box["width"], "y": box["top"] + point[1] * box["height"]}
        event = {"type": kind, "button": "left", "buttons": buttons, "clickCount": int(kind != "mouseMoved")}
        driver.execute_cdp_cmd("Input.dispatchMouseEvent", event | place)

    for stroke in strokes:
        mouse("mouseMoved", stroke[0], 0)
        mouse("mousePressed", stroke[0], 1)
        for point in stroke[1:]:
            mouse("mouseMoved", point, 1)
        mouse("mouseReleased", stroke[-1], 0)


def clear(driver: webdriver.Chrome) -> None:
    """Empty the pad."""
    driver.find_element("css selector", ".digitpad-clear").click()
    wait_for(lambda: prediction(driver) == "Draw a digit", 30)


def prediction(driver: webdriver.Chrome) -> str:
    """Return the class beside the pad, empty if there is no pad; at one go, since it may be replaced."""
    return driver.execute_script("return document.querySelector('.digitpad-prediction')?.textContent ?? ''")


def wait_for(what: Callable[[], Any], seconds: float) -> Any:
    """Return what `what` returns as soon as it is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.2)
    raise AssertionError(f"nothing after {seconds} s")


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """Give the address of a JupyterLab that has `folder` as its root and keeps its settings there."""
    for name, setting in SETTINGS.items():
        path = folder / f"settings/@jupyterlab/{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(setting)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "DIGITLIB_ROOT": str(folder), "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }  # fmt: skip
    environment.pop("MPLBACKEND", None)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1",
               "--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={folder}",
               "--LabApp.expose_app_in_browser=True"]  # fmt: skip
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)


def run_notebook(driver: webdriver.Chrome, address: str, seconds: float) -> list[dict[str, Any]]:
    """Open a notebook, choose "Run All Cells", wait until that has ended, and return the cells as saved."""
    wait_for(lambda: _is_there(driver, address), 120)
    wait_for(lambda: driver.find_elements("css selector", ".jp-NotebookPanel .jp-Cell"), 180)
    # Cells that are run before there is a kernel bring up a question which one to take.
    status = "return window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
    wait_for(lambda: driver.execute_script(status) == "idle", 120)
    run = "window.jupyterapp.commands.execute('notebook:run-all-cells')"
    driver.execute_script(f"{run}.finally(() => {{ window.allCellsRun = true; }});")
    wait_for(lambda: driver.execute_script("return window.allCellsRun"), seconds)
    model = "window.jupyterapp.shell.currentWidget.content.model.sharedModel"
    return driver.execute_script(f"return {model}.toJSON().cells")


def shown_text(driver: webdriver.Chrome) -> str:
    """Return the text that the notebook shows."""
    return driver.execute_script("return document.querySelector('.jp-NotebookPanel')?.innerText ?? ''")


def _is_there(driver: webdriver.Chrome, address: str) -> bool:
    try:
        driver.get(address)
    except WebDriverException:
        return False
    return "JupyterLab" in driver.title or bool(driver.find_elements("id", "jupyter-config-data"))
