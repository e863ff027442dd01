"""Images in tables and arrays, written out as the class folders that all else takes."""

from __future__ import annotations

import json
import math
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import product, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from natsort import natsorted
from PIL import Image

from digitlib.data.decoding import as_pil, as_uint8
from digitlib.data.sources import is_litter, walk
from digitlib.errors import DigitError, needs
from digitlib.files import display_path, odd_here, project_root
from digitlib.progress import progress

IMAGE_COLUMNS = (
    "image", "bytes", "image_bytes", "img", "jpg", "jpeg", "png", "content", "filename", "file", "file_name", "filepath",
    "file_path", "path", "image_path",
)  # fmt: skip
"""Names of a column of encoded images (Hugging Face's holds ``bytes`` and ``path`` in one) or of files' names."""

LABEL_COLUMNS = ("label", "labels", "class", "target", "digit", "category", "y")
"""Names that a column of classes goes by."""

PIXEL = re.compile(r"(pixel|px|p)?[_ ]?\d+(x\d+)?", re.IGNORECASE)
"""The name of a column of one pixel: Kaggle's ``pixel0`` to ``pixel783``, ``1x1`` to ``28x28``, or a number."""

ARRAYS = (("x", "y"), ("images", "labels"), ("arr_0", "arr_1"))
"""Names of images and labels in a ``.npz``, alone or with a set as in ``x_train`` or ``train_images``."""

SETS = {"train": "train", "val": "validation", "test": "test"}
"""How the name of a file or array says which set it is, and the folder of that set."""

MAGIC = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"GIF8": ".gif", b"BM": ".bmp"}

CSV: dict[str, Any] = {"keep_default_na": False, "encoding": "utf-8-sig", "encoding_errors": "surrogateescape"}

UNREADABLE = (ValueError, OSError, KeyError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error)
"""What pandas, NumPy and Arrow raise for files that are damaged, or something else than their name says."""


def tables_of(path: Path) -> list[Path]:
    """Return the tables of images that a path is, or that a folder holds with no images beside them."""
    if not path.is_dir():
        return [path] if path.is_file() and path.suffix.lower() in (".parquet", ".csv", ".npz") else []
    names, images = [], tuple(ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN)
    for name, _ in walk(path, path.resolve()):
        if name.lower().endswith(images):
            return []
        names.append(name)
    files = [path / name for name in natsorted(name for name in names if name.lower().endswith((".parquet", ".csv")))]
    return [file for file in files if file.suffix.lower() == ".parquet" or any(columns_of(file)[1:])]


def columns_of(source: Any) -> tuple[Any, Any, list[Any]]:
    """Return the columns of classes, of images or their files, and of a pixel each, in a CSV file or DataFrame.

    None, None and [] stand for what is missing: pixels must be as many as a square image has, images must have classes.
    """
    columns = getattr(source, "columns", ())
    if isinstance(source, Path) and source.suffix.lower() == ".csv":
        with suppress(*UNREADABLE):
            columns = pd.read_csv(source, nrows=0, **CSV).columns
    lower = {str(column).strip().lower(): column for column in columns}
    label, image = (next((lower[n] for n in names if n in lower), None) for names in (LABEL_COLUMNS, IMAGE_COLUMNS))
    pixels = [column for name, column in lower.items() if PIXEL.fullmatch(name)]
    if len(pixels) < 16 or math.isqrt(len(pixels)) ** 2 != len(pixels):
        pixels = []
    return label, None if pixels or label is None else image, pixels


