"""What is wrong with a machine, in plain words: the command `digitlib doctor`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path

from digitlib.errors import DigitError
from digitlib.installed import Finding, check_kernel, check_packages, check_python, check_tensorflow
from digitlib.project import project_root
from digitlib.shipped import notebooks_folder

GB = 1_000_000_000

MEMORY = (1 * GB, 2 * GB)
"""Free bytes below which a run will fail, or may: up to three kernels hold TensorFlow at once, about 0.4 GB each."""

DISK = (GB // 20, GB // 2)
"""Free bytes below which a run will fail, or may: one on the sample takes 22 MB, one on 42,000 images 210 MB."""


def examine(folder: str | os.PathLike[str] = ".") -> Iterator[Finding]:
    """Look at this machine, the cheap things first.

    Parameters
    ----------
    folder : str or path-like
        Where runs will be written, relative to the project.

    Yields
    ------
    digitlib.installed.Finding
        One for each thing looked at; about ten seconds in all, most of them for TensorFlow.
    """
    place = Path(project_root(), folder)
    yield check_python()
    yield from check_packages()
    yield check_cores()
    yield check_memory()
    yield from check_folder(place)
    yield check_notebooks()
    yield check_encoding()
    yield check_clock()
    yield check_browser()
    yield from check_jupyter()
    yield from check_tensorflow()


def line_of(finding: Finding) -> str:
    """Return a finding as a line: its level, what was looked at, and what was found."""
    return f"{finding.level:<9}{finding.subject:<15}{finding.said}"


def graded(free: int, limits: tuple[int, int], subject: str, way_out: str) -> Finding:
    """Return a finding about a number of free bytes: below the first limit a problem, below the second a note."""
    said = f"{free / GB:.1f} GB free"
    if free >= limits[1]:
        return Finding("ok", subject, said)
    return Finding("problem" if free < limits[0] else "note", subject, f"{said}: {way_out}")


def check_cores() -> Finding:
    """Count the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores > 1:
        return Finding("ok", "cores", f"{cores}")
    return Finding("note", "cores", "1: everything works, in about twice the time that the notebooks give.")


def check_memory() -> Finding:
    """Measure the memory that is free."""
    try:
        from psutil import virtual_memory
    except ImportError:
        return Finding("note", "memory", "not known, since psutil is missing (see packages).")
    return graded(virtual_memory().available, MEMORY, "memory", "close other programs before a run.")


def check_folder(place: Path) -> Iterator[Finding]:
    """Look whether files can be written where the runs will be, and how many."""
    there = next((folder for folder in (place, *place.parents) if folder.is_dir()), Path(place.anchor))
    try:
        with tempfile.NamedTemporaryFile(dir=there) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        said = f"{there} can't be written to: {error.strerror}. Set DIGITLIB_ROOT to a folder that can."
        yield Finding("problem", "folder", said)
    else:
        yield Finding("ok", "folder", f"{there} can be written to")
    yield graded(shutil.disk_usage(there).free, DISK, "disk", f"make room on the disk of {there}.")


def check_notebooks() -> Finding:
    """Look whether the series is here."""
    try:
        folder = notebooks_folder()
    except DigitError as error:
        return Finding("note", "notebooks", str(error))
    return Finding("ok", "notebooks", f"{len(list(folder.glob('[0-9]*.ipynb')))} in {folder}")


def check_encoding() -> Finding:
    """Look whether names and texts are UTF-8."""
    names = {sys.getfilesystemencoding().lower(), (sys.stdout.encoding or "utf-8").lower()}
    if names == {"utf-8"}:
        return Finding("ok", "encoding", "UTF-8")
    other = ", ".join(sorted(names - {"utf-8"}))
    return Finding(
        "note", "encoding", f"{other}: names with other letters may be shown wrongly; set PYTHONUTF8=1."
    )


def check_clock(now: float | None = None) -> Finding:
    """Look whether the clock is behind the time at which digitlib itself was written to this disk."""
    now = time.time() if now is None else now
    newest = max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))
    said = time.strftime("%Y-%m-%d %H:%M", time.localtime(now))
    if now > newest - 60:
        return Finding("ok", "clock", said)
    return Finding(
        "problem", "clock", f"{said} is before digitlib was installed: set it, or make and https go wrong."
    )


def check_browser() -> Finding:
    """Look whether a page can be opened from here."""
    try:
        webbrowser.get()
    except webbrowser.Error:
        return Finding(
            "note",
            "browser",
            "none found: open the address that JupyterLab prints, and report.html, elsewhere.",
        )
    return Finding("ok", "browser", "there is one")


def check_jupyter() -> Iterator[Finding]:
    """Look whether a kernel can be started: its specification, and the folder for its connection file."""
    try:
        from jupyter_core.paths import jupyter_runtime_dir

        yield check_kernel()
    except ImportError as error:
        yield Finding("problem", "kernel", f"can't be looked at: {error} (see packages).")
        return
    runtime = Path(jupyter_runtime_dir())
    try:
        runtime.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runtime):
            pass
    except OSError as error:
        said = f"{runtime}, where Jupyter keeps its connections, can't be written to: {error.strerror}. "
        yield Finding("problem", "Jupyter", said + "Set JUPYTER_RUNTIME_DIR to a folder that can.")
    else:
        yield Finding("ok", "Jupyter", f"connections in {runtime}")
