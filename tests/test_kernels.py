"""Kernels that are ready when their notebook's turn comes, and those that die."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

import digitlib as d
from digitlib.kernels import STARTS, Kernel, preparation_of

TOP = Path(__file__).parents[1]


def notebook(path: Path, *cells: str) -> None:
    """Write a notebook whose second cell are its parameters."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book.cells.insert(1, nbformat.v4.new_code_cell("run_dir = ''", metadata={"tags": ["parameters"]}))
    path.parent.mkdir(exist_ok=True)
    nbformat.write(book, path)


def test_a_kernel_has_done_the_imports_before_the_first_cell(root: Path) -> None:
    cell = "import sys\nknown = 'colorsys' in sys.modules\nimport colorsys\nassert known"
    notebook(root / "notebooks" / "01_a.ipynb", cell)
    notebook(root / "notebooks" / "02_b.ipynb", cell)
    assert preparation_of(root / "notebooks" / "01_a.ipynb") == "import sys; import colorsys"
    before = {child.pid for child in psutil.Process().children()}
    executed = d.run_series(d.open_run("runs/a"), {})
    assert [path.name for path in executed] == ["01_a.ipynb", "02_b.ipynb"]
    assert {child.pid for child in psutil.Process().children()} <= before


def test_what_a_notebook_takes_from_digitlib_is_loaded_too(root: Path) -> None:
    first = "import sys\nimport digitlib as d\nloaded = 'digitlib.split' in sys.modules\nassert loaded"
    notebook(root / "notebooks" / "01_a.ipynb", first, "%magic", "d.nothing\nd.class_names_of(d.Run)")
    prepared = preparation_of(root / "notebooks" / "01_a.ipynb")
    assert prepared == "import sys; import digitlib as d; d.Run; d.class_names_of"
    notebook(root / "notebooks" / "01_a.ipynb", first, "if False:\n    d.class_names_of")
    d.run_series(d.open_run("runs/a"), {})


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted((TOP / "notebooks").glob("0[3-7]*.ipynb")), ids=lambda path: path.stem
)
def test_tensorflow_is_loaded_before_the_turn_of_a_notebook_that_needs_it(path: Path) -> None:
    code = f"{preparation_of(path)}\nimport sys\nassert 'digitlib.backend' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("import os\nos.kill(os.getpid(), 9)", "01_a.ipynb: its kernel died"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 +", "SyntaxError"),
    ],
)
def test_what_fails_in_the_first_cell_gets_one_sentence(root: Path, cell: str, sentence: str) -> None:
    notebook(root / "notebooks" / "01_a.ipynb", cell)
    with pytest.raises(d.DigitError, match=r"01_a\.ipynb") as told:
        d.run_series(d.open_run("runs/a"), {})
    assert sentence in str(told.value)
    assert "\n" not in str(told.value)


def test_what_failed_stays_to_be_read_unless_a_sentence_tells_it(root: Path) -> None:
    notebook(root / "notebooks" / "01_a.ipynb", "1 / 0")
    with pytest.raises(
        d.DigitError, match=r"ZeroDivisionError: .* \(in full in runs/a/notebooks/01_a\.ipynb\)"
    ):
        d.run_series(d.open_run("runs/a"), {})
    assert "ZeroDivisionError" in (root / "runs/a/notebooks/01_a.ipynb").read_text()
    notebook(
        root / "notebooks" / "01_a.ipynb", "import digitlib\nraise digitlib.DigitError('give another folder')"
    )
    with pytest.raises(d.DigitError, match="give another folder"):
        d.run_series(d.open_run("runs/b"), {})
    assert not (root / "runs/b").exists()


def test_no_kernel_is_left_where_nothing_can_be_written(root: Path) -> None:
    notebook(root / "notebooks" / "01_a.ipynb", "1")
    before = {child.pid for child in psutil.Process().children()}
    (root / "runs/a").mkdir(parents=True)
    (root / "runs/a/notebooks").write_text("in the way")
    with pytest.raises(d.DigitError):
        d.run_series(d.open_run("runs/a"), {})
    assert {child.pid for child in psutil.Process().children()} <= before


def take_ports(kernels: int, patch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Take a port of each of the next kernels, between its choice and the kernel's own attempt."""
    start, taken = Kernel.start_kernel, []

    async def started(self: Kernel, **options: Any) -> None:
        await start(self, **options)
        if len(taken) < kernels:
            taken.append(socket.create_server((self.ip, self.control_port)))

    patch.setattr(Kernel, "start_kernel", started)
    return taken


def test_a_kernel_whose_port_another_process_took_is_started_again(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    notebook(root / "notebooks" / "01_a.ipynb", "print(6 * 7)")
    before = {child.pid for child in psutil.Process().children()}
    taken = take_ports(STARTS - 1, monkeypatch)
    [executed] = d.run_series(d.open_run("runs/a"), {})
    assert len(taken) == STARTS - 1
    assert "42" in executed.read_text()
    told = capfd.readouterr().err
    assert told.count("Address already in use") == told.count("another one is started") == STARTS - 1
    assert {child.pid for child in psutil.Process().children()} <= before


@pytest.mark.slow
def test_kernels_that_never_start_are_given_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook(root / "notebooks" / "01_a.ipynb", "1")
    taken = take_ports(STARTS + 1, monkeypatch)
    with pytest.raises(d.DigitError, match=r"01_a\.ipynb: its kernel died"):
        d.run_series(d.open_run("runs/a"), {})
    assert len(taken) == STARTS