def write_out(sources: Sequence[Any], folder: Path, *, labelled: bool = True) -> None:
    """Write images as files in class folders.

    Files whose names say ``train``, ``val`` and ``test``, as Hugging Face's and Kaggle's do, become these sets. Images
    without a class, or with -1, go to ``unlabelled/``.

    Parameters
    ----------
    sources : sequence
        Files as from `tables_of`; a DataFrame of pixels or of file names; or arrays (x, y), also as
        ((x_train, y_train), (x_test, y_test)).
    folder : pathlib.Path
        An empty one.
    labelled : bool
        Without it all images go to ``unlabelled/``, in their order.
    """
    words = [re.search(r"(?:^|[_-])(train|val|test)", getattr(one, "name", "").lower()) for one in sources]
    sets = [SETS[word[1]] if word else "" for word in words]
    if not ({"train"} < set(sets) and all(sets)):
        sets = [""] * len(sources)
    numbers: Counter[Path] = Counter()
    for source, of_file in zip(sources, sets, strict=True):
        for part, label, image, stem in progress(_read(source, _items(source)), None, "Writing images out"):
            name = _class_of(label, _where(source)) if labelled else None
            top = folder / ("unlabelled" if name is None else part or of_file or "train")
            (top / (name or "")).mkdir(parents=True, exist_ok=True)
            numbers[top] += 1
            file = top / (name or "") / f"img_{numbers[top]}{stem}"
            if isinstance(image, bytes):
                ending = next((ending for start, ending in MAGIC.items() if image.startswith(start)), ".img")
                file.with_name(f"{file.name}{ending}").write_bytes(image)
            else:
                as_pil(image).save(f"{file}.png")


def named_files(source: Any) -> list[Path]:
    """Return the files that a CSV file or a DataFrame names, relative to its folder or the project; all must be there."""
    image = columns_of(source)[1]
    tables = [] if image is None else _read(source, _tables(source))
    top = source.parent if isinstance(source, Path) else project_root()
    files = [top / name for table in tables for name in table[image] if isinstance(name, str | Path)]
    if missing := [file for file in files if not file.is_file()]:
        what = f"{len(missing):,} of the {len(files):,} files that {_where(source)} names don't exist, for example"
        raise DigitError(f"{what} {display_path(missing[0])}: relative names start from {display_path(top)!r}.")
    return files


def _read(source: Any, rows: Iterator[Any]) -> Iterator[Any]:
    """Yield what is read of a source, and say of which if that fails."""
    try:
        yield from rows
    except UNREADABLE as error:
        why = " ".join(str(error).split())[:150]
        raise DigitError(f"{_where(source)} can't be read ({why}): fetch or write it again.") from error


def _where(source: Any) -> str:
    return display_path(source) if isinstance(source, Path) else "data"


def _tables(source: Any) -> Iterator[pd.DataFrame]:
    """Yield the rows of a table, some at a time; a class that is a number in Parquet by its name in Hugging Face's notes."""
    if isinstance(source, pd.DataFrame):
        yield source
    elif source.suffix.lower() == ".csv":
        label, image, _ = columns_of(source)
        yield from pd.read_csv(source, dtype=dict.fromkeys((label, image), str), chunksize=1000, **CSV)
    else:
        with needs("Parquet files"):
            import pyarrow.parquet as pq
        with pq.ParquetFile(source, pre_buffer=False) as file:
            label, image, _ = columns_of(file.schema_arrow.empty_table().to_pandas())
            wanted = file.schema_arrow.names if image is None else [label, image]
            classes = dict(enumerate(_class_labels(file.schema_arrow.metadata, label)))
            for batch in file.iter_batches(500, columns=wanted, use_threads=False):
                table = pd.DataFrame(batch.to_pydict(), dtype=object)
                if classes:
                    table[label] = [classes.get(name, name) for name in table[label]]
                yield table


