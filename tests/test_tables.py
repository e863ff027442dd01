"""Labelled images in Parquet files, as people fetch them from Hugging Face, to train on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import digitlib as d
from digitlib.data.datasets import as_folder


def unlabelled(run: d.Run) -> tuple[Path, list[str]]:
    folder = Path(run.read_json("source.json")["unlabelled"])
    return folder, d.list_images(folder)


def table_of(digits: Path, some: slice, label: str = "label", *, numbers: bool = False) -> pa.Table:
    """Return some images of each of ten classes as Hugging Face keeps them; with `numbers`, classes have names in its notes."""
    paths = [path for digit in range(10) for path in sorted((digits / "trainingSet" / str(digit)).iterdir())[some]]
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    labels = [int(path.parent.name) for path in paths]
    table = pa.table({"image": images, label: labels})
    if not numbers:
        return table
    names = {"names": [f"n{digit}" for digit in range(10)], "_type": "ClassLabel"}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": {label: names}}})})


def test_one_file_is_split_and_trained_on_like_a_folder(digits: Path) -> None:
    pq.write_table(table_of(digits, slice(0, 12)), digits.parent / "mnist.parquet", row_group_size=50)
    run = d.prepare("mnist.parquet", "runs/rows", mode="none")
    manifest = d.read_split(run)
    assert manifest["class"].value_counts().to_dict() == {str(digit): 12 for digit in range(10)}
    assert run.read_json("source.json")["data"].endswith("mnist.parquet")
    folder = Path(run.read_json("source.json")["root"])
    contents = {path.read_bytes() for path in (digits / "trainingSet" / "7").iterdir()}
    assert {path.read_bytes() for path in (folder / "7").iterdir()} < contents
    before = sorted(folder.rglob("*"))
    assert as_folder("mnist.parquet") == folder
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("zipped", [False, True])
def test_files_named_after_sets_are_the_sets(digits: Path, zipped: bool) -> None:
    place = digits.parent / "hub" / "data"
    place.mkdir(parents=True)
    (digits.parent / "hub" / "README.md").write_text("# Digits")
    for name, some in (("train", slice(0, 9)), ("test", slice(9, 12))):
        pq.write_table(table_of(digits, some, numbers=True), place / f"{name}-00000-of-00001.parquet")
    data = shutil.make_archive(str(digits.parent / "hub"), "zip", digits.parent, "hub") if zipped else "hub"
    run = d.prepare(data, "runs/hub", mode="none")
    manifest = d.read_split(run)
    assert run.class_names == [f"n{digit}" for digit in range(10)]
    assert (manifest["part"] == "test").sum() == 30
    assert (manifest["part"] != "test").sum() == 90


def test_rows_without_a_class_are_unlabelled(digits: Path) -> None:
    table = table_of(digits, slice(0, 6), "digit")
    labels = [{5: None, 4: -1}.get(row % 6, value) for row, value in enumerate(table["digit"].to_pylist())]
    pq.write_table(table.set_column(1, "digit", [labels]), digits.parent / "some.parquet")
    run = d.prepare("some.parquet", "runs/some", mode="none")
    assert len(d.read_split(run)) == 40
    assert len(unlabelled(run)[1]) == 20


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"image": [b"x"], "name": ["a"]}, "has no column of classes, only image, name: call it 'label'"),
        ({"pixels": [[1, 2]], "label": [1]}, "has no column of encoded images, only pixels, label"),
        ({"image": [b"x"], "label": ["../a"]}, r"has a class '../a', which can't be the name of a folder"),
        ({"image": pa.array([None, b"x"], pa.binary()), "label": ["a", "b"]}, "holds no image: leave the row out"),
    ],
)
def test_tables_that_can_not_be_trained_on_leave_nothing(digits: Path, table: dict, said: str) -> None:
    pq.write_table(pa.table(table), digits.parent / "odd.parquet")
    with pytest.raises(d.DigitError, match=said):
        d.prepare("odd.parquet", "runs/odd")
    assert not list((digits.parent / "data").glob("*odd*"))
    assert not list((digits.parent / "data").glob(".tmp-*"))


def test_classes_that_pandas_has_turned_into_fractions_are_whole_again(digits: Path) -> None:
    table = table_of(digits, slice(0, 6)).to_pandas()
    table.loc[table.index % 6 == 5, "label"] = None
    table.to_parquet(digits.parent / "fractions.parquet")
    run = d.prepare("fractions.parquet", "runs/rows", mode="none")
    assert run.class_names == [str(digit) for digit in range(10)]
    assert len(unlabelled(run)[1]) == 10


def test_two_folders_of_one_name_are_two_whatever_the_case_of_their_files(digits: Path) -> None:
    for top, some in (("one", slice(0, 4)), ("two", slice(4, 8))):
        (digits.parent / top / "tables").mkdir(parents=True)
        pq.write_table(table_of(digits, some), digits.parent / top / "tables" / "DIGITS.PARQUET")
    assert as_folder("one/tables") != as_folder("two/tables")
