"""Labelled images in the rows of Parquet files, written out as the class folders that all else takes."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from digitlib.data.sources import list_images
from digitlib.errors import DigitError
from digitlib.files import display_path
from digitlib.progress import bar

IMAGE_COLUMNS = ("image", "bytes", "image_bytes", "img", "jpg", "jpeg", "png", "content")
"""Names that a column of encoded images goes by; Hugging Face's holds ``bytes`` and ``path`` in one."""

LABEL_COLUMNS = ("label", "labels", "class", "target", "digit", "category", "y")
"""Names that a column of classes goes by."""

SETS = {"train": "train", "val": "validation", "test": "test"}
"""How the name of a file that is one set of a split begins, and the folder of that set."""

MAGIC = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"GIF8": ".gif", b"BM": ".bmp"}


def write_rows_out(path: Path, folder: Path) -> None:
    """Write the images of one Parquet file, or of all those in a folder, as files in class folders.

    Files whose names begin with ``train``, ``val`` and ``test``, as Hugging Face calls them, become these sets. A class that
    is a number gets its name from the file's own ``ClassLabel``, if it has one; rows without a class, or with -1, go to
    ``unlabelled/``.

    Parameters
    ----------
    path : pathlib.Path
        The file or folder.
    folder : pathlib.Path
        An empty one.
    """
    names = list_images(path) if path.is_dir() else [""]
    files = [path / name for name in names if (path / name).suffix.lower() == ".parquet"]
    sets = [next((SETS[key] for key in SETS if file.name.lower().startswith(key)), "") for file in files]
    if not ({"train"} < set(sets) and all(sets)):
        sets = [""] * len(files)
    written: Counter[Path] = Counter()
    for file, part in zip(files, sets, strict=True):
        try:
            _write_file(file, folder / part, folder / "unlabelled", written)
        except pa.ArrowException as error:
            why = " ".join(str(error).split())[:150]
            raise DigitError(f"{display_path(file)} can't be read ({why}): fetch or write it again.") from error


def _write_file(path: Path, folder: Path, unlabelled: Path, written: Counter[Path]) -> None:
    where = display_path(path)
    with pq.ParquetFile(path, pre_buffer=False) as file, bar(file.metadata.num_rows, "Writing images out") as shown:
        schema = file.schema_arrow
        image = next((name for name in IMAGE_COLUMNS if name in schema.names), "")
        label = next((name for name in LABEL_COLUMNS if name in schema.names), "")
        for column, of, call in ((image, "encoded images", "image"), (label, "classes", "label")):
            if not column:
                names = ", ".join(schema.names)[:200]
                raise DigitError(f"{where} has no column of {of}, only {names}: call it {call!r}.")
        classes = _class_labels(schema, label)
        for batch in file.iter_batches(500, columns=[image, label], use_threads=False):
            for row in batch.to_pylist():
                content, stem = row[image], ""
                if isinstance(content, dict):
                    stem = Path(content.get("path") or "").stem
                    content = content.get("bytes")
                if not isinstance(content, bytes):
                    raise DigitError(f"a row of {where} holds no image: leave the row out.")
                name = _class_of(row[label], classes, where)
                place = unlabelled if name is None else folder / name
                if not written[place]:
                    place.mkdir(parents=True, exist_ok=True)
                written[place] += 1
                ending = next((ending for start, ending in MAGIC.items() if content.startswith(start)), ".img")
                stem = "-" + re.sub(r"[^\w.-]", "_", stem)[:60] if stem else ""
                (place / f"{written[place]:07d}{stem}{ending}").write_bytes(content)
            shown.update(len(batch))


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
