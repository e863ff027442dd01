"""Predictions on disk: the same in CSV and Parquet, whatever the names; and the page of images."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

import digitlib as d
from digitlib import pipeline
from digitlib.cli import main
from digitlib.evaluation.classifier import Classifier
from digitlib.files import atomic
from digitlib.pipeline.predict_folder import form_of
from digitlib.pipeline.report import least_confident


def predictions(names: list[str]) -> pd.DataFrame:
    """Return made-up predictions in which every third file is unreadable."""
    numbers = np.arange(len(names))
    bad = numbers % 3 == 2
    return pd.DataFrame(
        {
            "filename": names,
            "label": np.where(bad, "", (numbers % 10).astype(str)).astype(object),
            "confidence": np.where(bad, np.nan, 1 - numbers / (2 * len(names))),
            "reason": np.where(bad, "not an image", "").astype(object),
            "label_2": np.where(bad, "", "x").astype(object),
            "confidence_2": np.where(bad, np.nan, 0.1),
        }
    )


NAMES = ["a.png", "=1+1.png", "ä/b c.png", "\udcff.png", 'a"b,c.png', "a\nb.png", "a\rb.png"]


def test_csv_and_parquet_hold_the_same(root: Path) -> None:
    table = predictions(NAMES)
    for name in ("p.csv", "p.parquet"):
        counts = pipeline.write_predictions(root / name, [table[:2], table[2:3], table[3:]])
        assert counts == {"images": 7, "unreadable": 2, "rejected": 0}
    csv = pd.read_csv(
        root / "p.csv", dtype={"label": str}, keep_default_na=False, na_values={"confidence": "", "confidence_2": ""},
        encoding_errors="surrogateescape",
    )  # fmt: skip
    parquet = pd.read_parquet(root / "p.parquet")
    assert list(csv) == list(parquet) == list(table)
    assert csv["filename"].tolist() == ["a.png", "./=1+1.png", *NAMES[2:]]
    assert parquet["filename"].tolist() == [*NAMES[:3], "\\udcff.png", *NAMES[4:]]
    for name in list(table)[1:]:
        assert csv[name].fillna(-1).tolist() == pytest.approx(parquet[name].fillna(-1).tolist(), abs=1e-6)


def test_kaggles_form_by_name_and_by_option(root: Path) -> None:
    table = predictions(NAMES[:-1])
    pipeline.write_predictions(root / "submission.csv", [table[:2], table[2:]])
    pipeline.write_predictions(root / "p.parquet", table, submission=root / "s.csv")
    assert (root / "submission.csv").read_text() == (root / "s.csv").read_text()
    assert (root / "s.csv").read_text().splitlines()[:4] == ["ImageId,Label", "1,0", "2,1", "3,"]


@pytest.mark.parametrize("name", ["p.xlsx", "p", "p.csv.gz"])
def test_other_extensions_are_refused(root: Path, name: str) -> None:
    with pytest.raises(d.DigitError, match=r"must end in \.csv or \.parquet"):
        form_of(name)
    with pytest.raises(d.DigitError):
        pipeline.write_predictions(root / name, predictions(NAMES))
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("name", ["p.csv", "p.parquet", "submission.csv"])
def test_an_interrupted_table_leaves_the_old_one(root: Path, name: str) -> None:
    (root / name).write_text("old")

    def parts():  # type: ignore[no-untyped-def]
        yield predictions(NAMES)
        raise d.DigitError("stopped")

    with pytest.raises(d.DigitError, match="stopped"):
        pipeline.write_predictions(root / name, parts())
    assert (root / name).read_text() == "old"
    with pytest.raises(d.DigitError, match="no predictions"):
        pipeline.write_predictions(root / name, [])
    assert [path.name for path in root.iterdir()] == [name]


@pytest.fixture
def model(root: Path) -> Path:
    """Return the folder of a saved network, which has not learned anything."""
    return Classifier(d.build_model(d.get_recipe("tiny"), list("0123456789")), "0123456789").save("runs/m")


def test_a_folder_is_predicted_and_what_an_earlier_call_wrote_there_is_left_out(model: Path, digits: Path) -> None:
    folder = digits / "testSet"
    (folder / "broken.png").write_bytes(b"no image")
    words = ["predict", str(model), str(folder), "--out", str(folder / "p.csv"), "--submission", str(folder / "s.csv")]
    for _ in range(2):
        done = CliRunner().invoke(main, [*words, "--gallery", "page.html"])
        assert done.exit_code == 0, done.output
        assert "13 images, 1 unreadable (see the column reason)" in done.output
        assert "Warning: Kaggle refuses rows without a label" in done.output
    table = pd.read_csv(folder / "p.csv")
    assert list(table)[:4] == ["filename", "label", "confidence", "reason"]
    assert "broken.png" in set(table["filename"])
    assert (digits.parent / "page.html").read_text().count("data:image/png;base64") == 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "a.csv", "--submission", "a.csv"], "name the same file"),
        (["--gallery", "page.txt"], "must end in .html"),
        (["--partition-size", "5"], "--partition-size needs --workers"),
        (["--workers", "2", "--gallery", "page.html"], "--submission and --gallery don't work with partitions"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_is_loaded(digits: Path, options: list, said: str) -> None:
    done = CliRunner().invoke(main, ["predict", "runs/none", str(digits), *options])
    assert done.exit_code == 1
    assert said in done.output


def test_unlabelled_images_are_a_folder_or_the_test_set(digits: Path) -> None:
    run = d.prepare(digits, "runs/a", mode="none")
    assert pipeline.unlabelled_images(run) == str(digits / "testSet")
    alone = d.prepare(digits / "trainingSet", "runs/b", mode="none")
    paths = pipeline.unlabelled_images("runs/b")
    assert len(paths) == (alone.split["part"] == "test").sum()
    assert paths[0].startswith("scans/trainingSet/")


def test_the_least_confident_are_kept_while_many_pass() -> None:
    table = predictions([f"{number}.png" for number in range(3000)]).sample(frac=1, random_state=0)
    kept = table[:0]
    for start in range(0, 3000, 100):
        kept = least_confident(pd.concat([kept, table[start : start + 100]]), 5)
    expected = table[table["reason"] == ""].nsmallest(5, "confidence")
    assert kept["filename"].tolist()[:5] == expected["filename"].tolist()
    assert (kept["reason"][5:] != "").all()
    assert len(kept) == 10


def test_the_gallery_shows_the_least_confident_and_says_how_many_there_are(root: Path) -> None:
    names = [f"{number}.png" for number in range(9)]
    for number, name in enumerate(names):
        Image.new("L", (28, 28), 10 * number).save(root / name, "PNG")
    pipeline.write_gallery(root / "page.html", root, predictions(names), limit=2)
    page = (root / "page.html").read_text()
    assert "6 images classified; these are the 2 with the lowest confidence" in page
    assert "3 files could not be read; 2 of them are listed at the end" in page
    assert re.findall(r'class="filename">([^<]*)', page) == ["7.png", "6.png"]
    assert page.count("data:image/png;base64") == 2
    pipeline.write_gallery(root / "page.html", root, predictions(names))
    assert "6 images classified; all are shown" in (root / "page.html").read_text()


EVIL = "<img src=x onerror=alert(1)>&\"'\udcff.png"


def test_names_that_are_html_are_text_on_the_page(root: Path) -> None:
    Image.new("L", (28, 28)).save(root / "a.png")
    (root / "a.png").rename(root / EVIL.replace("/", ""))
    table = pd.DataFrame(
        {"filename": [EVIL, EVIL], "label": [EVIL, ""], "confidence": [0.5, np.nan], "reason": ["", EVIL]}
    )
    pipeline.write_gallery(root / "page.html", root, table)
    page = (root / "page.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;&amp;&#34;&#39;\\udcff.png") == 6
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"https?://", page)


def test_images_are_made_small_and_encoded_again(root: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3000, 2000, 3), np.uint8)
    Image.fromarray(noise).save(root / "large.png")
    (root / "page.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    table = predictions(["large.png", "page.svg"])
    pipeline.write_gallery(root / "page.html", root, table)
    page = (root / "page.html").read_text()
    assert page.count("<img") == 1
    assert len(page) < 100_000


def test_a_fault_of_what_is_done_while_writing_is_not_told_as_one_of_the_disk(root: Path) -> None:
    elsewhere = OSError(errno.EACCES, "Permission denied", str(root / "other" / "source.png"))
    for fault in (elsewhere, OSError(errno.ENOMEM, "Cannot allocate memory")):
        with pytest.raises(OSError, match=r".") as told, atomic(root / "table.csv"):
            raise fault
        assert told.value is fault
    with pytest.raises(d.DigitError, match="No space left"), atomic(root / "table.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(root.glob("*.csv"))
