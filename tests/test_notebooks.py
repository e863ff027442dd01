"""The notebooks under papermill: other data, other recipes, other parameters."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont
from training import run_command

from tools.check_site import problems_of

pytestmark = pytest.mark.slow

TOP = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project's top with a folder of 26 letters, drawn in 24 sizes and places each."""
    root = tmp_path_factory.mktemp("letters")
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        folder = root / "letters" / letter
        folder.mkdir(parents=True)
        for number in range(24):
            image = Image.new("L", (28, 28), 0)
            size = 16 + number % 4
            place = (6 + number % 3, 3 + number // 3 % 4)
            ImageDraw.Draw(image).text(place, letter, fill=190 + 2 * number, font=ImageFont.load_default(size))
            image.save(folder / f"{letter}_{number}.png")
    return root


def test_letters_go_through_the_whole_series(letters: Path) -> None:
    done = run_command(
        "digitlib", "run", "--data", "letters", "--recipe", "tiny", "--out", "runs/letters", "-p", "epochs", "12",
        root=letters,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    run = letters / "runs" / "letters"
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["epochs"] == 12
    assert metrics["test_accuracy"] > 0.8
    assert set(pd.read_csv(run / "predictions.csv", keep_default_na=False)["label"]) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    )
    assert "Test accuracy" in done.stdout
    assert done.stderr == ""
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64") == 4
    assert len(re.findall(r'href="notebooks/0\d_\w+\.html"', page)) == 7
    assert problems_of(run) == []
    again = run_command("digitlib", "run", "--out", "runs/letters", "-p", "epochs", "12", "--resume", root=letters)
    assert "digitlib run: letters, recipe tiny, into runs/letters" in again.stdout
    assert again.stdout.count("done before") == 7


def test_a_given_test_part_folders_in_classes_and_uneven_classes_pass_the_checks(letters: Path, sample: Path) -> None:
    for digit, number in (("1", 320), ("7", 80)):
        for place, path in enumerate(sorted((sample / "trainingSet" / digit).iterdir())[:number]):
            part = "test" if place % 8 == 0 else "train"
            target = letters / "uneven" / part / digit / "scans" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    done = run_command(
        "digitlib", "run", "--data", "uneven", "--recipe", "tiny", "--out", "runs/uneven", "-p", "epochs", "8",
        root=letters,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    split = pd.read_csv(letters / "runs/uneven/split.csv")
    assert (split["part"] == "test").sum() == 50
    named = pd.read_csv(letters / "runs/uneven/predictions.csv")
    assert named["accepted"].dtype == bool


def test_labels_are_checked_and_the_least_confident_shown(letters: Path) -> None:
    run = letters / "runs" / "letters"
    for name, *parameters in (
        ("10_label_check", *["-p", "epochs", "30", "-p", "folds", "3", "-p", "repeats", "1", "-p", "planted", "0.03"]),
        ("07_sample_predictions", "-p", "gallery", "5"),
    ):
        done = run_command(
            "papermill", f"notebooks/{name}.ipynb", str(letters / f"{name}.ipynb"), "-p", "run_dir", "runs/letters",
            *parameters, root=letters,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
    issues = pd.read_csv(run / "label_issues.csv", keep_default_na=False)
    assert list(issues) == ["filename", "label", "likely_label", "quality", "part"]
    assert set(issues["filename"]) <= set(pd.read_csv(run / "split.csv")["filename"])
    assert (run / "gallery.html").read_text().count("data:image/png;base64") == 5


def test_single_notebooks_with_plain_papermill(letters: Path) -> None:
    for name, *parameters in (
        ("01_data_preparation", *["-p", "data", "letters", "-p", "validation_size", "0.2", "-p", "mode", "link"]),
        ("02_class_counts",),
        ("03_image_generators", "-p", "recipe", "tiny", "-p", "image_size", "32"),
        ("05_training_history", "-p", "recipe", "tiny", "-p", "epochs", "1", "-p", "image_size", "32"),
    ):
        output = letters / f"{name}.ipynb"
        done = run_command(
            "papermill", f"notebooks/{name}.ipynb", str(output), "-p", "run_dir", "runs/plain", *parameters,
            root=letters,
        )  # fmt: skip
        if name.startswith("05"):
            assert "val_accuracy" in output.read_text()
        else:
            assert done.returncode == 0, done.stderr[-2000:]
    recipe = json.loads((letters / "runs" / "plain" / "recipe.json").read_text())
    assert (recipe["epochs"], recipe["image_size"]) == (1, [32, 32])


def test_a_notebook_before_its_forerunner_says_which(tmp_path: Path) -> None:
    done = run_command("papermill", "notebooks/05_training_history.ipynb", str(tmp_path / "out.ipynb"), root=tmp_path)
    assert done.returncode == 1
    assert "run notebook 01_data_preparation.ipynb first" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_failing_series_names_notebook_and_cell(letters: Path) -> None:
    done = run_command(
        "digitlib", "run", "--data", "letters", "--recipe", "tiny", "--out", "runs/unmet", "--only", "01,06",
        root=letters,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Error: 06_evaluation.ipynb, cell [" in done.stderr
    assert "run notebook 05_training_history.ipynb first" in done.stderr


def test_executed_notebooks_hold_no_error_stream(letters: Path) -> None:
    for path in (letters / "runs" / "letters" / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(path, 4).cells:
            assert not [o for o in cell.get("outputs", []) if o.get("name") == "stderr"], path.name
