"""Training, evaluation, prediction, pictures and report: one small real run, looked at from all sides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from training import trained as train_run

import digitlib as d
from digitlib.cli import main
from digitlib.run import Run

mpl.use("agg")


@pytest.fixture(scope="module")
def trained(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run of the recipe `tiny` on the sample."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIGITLIB_ROOT", str(tmp_path_factory.mktemp("trained")))
        run, _ = train_run(sample, "runs/a", d.get_recipe("tiny"))
        return run


@pytest.fixture
def run(trained: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("DIGITLIB_ROOT", str(trained.folder.parent.parent))
    return trained


def test_it_learned_and_left_its_history(run: Run) -> None:
    history = d.read_history(run)
    assert history["epoch"].tolist() == [1, 2]
    assert history["val_accuracy"].max() > 0.9
    assert history["seconds"].is_monotonic_increasing


def test_the_test_images_are_named_well_and_the_figures_agree(run: Run) -> None:
    recipe, model = d.load_recipe(run), d.load_best_model(run)
    test = d.eval_generator(run, recipe, "test")
    model_says = model.evaluate(test, verbose=0, return_dict=True)
    table = d.predict_generator(model, test)
    metrics = d.save_metrics(run, recipe, model, model_says, table)
    assert metrics == json.loads((run / "metrics.json").read_text())
    assert metrics["test_accuracy"] == pytest.approx(model_says["accuracy"], abs=1e-6)
    assert metrics["test_accuracy"] > 0.9
    assert metrics["test_accuracy_low"] < metrics["test_accuracy"] < metrics["test_accuracy_high"]
    assert (metrics["n_train"], metrics["n_validation"], metrics["n_test"]) == (3240, 360, 900)
    confusion = d.confusion_matrix(table, d.class_names_of(run))
    assert (confusion.sum(axis=1) == 90).all()
    assert (np.diag(confusion) > 60).all()  # each class by itself: a swapped class index shows here
    assert "95 % interval" in d.results_table(run).set_index("result").loc["Test accuracy", "value"]


def test_training_accuracy_is_lower_on_augmented_images(run: Run) -> None:
    table = d.training_accuracy(d.load_best_model(run), run, d.load_recipe(run))
    assert table.loc["augmented", "accuracy"] < table.loc["as they are", "accuracy"]


def test_files_are_named_as_the_generator_would(run: Run) -> None:
    model, recipe, names = d.open_model(run.folder)
    table = d.predict_generator(model, d.eval_generator(run, recipe, "test"))
    folder, files = Path(run.read_json("source.json")["root"]), table["filename"].tolist()
    named = d.predict_files(model, recipe, names, folder, files)
    assert named["label"].tolist() == table["predicted"].tolist()
    np.testing.assert_allclose(named["confidence"], table["confidence"], atol=1e-4)


def test_an_unreadable_file_is_a_row_with_its_reason(run: Run, tmp_path: Path, sample: Path) -> None:
    good = next((sample / "trainingSet" / "1").iterdir())
    (tmp_path / "img_2.png").write_bytes(good.read_bytes())
    (tmp_path / "img_10.png").write_text("no picture")
    Image.open(good).convert("RGB").resize((60, 60)).save(tmp_path / "img_1.png")
    files = d.list_images(tmp_path)
    assert files == ["img_1.png", "img_2.png", "img_10.png"]
    table = d.predict_files(*d.open_model(run.folder), tmp_path, files)
    assert table["label"].tolist() == ["1", "1", ""]
    assert table["reason"].iloc[2] != ""
    done = d.write_predictions(tmp_path / "p.csv", [table[:2], table[2:]], tmp_path / "s.csv")
    assert done == {"images": 3, "unreadable": 1, "declined": 0}
    assert pd.read_csv(tmp_path / "p.csv")["filename"].tolist() == files
    assert pd.read_csv(tmp_path / "s.csv")["ImageId"].tolist() == [1, 2, 3]


def test_a_network_is_not_judged_by_another_split(run: Run, sample: Path, tmp_path: Path) -> None:
    other = Run(tmp_path / "other")
    shutil.copytree(run.folder, other.folder)
    d.load_best_model(other)
    d.prepare(sample, other.folder, mode="none", seed=7)
    for use in (
        d.load_best_model,
        lambda one: d.open_model(one.folder),
        lambda one: d.open_model(one / "best_model.keras"),
    ):
        with pytest.raises(d.DigitError, match="was trained on another split than"):
            use(other)
    with pytest.raises(d.DigitError, match="another split"):
        d.predict_in_parts(other.folder, sample / "testSet", tmp_path / "parts")
    d.prepare(sample, other.folder, mode="none")
    d.load_best_model(other)


def test_an_image_is_named_the_same_alone_and_among_others(tmp_path: Path) -> None:
    recipe = d.get_recipe("tiny", image_size=(16, 64))
    model = d.build_model(recipe, list("abc"))
    lines = np.zeros((60, 60), np.uint8)
    lines[::4] = 255
    Image.fromarray(lines).save(tmp_path / "lines.png")
    Image.fromarray(lines[:50, :40]).save(tmp_path / "other.png")
    alone = d.predict_files(model, recipe, list("abc"), tmp_path, ["lines.png"])
    among = d.predict_files(model, recipe, list("abc"), tmp_path, ["lines.png", "other.png"])
    assert alone["confidence"][0] == pytest.approx(among["confidence"][0], abs=1e-6)


def test_three_classes_are_named_in_order(run: Run, sample: Path) -> None:
    model, recipe, names = d.open_model(run.folder)
    files = d.list_images(sample / "testSet")[:50]
    table = d.predict_files(model, recipe, names, sample / "testSet", files)
    assert list(table)[:4] == ["filename", "label", "confidence", "reason"]
    assert list(table)[4:] == ["label_2", "confidence_2", "label_3", "confidence_3"]
    shares = table[["confidence", "confidence_2", "confidence_3"]].to_numpy()
    assert (np.diff(shares) <= 0).all()
    assert (shares.sum(axis=1) <= 1 + 1e-5).all()
    assert all(len(set(row)) == 3 for row in table[["label", "label_2", "label_3"]].to_numpy())


def test_every_kind_of_source_gives_the_same_answers(run: Run, sample: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    names = d.list_images(sample / "testSet")[:5]
    for name in names:
        (folder / name).write_bytes((sample / "testSet" / name).read_bytes())
    (folder / "img_no.png").write_text("no picture")
    (tmp_path / "list.txt").write_text(
        "\n".join(f"scans/{name}" for name in [*names, "img_no.png", "gone.png"])
    )
    shutil.make_archive(str(tmp_path / "all"), "zip", folder)
    answers = {}
    for number, source in enumerate(
        ["scans", "scans/*.png", "@list.txt", "list.txt", "all.zip", f"scans/{names[0]}"]
    ):
        place = str(tmp_path / source) if source[0] != "@" else f"@{tmp_path / source[1:]}"
        command = ["predict", str(run.folder), place, "--out", str(tmp_path / f"{number}.parquet")]
        done = CliRunner().invoke(
            main, [*command, "--gallery", str(tmp_path / "page.html"), "--gallery-size", "3"]
        )
        assert done.exit_code == 0, done.output
        table = pd.read_parquet(tmp_path / f"{number}.parquet")
        table["filename"] = table["filename"].str.removeprefix("scans/")
        answers[source] = table.set_index("filename")
    pd.testing.assert_frame_equal(answers["scans"], answers["scans/*.png"])
    pd.testing.assert_frame_equal(answers["scans"], answers["all.zip"])
    pd.testing.assert_frame_equal(answers["@list.txt"], answers["list.txt"])
    assert answers["scans"].loc["img_no.png", "reason"] == "not an image"
    assert answers["list.txt"].loc["gone.png", "reason"] == "can't be read: No such file or directory"
    for name in names:
        alike = [table.loc[name] for table in answers.values() if name in table.index]
        assert len(alike) >= 5
        assert {row["label"] for row in alike} == {alike[0]["label"]}
    assert (tmp_path / "page.html").read_text().count("data:image/png;base64") == 1


def test_what_was_written_among_the_images_takes_no_number(run: Run, sample: Path, tmp_path: Path) -> None:
    for name in ("scan_1.png", "scan_2.png"):
        (tmp_path / name).write_bytes((sample / "testSet" / f"img_{name[5]}.png").read_bytes())
    command = ["predict", str(run.folder), str(tmp_path), "--out", str(tmp_path / "predictions.csv")]
    command += ["--submission", str(tmp_path / "a_submission.csv")]
    first, again = CliRunner().invoke(main, command), (tmp_path / "a_submission.csv").read_text()
    assert first.output.startswith("2 images: ")
    assert CliRunner().invoke(main, command).output == first.output
    assert (tmp_path / "a_submission.csv").read_text() == again
    (tmp_path / "notes.txt").write_text("no picture")
    assert "a_submission.csv without a label: 1." in CliRunner().invoke(main, command).output


def test_a_damaged_model_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "best_model.keras").write_bytes((run / "best_model.keras").read_bytes()[:5000])
    with pytest.raises(d.DigitError, match="best_model"):
        d.load_best_model(Run(tmp_path))


def test_wilsons_interval_against_published_values() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263.
    low, high = d.wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert d.wilson_interval(0, 0) == (0, 1)  # nothing is known yet


def test_pictures_show_what_is_in_the_tables(run: Run) -> None:
    counts = d.class_counts(run)
    bars = d.plot_counts(counts).patches
    assert sum(bar.get_height() for bar in bars) == 4500
    history = d.read_history(run)
    accuracy, loss = d.plot_history(history, 2).axes
    assert accuracy.get_xlabel() == "epoch"
    assert [text.get_text() for text in loss.get_legend().get_texts()][-1] == "epoch kept (2)"
    of_test, _ = d.plot_history(history, 2, part="test").axes
    assert [text.get_text() for text in of_test.get_legend().get_texts()][1] == "test"
    confusion = pd.DataFrame([[5, 1], [0, 4]], index=["a", "b"], columns=["a", "b"])
    assert [text.get_text() for text in d.plot_confusion(confusion).texts] == ["5", "1", "4"]
