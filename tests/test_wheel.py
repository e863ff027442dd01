"""Installed from its wheel, in an empty environment outside the repository, digitlib does what the docs say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from click.testing import CliRunner

from digitlib import DigitError, copy_notebooks, example_photos
from digitlib.cli import main
from digitlib.pipeline.notebooks import COPIED, notebooks_folder

TOP = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "-w", str(folder), str(TOP)], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with nothing but this wheel, which sees our dependencies."""
    venv = tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = next(path for name in ("bin/python", "Scripts/python.exe") if (path := venv / name).exists())
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    # A path in a .pth file brings the dependencies, but not what they have as .pth files: the editable digitlib.
    packages = next(path for path in venv.rglob("site-packages") if (path / "digitlib").is_dir())
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def outside(*command: str | Path, cwd: Path) -> str:
    """Run a command as on another computer: nothing leads to the repository."""
    hidden = ("PYTHONPATH", "DIGITLIB_ROOT", "MPLBACKEND")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    # The dependencies' own data, such as nbconvert's templates, are looked for in the environment that is running.
    environment["JUPYTER_PATH"] = str(Path(sysconfig.get_path("data")) / "share/jupyter")
    told = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


@pytest.mark.slow
def test_the_wheel_holds_what_runs_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    for path in (TOP / "digitlib").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.relative_to(TOP).as_posix() in names
    copied = {path.relative_to(TOP) for pattern in COPIED for path in (TOP / "notebooks").glob(pattern)}
    assert {name for name in names if name.startswith("digitlib/notebooks/")} == {
        f"digitlib/{path.as_posix()}" for path in copied
    }
    assert all(name.startswith("digitlib/") for name in names)
    about = zipfile.ZipFile(wheel).read(
        next(n for n in zipfile.ZipFile(wheel).namelist() if n.endswith("METADATA"))
    )
    assert b"License-Expression: MIT" in about


@pytest.mark.slow
def test_the_commands_work_outside_the_repository(installed: Path, digits: Path) -> None:
    place = digits.parent
    where = outside(installed, "-c", "import digitlib; print(digitlib.__file__)", cwd=place)
    assert Path(where.strip()).is_relative_to(installed.parents[1])
    command = next(installed.parent.glob("digitlib*"))
    assert "Classify folders" in outside(command, "--help", cwd=place)
    outside(
        command, "run", "--data", digits, "--recipe", "tiny", "--only", "01,02", "--out", "runs/x", cwd=place
    )
    assert (place / "runs/x/report.html").stat().st_size > 0
    assert "notebooks" in outside(command, "notebooks", "mine", cwd=place)
    assert len(list((place / "mine").glob("*.ipynb"))) == len(list((TOP / "notebooks").glob("*.ipynb")))


@pytest.mark.slow
def test_the_notebook_in_the_docs_names_own_images(installed: Path, digits: Path) -> None:
    place = digits.parent
    (digits / "trainingSet").rename(place / "my_images")
    (digits / "testSet").rename(place / "to_name")
    text = (TOP / "docs/own_notebook.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert sum(len(block.splitlines()) for block in blocks) == 10
    cells = [nbformat.v4.new_code_cell(block.rstrip()) for block in blocks]
    cells[1].metadata["tags"] = ["parameters"]
    cells.append(nbformat.v4.new_code_cell("named.to_csv('named.csv', index=False)"))
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), place / "own.ipynb"
    )
    outside(installed, "-m", "papermill", "own.ipynb", "done.ipynb", "-p", "recipe", "tiny", cwd=place)
    metrics = json.loads((place / "runs/mine/metrics.json").read_text(encoding="utf-8"))
    assert (metrics["n_test"], metrics["recipe"]) == (80, "tiny")
    assert metrics["test_accuracy"] > 0.3  # ten classes, and an epoch or two
    named = pd.read_csv(place / "named.csv", dtype={"label": str})
    assert named["filename"].tolist() == sorted(
        named["filename"], key=lambda name: int(re.findall(r"\d+", name)[0])
    )
    assert len(named) == 12
    assert set(named["label"]) <= set("0123456789")


def test_ones_own_copy_of_the_notebooks_comes_first_and_is_never_overwritten(root: Path) -> None:
    assert notebooks_folder() == TOP / "notebooks"
    copied = copy_notebooks("notebooks")
    assert [path.name for path in copied] == sorted(path.name for path in (TOP / "notebooks").glob("*.ipynb"))
    assert notebooks_folder() == root / "notebooks"
    assert example_photos()[0].is_relative_to(root)
    copied[0].write_text("mine")
    with pytest.raises(DigitError, match=r"01_data_preparation\.ipynb is already there"):
        copy_notebooks("notebooks")
    told = CliRunner().invoke(main, ["notebooks"])
    assert (told.exit_code, "choose another folder" in told.output) == (1, True)
    assert copied[0].read_text() == "mine"
