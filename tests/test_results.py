"""Training, evaluation, prediction and report: one small real run, looked at from all sides."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from digitlib import cli
from digitlib.data import prepare
from digitlib.errors import DigitError
from digitlib.evaluation import Classifier, confusion_matrix, evaluate_run, training_accuracy, wilson_interval
from digitlib.pipeline import results_table, write_report
from digitlib.run import Run, read_history
from digitlib.training import eval_generator
from tools.check_site import problems_of


def predict(run: Run, source: str, out: Path, *options: str) -> str:
    done = CliRunner().invoke(cli.main, ["predict", str(run.folder), source, "--out", str(out), *options])
    assert done.exit_code == 0, done.output
    return done.output


def test_it_learned_and_left_its_history(run: Run) -> None:
    history = read_history(run)
    assert history["epoch"].tolist() == [1, 2]
    assert history["val_accuracy"].max() > 0.9
    assert history["seconds"].is_monotonic_increasing


def test_the_test_images_are_predicted_well_and_the_figures_agree(run: Run) -> None:
    clf = Classifier.load(run)
    by_keras = clf.model.evaluate(eval_generator(run, clf, "test"), verbose=0, return_dict=True)
    metrics = evaluate_run(run.folder)
    assert metrics == json.loads((run / "metrics.json").read_text())
    assert run.is_done("metrics.json")
    assert (metrics["recipe"], metrics["seed"], metrics["parameters"]) == ("tiny", 42, clf.model.count_params())
    assert metrics["test_accuracy"] == pytest.approx(by_keras["accuracy"], abs=1e-6)
    assert metrics["test_loss"] == pytest.approx(by_keras["loss"], abs=1e-5)
    assert metrics["test_accuracy"] > 0.9
    assert metrics["test_accuracy_low"] < metrics["test_accuracy"] < metrics["test_accuracy_high"]
    assert (metrics["n_train"], metrics["n_validation"], metrics["n_test"]) == (3240, 360, 900)
    confusion = confusion_matrix(clf.evaluate("test").predictions, clf.class_names)
    assert (confusion.sum(axis=1) == 90).all()
    assert (np.diag(confusion) > 60).all()  # each class by itself: a swapped class index shows here
    assert "95 % interval" in results_table(run).set_index("result").loc["Test accuracy", "value"]


def test_training_accuracy_is_lower_on_augmented_images(run: Run) -> None:
    table = training_accuracy(run)
    assert table.loc["augmented", "accuracy"] < table.loc["as stored", "accuracy"]


def test_the_report_is_one_page_with_links_that_work(run: Run, sample: Path, tmp_path: Path) -> None:
    other = Run(tmp_path / "other")
    shutil.copytree(run.folder, other.folder)
    evaluate_run(other)
    predict(run, str(sample / "testSet"), other / "predictions.csv")
    texts = {"01_a": "# 1 · First\n\n[next](02_b%20c.ipynb), [gone](03_d.ipynb), [readme](../README.md)",
             "02_b c": "# 2 · Second\n\n[back](01_a.ipynb), [web](https://example.org)"}  # fmt: skip
    for name, text in texts.items():
        cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell("print('<b>')")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
    page = write_report(other, [tmp_path / f"{name}.ipynb" for name in texts]).read_text(encoding="utf-8")
    headings = ["The executed notebooks", "Training", "Confusion matrix", "The most confident errors", "Predictions"]
    assert re.findall(r"<h2>([^<]+)", page) == headings
    assert "Test accuracy 9" in page
    assert all(
        len(alt) > 20 for alt in re.findall(r'<img class="figure" alt="([^"]+)" src="data:image/png;base64', page)
    )
    assert re.findall(r'<a href="([^"]+)">([^<]+)', page) == [
        ("notebooks/01_a.html", "1 · First"), ("notebooks/02_b%20c.html", "2 · Second")
    ]  # fmt: skip
    assert problems_of(other.folder) == []
    first, second = (other / f"notebooks/{name}.html" for name in texts)
    assert re.findall(r'<a\b.*?href="([^"]+)"', first.read_text()) == ["02_b%20c.html"]
    assert "gone, readme" in first.read_text()
    assert re.findall(r'<a\b.*?href="([^"]+)"', second.read_text()) == ["01_a.html", "https://example.org"]
    assert "&lt;b&gt;" in first.read_text()


def test_files_are_predicted_as_the_generator_is(run: Run) -> None:
    clf = Classifier.load(run)
    table = clf.evaluate("test").predictions
    folder = Path(run.read_json("source.json")["root"])
    found = clf.predict([folder / name for name in table["filename"]])
    assert found["label"].tolist() == table["predicted"].tolist()
    np.testing.assert_allclose(found["confidence"], table["confidence"], atol=1e-4)
    assert (np.diff(found[["confidence", "confidence_2", "confidence_3"]]) <= 0).all()


def test_an_unreadable_file_is_a_row_with_its_reason(run: Run, tmp_path: Path, sample: Path) -> None:
    scans, good = tmp_path / "scans", next((sample / "trainingSet" / "1").iterdir())
    scans.mkdir()
    (scans / "img_2.png").write_bytes(good.read_bytes())
    (scans / "img_10.png").write_text("not an image")
    Image.open(good).convert("RGB").resize((60, 60)).save(scans / "img_1.png")
    predict(run, str(scans), tmp_path / "p.csv", "--submission", str(tmp_path / "s.csv"))
    table = pd.read_csv(tmp_path / "p.csv", dtype={"label": str}, keep_default_na=False)
    assert table["filename"].tolist() == ["img_1.png", "img_2.png", "img_10.png"]
    assert table["label"].tolist() == ["1", "1", ""]
    assert table["reason"].tolist() == ["", "", "not an image"]
    assert pd.read_csv(tmp_path / "s.csv")["ImageId"].tolist() == [1, 2, 3]


def test_a_network_is_not_evaluated_on_another_split(run: Run, sample: Path, tmp_path: Path) -> None:
    other = Run(tmp_path / "other")
    shutil.copytree(run.folder, other.folder)
    Classifier.load(other)
    prepare(sample, other.folder, mode="none", seed=7)
    for path in (other, other.folder, other / "best_model.keras"):
        with pytest.raises(DigitError, match=r"split\.csv of .* has changed since"):
            Classifier.load(path)
    prepare(sample, other.folder, mode="none")
    Classifier.load(other)


def test_what_was_written_among_the_images_takes_no_number(run: Run, sample: Path, tmp_path: Path) -> None:
    for name in ("scan_1.png", "scan_2.png"):
        (tmp_path / name).write_bytes((sample / "testSet" / f"img_{name[5]}.png").read_bytes())
    options = tmp_path / "predictions.csv", "--submission", str(tmp_path / "a_submission.csv")
    first, again = predict(run, str(tmp_path), *options), (tmp_path / "a_submission.csv").read_text()
    assert first.startswith("2 images: ")
    assert predict(run, str(tmp_path), *options) == first
    assert (tmp_path / "a_submission.csv").read_text() == again


def test_wilsons_interval_against_published_values() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263.
    low, high = wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson_interval(0, 0) == (0, 1)  # nothing is known yet