def _items(source: Any) -> Iterator[tuple[str, Any, Any, str]]:
    """Yield set or "", class, image (uint8 array, or bytes of a file) and a word for the file's name."""
    if isinstance(source, tuple) or (isinstance(source, Path) and source.suffix.lower() == ".npz"):
        for part, x, y in _arrays(source):
            images, labels = _images(x), np.ravel(y).tolist()
            if len(images) != len(labels):
                what = f"{_where(source)} has {len(images)} images and {len(labels)} labels"
                raise DigitError(f"{what}: give one class name or integer for each image.")
            yield from ((part, name, image, "") for name, image in zip(labels, images, strict=True))
        return
    files = iter(named_files(source))
    for table in _tables(source):
        label, image, pixels = columns_of(table)
        if not (image or pixels):
            have = ", ".join(map(str, table.columns))[:200]
            ways = "'filename' or 'image' and 'label', or 'pixel0', 'pixel1' … of square images"
            raise DigitError(f"{_where(source)} has the columns {have}: they must be {ways}.")
        contents = _images(table[pixels]) if pixels else table[image]
        for name, content in zip(repeat(None) if label is None else table[label], contents, strict=False):
            stem = ""
            if isinstance(content, dict):
                stem, content = Path(content.get("path") or "").stem, content.get("bytes")
            if isinstance(content, str | Path):
                stem, content = (file := next(files)).stem, file.read_bytes()
            if not isinstance(content, bytes | np.ndarray):
                raise DigitError(f"a row of {_where(source)} holds no image: leave the row out.")
            yield "", name, content, "-" + re.sub(r"[^\w.-]", "_", stem)[:60] if stem else ""


def _images(values: Any) -> np.ndarray:
    """Return images, each of them perhaps a row of pixels, as uint8, shape (n, height, width, 1 or 3)."""
    array = np.asarray(values)
    if array.ndim == 2 and (side := math.isqrt(array.shape[1])) ** 2 == array.shape[1]:
        array = array.reshape(-1, side, side)
    if array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() <= 255:
        array = array.astype(np.uint8)
    return as_uint8(array)


def _arrays(source: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield set, images and labels of (x, y), of ((x_train, y_train), (x_test, y_test)), or of a ``.npz``."""
    if isinstance(source, tuple):
        nested = all(isinstance(one, tuple) and len(one) == 2 for one in source)
        pairs = zip(("train", "test"), source, strict=True) if nested else [("", source)]
        yield from ((part, x, y) for part, (x, y) in pairs)
        return
    with np.load(source, allow_pickle=False) as arrays:
        known, found = {name.lower(): name for name in arrays.files}, 0
        for part, (x, y) in product(("train", "val", "test", ""), ARRAYS):
            for form in {f"{{}}_{part}".strip("_"), f"{part}_{{}}".strip("_")}:
                if {form.format(x), form.format(y)} <= known.keys():
                    yield SETS.get(part, ""), arrays[known[form.format(x)]], arrays[known[form.format(y)]]
                    found += 1
    if not found:
        what = f"{_where(source)} holds {', '.join(known)[:200] or 'nothing'}"
        raise DigitError(f"{what}: its arrays must be called x and y, or x_train, y_train, x_test and y_test.")


def _class_of(value: Any, where: str) -> str | None:
    """Return the class that a value of the column stands for, None if for none."""
    if isinstance(value, bytes):
        value = os.fsdecode(value)
    if pd.isna(value) or value in (-1, ""):
        return None
    if isinstance(value, float) and value.is_integer():  # pandas turns integers with gaps into fractions
        value = int(value)
    known = str(value)
    if (
        not known.strip(". ")
        or is_litter(known)
        or re.search(r'[/\\:*?"<>|\0]', known)
        or odd_here(known)
        or len(os.fsencode(known)) > 200
    ):
        raise DigitError(f"{where} has a class {known[:200]!r}, which can't be the name of a folder: rename it.")
    return known


def _class_labels(metadata: Any, column: str) -> list[str]:
    """Return the names that Hugging Face's metadata give to the numbers of a column, empty without."""
    try:
        about: Any = json.loads((metadata or {})[b"huggingface"])
        return [str(name) for name in about["info"]["features"][column]["names"]]
    except (KeyError, ValueError, TypeError):
        return []
