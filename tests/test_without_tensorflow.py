"""What was exported to ONNX predicts as the run does, where TensorFlow and its like are not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from digitlib.errors import DigitError
from digitlib.evaluation import Classifier, out_of_distribution
from digitlib.run import Run

BLOCKED = ("tensorflow", "keras", "scipy", "sklearn", "matplotlib", "seaborn", "numba", "skimage")

WITHOUT = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
sys.meta_path.insert(0, Blocked())
from digitlib.cli import main
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def clf(run: Run) -> Classifier:
    """Return a trained network, calibrated with an outlier detector."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(out_of_distribution, "DRAWN", 300)
        patch.setattr(out_of_distribution, "OTHER", 300)
        clf = Classifier.load(run).calibrate(target_accuracy=0.9)
    clf.save(run)
    assert clf.selective is not None
    assert clf.selective.outliers is not None
    return clf


@pytest.fixture(scope="module")
def exported(clf: Classifier) -> Path:
    """Return the folder of its export."""
    return clf.export("onnx").parent


@pytest.fixture(scope="module")
def scans(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return real digits, and images in other colours, sizes and aspect ratios, one of them damaged."""
    folder = tmp_path_factory.mktemp("scans")
    paths = sorted((sample / "testSet").iterdir())
    for path in paths[:200]:
        shutil.copy2(path, folder)
    random = np.random.default_rng(0)
    for number, side in enumerate([(20, 20), (28, 14), (9, 9), (1, 5), (60, 60), (300, 40), (500, 700)]):
        with Image.open(paths[200 + number]) as image:
            image.resize(side).save(folder / f"odd_{number}.png")
        Image.fromarray(random.integers(0, 256, (*side, 3), np.uint8)).save(folder / f"colour_{number}.jpg")
    (folder / "damaged.png").write_bytes(paths[0].read_bytes()[:60])
    return folder


def read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype=str, keep_default_na=False).replace({"confidence": {"": "nan"}})
    return table.assign(confidence=table["confidence"].astype(float), accepted=table["accepted"] == "True")


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert found["label"].tolist() == expected["label"].tolist()
    assert found["accepted"].tolist() == expected["accepted"].tolist()
    assert found["reason"].tolist() == expected["reason"].tolist()
    np.testing.assert_allclose(found["confidence"], expected["confidence"], atol=1e-4)


@pytest.mark.slow
def test_an_export_predicts_and_accepts_as_the_run_does(clf: Classifier, exported: Path, scans: Path) -> None:
    expected, again = clf.predict(scans), Classifier.load(exported)
    same(again.predict(scans), expected)
    same(Classifier.load(exported / "model.onnx").predict(scans), expected)
    assert 20 < expected["accepted"].sum() < len(expected) - 10  # else any would agree
    assert (expected["reason"] != "").sum() == 1
    pixels = np.stack([np.asarray(Image.open(path)) for path in sorted(scans.glob("img_*.png"))])
    pd.testing.assert_frame_equal(again.judge(pixels), clf.judge(pixels), atol=1e-4, rtol=0)
    assert again.predict(pixels[:0]).empty
    labels = np.arange(len(pixels)) % 10
    found, expected = again.evaluate((pixels, labels)).metrics, clf.evaluate((pixels, labels)).metrics
    for name in ("accuracy", "accuracy_low", "accuracy_high", "coverage", "accepted_accuracy"):
        assert found[name] == pytest.approx(expected[name]), name
    assert "## Network and training" in again.model_card()


@pytest.mark.slow
def test_the_command_predicts_without_tensorflow_and_its_like(
    clf: Classifier, exported: Path, scans: Path, tmp_path: Path
) -> None:
    words = ["predict", exported, scans, "--out", tmp_path / "found.csv"]
    environment = os.environ | {"DIGITLIB_ROOT": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", WITHOUT, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    same(read(tmp_path / "found.csv"), clf.predict(scans))
    words[1] = clf.run.folder
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, words)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: For a Keras network, install keras: ")
    assert "[train]" in done.stderr


@pytest.mark.slow
def test_what_an_export_can_not_do_gets_one_sentence(exported: Path, tmp_path: Path) -> None:
    clf = Classifier.load(exported)
    for refused in (clf.calibrate, lambda: clf.explain(np.zeros((28, 28))), clf.export, lambda: clf.save(tmp_path)):
        with pytest.raises(DigitError, match=r"an export can only predict, not .*: load the run's folder"):
            refused()
    with pytest.raises(DigitError, match="has no run and no 'test' set: give images and labels"):
        clf.evaluate("test")
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    for name, content, said in (
        ("model.onnx.npz", b"", r"model\.onnx\.npz is damaged"),
        ("model.onnx", b"no network", "is not the network that"),
        ("model.onnx.npz", None, r"has no model\.onnx\.npz beside it"),
        ("model.onnx.json", b"{}", r"model\.onnx\.json is damaged .*run digitlib export again"),
        ("model.onnx.json", None, r"has no model\.onnx\.json beside it"),
    ):
        (copy / name).write_bytes(content) if content is not None else (copy / name).unlink()
        with pytest.raises(DigitError, match=said):
            Classifier.load(copy)


TOP = Path(__file__).parents[1]


@pytest.mark.slow
def test_from_the_wheel_with_nothing_but_the_extra_predict(
    exported: Path, clf: Classifier, scans: Path, tmp_path: Path
) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, TOP]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # Byte code, which pip would write for the test suites of NumPy and pandas as well, is made when it is needed.
    options = ["--python", python, "install", "-q", "--no-compile", "--only-binary", ":all:", f"{wheel}[predict]"]
    done = subprocess.run([sys.executable, "-m", "pip", *options], capture_output=True, text=True)
    if "No matching distribution" in done.stderr:
        pytest.skip("there is no package index")
    assert done.returncode == 0, done.stderr
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    }
    environment["DIGITLIB_ROOT"] = str(tmp_path)
    image, seconds = sorted(scans.glob("img_*.png"))[0], {}
    for name, program, network in (("export", python, exported), ("Keras", sys.executable, clf.run.folder)):
        words = [program, "-m", "digitlib", "predict", network, image]
        for _ in range(2):  # once for byte code
            start = time.perf_counter()
            subprocess.run(words, check=True, cwd=TOP if name == "Keras" else tmp_path, env=environment)
            seconds[name] = time.perf_counter() - start
    subprocess.run([python, "-m", "digitlib", "predict", exported, scans], check=True, cwd=tmp_path, env=environment)
    same(read(tmp_path / "predictions.csv"), clf.predict(scans))
    (packages,) = (tmp_path / "env").rglob("site-packages")
    megabytes = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file()) / 1e6
    ratio, count = seconds["export"] / seconds["Keras"], len(list(packages.glob("*.dist-info")))
    print(f"{megabytes:.0f} MB in {count} packages, first prediction in {ratio:.2f} of the time that Keras takes")
    assert megabytes < 250
    assert ratio < 0.5
