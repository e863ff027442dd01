"""Labelled images in tables and arrays, as people have them from Hugging Face, Kaggle and Keras, to train on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import digitlib as d
from digitlib.data.datasets import as_folder


def unlabelled(run: d.Run) -> tuple[Path, list[str]]:
    folder = Path(run.read_json("source.json")["unlabelled"])
    return folder, d.data.list_images(folder)


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
    assert {path.read_bytes() for path in (folder / "train" / "7").iterdir()} < contents
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
        (
            {"image": [b"x"], "name": ["a"]},
            "has the columns image, name: they must be 'filename' or 'image' and 'label'",
        ),
        ({"pixels": [[1, 2]], "label": [1]}, "has the columns pixels, label: they must be"),
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


def arrays_of(digits: Path, some: slice) -> tuple[np.ndarray, np.ndarray]:
    """Return some images of each of ten classes, uint8 of shape (n, 28, 28), and their classes."""
    paths = [path for digit in range(10) for path in sorted((digits / "trainingSet" / str(digit)).iterdir())[some]]
    return np.stack([np.asarray(Image.open(path)) for path in paths]), np.array(
        [int(path.parent.name) for path in paths]
    )


def pixel_table(images: np.ndarray, labels: np.ndarray | None = None) -> pd.DataFrame:
    """Return images in Kaggle's form: ``label`` (not in its test.csv) and ``pixel0`` to ``pixel783``."""
    table = pd.DataFrame(images.reshape(len(images), -1)).add_prefix("pixel")
    if labels is not None:
        table.insert(0, "label", labels)
    return table


def pixels_in(folder: Path) -> set[bytes]:
    return {np.asarray(Image.open(path)).tobytes() for path in folder.rglob("*.png")}


def test_kaggles_tables_of_pixels_are_labelled_and_unlabelled_images(digits: Path) -> None:
    images, labels = arrays_of(digits, slice(0, 12))
    place = digits.parent / "kaggle"
    place.mkdir()
    pixel_table(images, labels).to_csv(place / "train.csv", index=False)
    pixel_table(images[::-1]).to_csv(place / "test.csv", index=False)
    (place / "sample_submission.csv").write_text("ImageId,Label\n1,0\n")
    before = {path: path.read_bytes() for path in place.iterdir()}
    run = d.prepare("kaggle", "runs/a", mode="none")
    manifest = d.read_split(run)
    assert manifest["class"].value_counts().to_dict() == {str(digit): 12 for digit in range(10)}
    assert set(manifest["part"]) == {"train", "validation", "test"}
    assert pixels_in(as_folder("kaggle") / "train" / "7") == {image.tobytes() for image in images[labels == 7]}
    folder, names = unlabelled(run)
    assert [np.asarray(Image.open(folder / name)).tobytes() for name in names] == [i.tobytes() for i in images[::-1]]
    assert {path: path.read_bytes() for path in place.iterdir()} == before


def test_rows_of_pixels_are_predicted_in_their_order(digits: Path) -> None:
    images, labels = arrays_of(digits, slice(0, 12))
    for name, table in (("test.csv", pixel_table(images)), ("train.csv", pixel_table(images, labels[::-1]))):
        table.to_csv(digits.parent / name, index=False)
        folder, names = d.data.find_inputs(name)
        assert names == [f"img_{number}.png" for number in range(1, 121)]
        assert [np.asarray(Image.open(folder / one)).tobytes() for one in names] == [one.tobytes() for one in images]


@pytest.mark.parametrize("header", ["filename,label", "Image_Path,split,Class"])
def test_a_table_names_files_beside_it_and_their_classes(digits: Path, header: str) -> None:
    paths = [path for digit in range(10) for path in sorted((digits / "trainingSet" / str(digit)).iterdir())[:12]]
    columns = header.split(",")
    rows = pd.DataFrame(dict.fromkeys(columns, "x"), index=range(120))
    rows[columns[0]] = [path.relative_to(digits).as_posix() for path in paths]
    rows[columns[-1]] = [f"0{path.parent.name}" for path in paths]
    rows.loc[0, columns[-1]] = ""
    rows.to_csv(digits / "labels.csv", index=False)
    run = d.prepare("scans/labels.csv", "runs/a", mode="none")
    assert run.class_names == [f"0{digit}" for digit in range(10)]
    assert len(d.read_split(run)) == 119
    assert len(unlabelled(run)[1]) == 1
    folder = as_folder(digits / "labels.csv")
    assert {path.read_bytes() for path in (folder / "train" / "07").iterdir()} == {p.read_bytes() for p in paths[84:96]}
    os.utime(paths[0], ns=(1, 1))  # another state of an image is another folder
    assert as_folder(digits / "labels.csv") != folder
    frame = rows.assign(**{columns[0]: [str(path) for path in paths]})
    assert len(d.read_split(d.prepare(frame, "runs/b", mode="none"))) == 119


