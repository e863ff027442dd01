"""Predictions on disk: the same in CSV and Parquet, whatever the names; and the page of pictures."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import digitlib as d
from digitlib.files import atomic
from digitlib.pipeline.gallery import Card, write_page
from digitlib.pipeline.predict_folder import form_of


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
        assert d.write_predictions(root / name, [table[:2], table[2:3], table[3:]]) == {
            "images": 7,
            "unreadable": 2,
            "declined": 0,
        }
    columns = ["filename", "label", "confidence", "reason", "label_2", "confidence_2"]
    csv = pd.read_csv(
        root / "p.csv", dtype={"label": str}, keep_default_na=False, na_values={"confidence": "", "confidence_2": ""},
        encoding_errors="surrogateescape",
    )  # fmt: skip
    parquet = pd.read_parquet(root / "p.parquet")
    assert list(csv) == list(parquet) == columns
    assert csv["filename"].tolist() == ["a.png", "./=1+1.png", *NAMES[2:]]
    assert parquet["filename"].tolist() == [*NAMES[:3], "\\udcff.png", *NAMES[4:]]
    for name in columns[1:]:
        assert csv[name].fillna(-1).tolist() == pytest.approx(parquet[name].fillna(-1).tolist(), abs=1e-6)
    assert parquet["confidence"].isna().tolist() == (table["reason"] != "").tolist()


def test_kaggles_form_by_name_and_by_option(root: Path) -> None:
    table = predictions(NAMES[:-1])
    d.write_predictions(root / "submission.csv", [table[:2], table[2:]])
    d.write_predictions(root / "p.parquet", table, submission=root / "s.csv")
    assert (root / "submission.csv").read_text() == (root / "s.csv").read_text()
    assert (root / "s.csv").read_text().splitlines()[:4] == ["ImageId,Label", "1,0", "2,1", "3,"]


@pytest.mark.parametrize("name", ["p.xlsx", "p", "p.csv.gz"])
def test_other_extensions_are_refused(root: Path, name: str) -> None:
    with pytest.raises(d.DigitError, match=r"end its name with \.csv or \.parquet"):
        form_of(name)
    with pytest.raises(d.DigitError):
        d.write_predictions(root / name, predictions(NAMES))
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("name", ["p.csv", "p.parquet", "submission.csv"])
def test_an_interrupted_table_leaves_the_old_one(root: Path, name: str) -> None:
    (root / name).write_text("old")

    def parts():  # type: ignore[no-untyped-def]
        yield predictions(NAMES)
        raise d.DigitError("stopped")

    with pytest.raises(d.DigitError, match="stopped"):
        d.write_predictions(root / name, parts())
    assert (root / name).read_text() == "old"
    with pytest.raises(d.DigitError, match="no predictions"):
        d.write_predictions(root / name, [])
    assert [path.name for path in root.iterdir()] == [name]


def test_only_the_least_sure_are_kept_while_many_pass() -> None:
    table = predictions([f"{number}.png" for number in range(3000)]).sample(frac=1, random_state=0)
    least = d.LeastSure(5)
    passed = pd.concat(least.noting(table[start : start + 100] for start in range(0, 3000, 100)))
    pd.testing.assert_frame_equal(passed, table)
    assert least.table["filename"].tolist() == table.nsmallest(5, "confidence")["filename"].tolist()
    assert (least.images, least.unreadable, len(least.rejected)) == (2000, 1000, 5)


def pictures(folder: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        Image.new("L", (28, 28), 10 * number).save(folder / name, "PNG")


def test_the_gallery_shows_the_least_sure_and_says_how_many_there_are(root: Path) -> None:
    names = [f"{number}.png" for number in range(9)]
    pictures(root, names)
    table = predictions(names)
    d.write_gallery(root / "page.html", root, table, limit=2)
    page = (root / "page.html").read_text()
    assert "6 images named; these are the 2 with the lowest confidence" in page
    assert "3 files could not be read; 2 of them stand at the end" in page
    assert re.findall(r'class="name">([^<]*)', page) == ["7.png", "6.png"]
    assert page.count("data:image/png;base64") == 2
    d.write_gallery(root / "page.html", root, table)
    assert "6 images named; all are shown" in (root / "page.html").read_text()


EVIL = "<img src=x onerror=alert(1)>&\"'\udcff.png"


def test_names_that_are_html_are_text_on_the_page(root: Path) -> None:
    table = pd.DataFrame(
        {"filename": [EVIL, EVIL], "label": [EVIL, ""], "confidence": [0.5, np.nan], "reason": ["", EVIL]}
    )
    d.write_gallery(root / "page.html", root, table)
    page = (root / "page.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#x27;\\udcff.png") == 5
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"https?://", page)


def test_pictures_are_made_small_and_encoded_anew(root: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3000, 2000, 3), np.uint8)
    Image.fromarray(noise).save(root / "large.png")
    (root / "page.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    write_page(
        root / "page.html",
        "",
        [],
        [Card(root / "large.png", "", [], ""), Card(root / "page.svg", "", [], "")],
    )
    page = (root / "page.html").read_text()
    assert page.count("<img") == 1
    assert len(page) < 100_000


def test_a_fault_of_what_is_done_while_writing_is_not_told_as_one_of_the_disk(root: Path) -> None:
    elsewhere = OSError(errno.EACCES, "Permission denied", str(root / "other" / "source.png"))
    for fault, wrong in ((elsewhere, OSError), (OSError(errno.ENOMEM, "Cannot allocate memory"), OSError)):
        with pytest.raises(wrong) as told, atomic(root / "table.csv"):
            raise fault
        assert told.value is fault
    with pytest.raises(d.DigitError, match="No space left"), atomic(root / "table.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(root.glob("*.csv"))
