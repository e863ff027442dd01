"""The optional notebooks under papermill, with another recipe and other parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
from training import run_command

pytestmark = pytest.mark.slow

TOP = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project's top with a run of the recipe `tiny` on the sample."""
    root = tmp_path_factory.mktemp("extra")
    arguments = [
        "--data",
        "sample",
        "--recipe",
        "tiny",
        "--out",
        "runs/small",
        "--only",
        "01,05,06",
        "-p",
        "epochs",
        "4",
    ]
    done = run_command("digitlib", "run", *arguments, root=root)
    assert done.returncode == 0, done.stderr[-2000:]
    return root


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("08_why_a_cnn", ("-p", "n", "300", "-p", "epochs", "2")),
        ("09_look_inside", ("-p", "n", "60", "-p", "epochs", "2")),
        ("12_own_photos", ("-p", "photo", str(TOP / "notebooks" / "photos" / "board.jpg"))),
        ("15_limits", ("-p", "n", "60", "-p", "seeds", "2", "-p", "epochs", "2")),
        ("13_drawing_pad", ("-p", "style", "quick", "-p", "digit", "3")),
        ("14_take_it_elsewhere", ("-y", "formats: []")),
    ],
)
def test_an_optional_notebook_with_other_parameters(trained: Path, name: str, parameters: tuple[str, ...]) -> None:
    output = trained / f"{name}.ipynb"
    arguments = (f"notebooks/{name}.ipynb", str(output), "-p", "run_dir", "runs/small", *parameters)
    done = run_command("papermill", *arguments, root=trained)
    assert done.returncode == 0, done.stderr[-2000:]
    text = output.read_text(encoding="utf-8")
    assert '"stderr"' not in text
    assert (trained / "runs/small/export/model.tflite").exists() is False


@pytest.mark.parametrize("name", ["13_drawing_pad", "14_take_it_elsewhere"])
def test_an_optional_notebook_before_training_says_what_to_run(tmp_path: Path, name: str) -> None:
    done = run_command("papermill", f"notebooks/{name}.ipynb", str(tmp_path / "out.ipynb"), root=tmp_path)
    assert done.returncode == 1
    assert "run notebook 05_training_history.ipynb first" in done.stderr
