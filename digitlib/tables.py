"""Labelled images in the rows of Parquet files, written out as the class folders that all else takes."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from digitlib.errors import DigitError
from digitlib.files import shown
from digitlib.image_rows import ImageRows, columns_of
from digitlib.progress import bar
from digitlib.sources import list_images
from digitlib.stores import LocalFolder

LABEL_COLUMNS = ("label", "labels", "class", "target", "digit", "category", "y")
"""Names that a column of classes goes by."""

AT_ONCE = 10_000
"""Images that are gone through with a file opened once."""

PARTS = {"train": "train", "val": "validation", "test": "test"}
"""How the name of a file that is one part of a split begins, and the folder of that part."""

MAGIC = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"GIF8": ".gif", b"BM": ".bmp"}


def write_rows_out(path: Path, folder: Path) -> None:
    """Write the images of one Parquet file, or of all those in a folder, as files in class folders.

    Files whose names begin with ``train``, ``val`` and ``test``, as Hugging Face calls them, become the parts of a split.
    A class that is a number is named as the file's own ``ClassLabel`` says, if it says so; rows without a class, or with
    -1, go to ``unlabelled/``.

    Parameters
    ----------
    path : pathlib.Path
        See `digitlib.image_rows` for the columns that hold images.
    folder : pathlib.Path
        An empty one.

    Raises
    ------
    DigitError
        If there is no column of images or of classes, a class can't be the name of a folder, or a row holds no image.
    """
    top, names = (path, list_images(path)) if path.is_dir() else (path.parent, [path.name])
    store, names = LocalFolder(top), [name for name in names if name.lower().endswith(".parquet")]
    images = ImageRows(store, names, columns_of(store, names[0]))
    partitions = list(images.cut(AT_ONCE))
    parts = _parts([file for partition in partitions for file, _ in images.files_of(partition)])
    written: Counter[Path] = Counter()
    with bar(sum(map(images.count, partitions)), "Writing images out", "image") as shown_bar:
        for partition in partitions:
            for (name, content), (file, label) in zip(
                images.items(partition), _labels(images, partition), strict=True
            ):
                if isinstance(content, OSError):
                    raise DigitError(f"{name} in {shown(path)} holds no image: leave the row out.")
                place = folder / "unlabelled" if label is None else folder / parts[file] / label
                if not written[place]:
                    place.mkdir(parents=True, exist_ok=True)
                written[place] += 1
                (place / f"{written[place]:07d}{_stem(name)}{_ending(content)}").write_bytes(content)
            shown_bar.update(images.count(partition))


def _parts(files: list[str]) -> dict[str, str]:
    """Return the part of each file, empty if there are none."""
    found = {
        file: next((part for start, part in PARTS.items() if Path(file).name.lower().startswith(start)), "")
        for file in files
    }
    whole = {"train"} < set(found.values()) and all(found.values())
    return found if whole else dict.fromkeys(files, "")


def _labels(images: ImageRows, partition: pa.Table) -> Iterator[tuple[str, str | None]]:
    """Yield the file and the class of each row of a partition, None for those without a class."""
    for file, pieces in images.files_of(partition):
        with images.store.open(file) as opened:
            parquet = pq.ParquetFile(opened)
            schema = parquet.schema_arrow
            column = next((name for name in LABEL_COLUMNS if name in schema.names), "")
            if not column:
                raise DigitError(
                    f"{images.store}/{file} has no column of classes, only {', '.join(schema.names)[:200]}: call it 'label'."
                )
            names = _class_labels(schema, column)
            for piece in pieces:
                values = parquet.read_row_group(piece["group"], [column]).column(0).to_pylist()
                for value in values:
                    yield file, _class_of(value, names, f"{images.store}/{file}")


def _class_of(value: Any, names: list[str], where: str) -> str | None:
    """Return the class that a value of the column stands for, None if for none."""
    if isinstance(value, bytes):
        value = os.fsdecode(value)
    if value is None or value == -1 or value != value:  # pandas makes NaN of None among numbers
        return None
    if isinstance(value, float) and value.is_integer():  # and fractions of the others
        value = int(value)
    known = names[value] if isinstance(value, int) and 0 <= value < len(names) else str(value)
    if not known.strip(". ") or re.search(r'[/\\:*?"<>|\0]', known):
        raise DigitError(f"{where} has a class {known!r}, which can't be the name of a folder: rename it.")
    return known


def _class_labels(schema: pa.Schema, column: str) -> list[str]:
    """Return the names that Hugging Face's metadata give to the numbers of a column, empty without."""
    try:
        about: Any = json.loads((schema.metadata or {})[b"huggingface"])
        return [str(name) for name in about["info"]["features"][column]["names"]]
    except (KeyError, ValueError, TypeError):
        return []


def _stem(name: str) -> str:
    """Return what a row's name adds to the name of its file, if it has one of its own."""
    return "" if "#" in name else "-" + re.sub(r"[^\w.-]", "_", Path(name).stem)[:60]


def _ending(content: bytes) -> str:
    """Return the ending of an image's file by what the image begins with."""
    return next((ending for start, ending in MAGIC.items() if content.startswith(start)), ".img")