def test_arrays_are_split_and_named_by_what_they_were_written_to(digits: Path) -> None:
    images, labels = arrays_of(digits, slice(0, 12))
    run = d.prepare((images, labels), "runs/a", mode="none")
    about = run.read_json("source.json")
    assert about["data"].startswith("data/arrays-")
    again = d.prepare(about["data"], "runs/b", mode="none")
    assert d.read_split(again).equals(d.read_split(run))
    names = [f"n{label}" for label in labels]
    floats = d.prepare((images[..., None] / 255, names), "runs/c", mode="none")
    assert set(d.read_split(floats)["sha256"]) == set(d.read_split(run)["sha256"])
    assert floats.class_names == [f"n{digit}" for digit in range(10)]
    table = d.prepare(pixel_table(images, labels), "runs/d", mode="none")
    assert set(d.read_split(table)["sha256"]) == set(d.read_split(run)["sha256"])
    with pytest.raises(d.DigitError, match="shared by all runs and can't be moved"):
        d.prepare((images, labels), "runs/e", mode="move")


@pytest.mark.parametrize("form", ["tuple", "x_{}", "{}_images"])
def test_sets_that_arrays_come_in_are_kept(digits: Path, form: str) -> None:
    sets = {"train": arrays_of(digits, slice(0, 9)), "test": arrays_of(digits, slice(9, 12))}
    colours = {name: (np.stack([x, x, x // 2], -1), y[:, None]) for name, (x, y) in sets.items()}
    data = tuple(colours.values())
    if form != "tuple":
        arrays = {}
        for name, (x, y) in colours.items():
            arrays |= {form.format(name): x, form.replace("x", "y").replace("images", "labels").format(name): y}
        np.savez(digits.parent / "digits.npz", **arrays)
        data = "digits.npz"
    manifest = d.read_split(d.prepare(data, "runs/a", mode="none"))
    assert (manifest["part"] == "test").sum() == 30
    images = pixels_in(as_folder(data) / "test")
    assert images == {image.tobytes() for image in colours["test"][0]}


def test_the_same_sets_in_two_tables_with_a_header_or_words_around_them(digits: Path) -> None:
    for name, some in (("mnist_train", slice(0, 9)), ("mnist_test", slice(9, 12))):
        (digits.parent / "two").mkdir(exist_ok=True)
        table = pixel_table(*arrays_of(digits, some))
        table.columns = ["label", *(f"{row}x{column}" for row in range(1, 29) for column in range(1, 29))]
        table.to_csv(digits.parent / "two" / f"{name}.csv", index=False)
    assert (d.read_split(d.prepare("two", "runs/a", mode="none"))["part"] == "test").sum() == 30


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (5, "data of type int is none of these: 'sample', 'mnist', a folder"),
        ("notes.txt", "isn't a folder: give 'sample', 'mnist', a folder with one sub-folder"),
        ("notes.csv", "notes.csv has the columns a, b: they must be 'filename' or 'image' and 'label'"),
        ("empty.csv", "empty.csv can't be read (No columns to parse from file)"),
        ("names.csv", "1 of the 1 files that names.csv names don't exist, for example x.png: relative names start"),
        ("ragged.csv", "ragged.csv can't be read (Error tokenizing data."),
        ("odd.npz", "odd.npz holds a, b: its arrays must be called x and y"),
        ("bad.npz", "bad.npz can't be read"),
        ((np.zeros((4, 8, 8), np.uint8), [0, 1]), "data has 4 images and 2 labels"),
        ((np.full((2, 8, 8), 7.0), [0, 1]), "float images must be between 0 and 1, these go from 0 to 7"),
        ((np.zeros((2, 8, 8), np.uint8), ["a/b", "c"]), "data has a class 'a/b', which can't be the name of a folder"),
        ((np.zeros((2, 8, 8), np.uint8), [".a", "c"]), "data has a class '.a', which can't be the name of a folder"),
        ((1, 2, 3), "data of type tuple is none of these"),
        (pd.DataFrame({"a": [1]}), "data has the columns a: they must be"),
        (pd.DataFrame({"pixel0": [1] * 16}), "data has the columns pixel0"),
    ],
)
def test_what_is_no_form_of_labelled_images_is_said_in_one_sentence(digits: Path, data: object, said: str) -> None:
    for name, text in (("notes.txt", "x"), ("notes.csv", "a,b\n1,2\n"), ("empty.csv", ""), ("bad.npz", "x")):
        (digits.parent / name).write_text(text)
    (digits.parent / "ragged.csv").write_text("file,label\na.png,1\nb.png,1,2,3\n")
    (digits.parent / "names.csv").write_text("file,label\nx.png,1\n")
    np.savez(digits.parent / "odd.npz", a=np.zeros(1), b=np.zeros(1))
    with pytest.raises(d.DigitError) as told:
        d.prepare(data, "runs/a")
    assert said in str(told.value)
    assert "\n" not in str(told.value)
    assert not list(digits.parent.glob("data/*-*"))
