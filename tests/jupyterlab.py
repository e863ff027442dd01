"""A JupyterLab of its own in a real browser: started, a notebook opened in it and run, and what it shows read."""

from __future__ import annotations

import os
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


def wait_for(what: Callable[[], object], seconds: float) -> object:
    """Return what `what` returns as soon as it is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.2)
    raise AssertionError(f"nothing after {seconds} s")


@contextmanager
def jupyterlab(folder: Path, **environment: str) -> Iterator[str]:
    """Give the address of a JupyterLab that has `folder` as its root and keeps its settings there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "DIGITLIB_ROOT": str(folder), "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    } | environment  # fmt: skip
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


def render_all_cells(folder: Path) -> None:
    """Have JupyterLab keep all cells in the page, also those far away from what is shown, and ask nothing."""
    for name, setting in (
        ("notebook-extension/tracker", '{"windowingMode": "none"}'),
        ("apputils-extension/notification", '{"fetchNews": "false"}'),
    ):
        path = folder / f"settings/@jupyterlab/{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(setting)


def open_notebook(driver: webdriver.Chrome, address: str) -> None:
    """Open a notebook and wait until its kernel is ready."""
    wait_for(lambda: _answers(driver, address), 120)
    wait_for(lambda: driver.find_elements("css selector", ".jp-NotebookPanel .jp-Cell"), 180)
    # Cells that are run before there is a kernel bring up a question which one to take.
    status = "return window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
    wait_for(lambda: driver.execute_script(status) == "idle", 120)


def run_all_cells(driver: webdriver.Chrome) -> bool:
    """Choose "Run All Cells" as the menu does; false while JupyterLab is still starting."""
    code = """if (!window.jupyterapp) return false;
        window.allCellsRun = false;
        window.jupyterapp.commands.execute('notebook:run-all-cells').finally(() => { window.allCellsRun = true; });
        return true;"""
    return bool(driver.execute_script(code))


def all_cells_run(driver: webdriver.Chrome) -> bool:
    """Tell whether what `run_all_cells` began has ended, in whatever way."""
    return bool(driver.execute_script("return window.allCellsRun"))


def cells_of(driver: webdriver.Chrome) -> list[dict[str, Any]]:
    """Return the cells of the open notebook with their outputs, as they would be saved."""
    return driver.execute_script(
        "return window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells"
    )


def shown_text(driver: webdriver.Chrome) -> str:
    """Return the text that the notebook shows."""
    return driver.execute_script("return document.querySelector('.jp-NotebookPanel')?.innerText ?? ''")


def photograph(driver: webdriver.Chrome, path: Path, width: int = 1100) -> None:
    """Keep a picture of the whole notebook, without the side bar."""
    driver.execute_script("window.jupyterapp.commands.execute('application:toggle-left-area')")
    height = driver.execute_script("return document.querySelector('.jp-WindowedPanel-inner').scrollHeight")
    driver.set_window_size(width, min(16_000, height + 250))
    time.sleep(2)
    driver.execute_script("document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
    time.sleep(1)
    driver.save_screenshot(str(path))


def _answers(driver: webdriver.Chrome, address: str) -> bool:
    """Open an address, and say whether something answered."""
    try:
        driver.get(address)
    except WebDriverException:
        return False
    return "JupyterLab" in driver.title or bool(driver.find_elements("id", "jupyter-config-data"))
