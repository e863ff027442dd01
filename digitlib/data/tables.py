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
from digitlib.files import display_path
from digitlib.progress import bar
from digitlib.data.sources import list_images
from digitlib.data.stores import LocalFolder
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate, groupby
from typing import Any
import pyarrow as pa
import pyarrow.parquet as pq
from digitlib.errors import DigitError
from digitlib.data.stores import Store


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
        See `digitlib.data.tables` for the columns that hold images.
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
                    raise DigitError(f"{name} in {display_path(path)} holds no image: leave the row out.")
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


IMAGE_COLUMNS = ("image", "bytes", "image_bytes", "img", "jpg", "jpeg", "png", "content")
"""Names that a column of encoded images goes by; Hugging Face's holds ``bytes`` and ``path`` in one."""

NAME_COLUMNS = ("filename", "file_name", "file", "path", "name", "image_id", "id", "key")
"""Names that a column of file names or numbers goes by; without one, rows are named ``FILE#ROW``."""

ROWS, ROW_BYTES = 512, 32_000_000
"""Rows of a Parquet file, and about how many bytes, that are held at a time."""

FOOTERS_AT_ONCE = 16

Item = tuple[str, bytes | OSError]


class ImageRows:
    """Encoded images in a column of Parquet files; a partition is some row groups.

    Parameters
    ----------
    store : LocalFolder or RemoteFolder
        Where the files are.
    files : list of str
        Their names below it; needed for cutting only.
    columns : (str, str)
        Names of the columns of images and of names, the latter empty where there is none; ``image.path`` is a field.
    """

    def __init__(self, store: Store, files: list[str], columns: tuple[str, str]) -> None:
        self.store, self._files, self.columns = store, files, columns

    def cut(self, size: int) -> Iterator[pa.Table]:
        """Yield partitions of at least `size` images, in order; a row group is not divided."""
        pieces: list[dict[str, Any]] = []
        held = 0
        first = _footer(self.store, self._files[0])[0].field(self.columns[0])
        with ThreadPoolExecutor(FOOTERS_AT_ONCE) as together:
            for name, groups in zip(
                self._files, together.map(partial(self._groups, first), self._files), strict=True
            ):
                for group, (rows, start) in enumerate(
                    zip(groups, accumulate(groups, initial=0), strict=False)
                ):
                    pieces.append({"file": os.fsencode(name), "group": group, "start": start, "rows": rows})
                    held += rows
                    if held >= size:
                        yield pa.Table.from_pylist(pieces)
                        pieces, held = [], 0
        if held:
            yield pa.Table.from_pylist(pieces)

    @staticmethod
    def count(partition: pa.Table) -> int:
        """Return how many images a partition has."""
        return int(partition["rows"].to_numpy().sum())

    def names(self, partition: pa.Table) -> list[str]:
        """Return the images' names without reading the images."""
        if self.columns[1]:
            return [name for names, _ in self._batches(partition, [self.columns[1]]) for name in names]
        return [
            f"{os.fsdecode(piece['file'])}#{piece['start'] + row}"
            for piece in partition.to_pylist()
            for row in range(piece["rows"])
        ]

    def items(self, partition: pa.Table) -> Iterator[Item]:
        """Yield each image's name and content, or why it can't be read."""
        image, name = self.columns
        wanted = [image, name] if name and "." not in name else [image]
        for names, batch in self._batches(partition, wanted):
            column = batch[image]
            column = column.field("bytes") if pa.types.is_struct(column.type) else column
            for each, content in zip(names, column.to_pylist(), strict=True):
                yield each, content if content is not None else OSError(0, "no image in this row")

    def _batches(self, partition: pa.Table, columns: list[str]) -> Iterator[tuple[list[str], Any]]:
        """Yield names and rows of a partition, some hundred at a time."""
        for name, pieces in self.files_of(partition):
            where = f"{self.store}/{name}"
            try:
                with self.store.open(name) as file:
                    # With a buffer, a column is read piece by piece; without, all of a row group at once.
                    parquet = pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
                    for piece in pieces:
                        start = piece["start"]
                        rows = _rows_at_once(parquet.metadata.row_group(piece["group"]))
                        for batch in parquet.iter_batches(rows, [piece["group"]], columns, use_threads=False):
                            yield self._named(batch, name, start), batch
                            start += len(batch)
                        if start != piece["start"] + piece["rows"]:
                            raise DigitError(
                                f"{where} has changed since it was cut into partitions: choose another --out."
                            )
            except (OSError, pa.ArrowException) as error:
                raise DigitError(
                    f"{where} can't be read ({_said(error)}): fetch or write it again."
                ) from error

    @staticmethod
    def files_of(partition: pa.Table) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
        """Yield each file that a partition has row groups of, and these: ``group``, ``start`` and ``rows``."""
        for name, pieces in groupby(partition.to_pylist(), key=lambda piece: piece["file"]):
            yield os.fsdecode(name), pieces

    def _named(self, batch: Any, file: str, start: int) -> list[str]:
        """Return the rows' names; one without a name of its own has a number."""
        column, _, field = self.columns[1].partition(".")
        given: list[Any] = [None] * len(batch)
        if column:
            given = (batch[column].field(field) if field else batch[column]).to_pylist()
        given = [os.fsdecode(each) if isinstance(each, bytes) else each for each in given]
        return [f"{file}#{start + row}" if each is None else str(each) for row, each in enumerate(given)]

    def _groups(self, first: Any, name: str) -> list[int]:
        """Return the rows of each row group of a file that keeps images as the first one does."""
        schema, groups = _footer(self.store, name)
        for column in filter(None, (text.partition(".")[0] for text in self.columns)):
            if column not in schema.names:
                raise DigitError(
                    f"{self.store}/{name} has no column {column!r}, as {self._files[0]} has: write both alike, or name the "
                    "images of each by itself."
                )
        _check_same_kind(self.store, name, schema.field(self.columns[0]), first)
        return groups


def columns_of(store: Store, name: str) -> tuple[str, str]:
    """Return the columns of images and of names of a Parquet file, the latter empty without one."""
    schema, _ = _footer(store, name)
    if twice := [column for column in schema.names if schema.names.count(column) > 1]:
        raise DigitError(f"{store}/{name} has two columns {twice[0]!r}: give each a name of its own.")
    image = next(
        (column for column in IMAGE_COLUMNS if column in schema.names and _holds_bytes(schema.field(column))),
        "",
    )
    if not image:
        raise DigitError(
            f"{store}/{name} has no column of encoded images, only {', '.join(schema.names)[:200]}: call the column of "
            "JPEG or PNG bytes 'image'."
        )
    name = next((column for column in NAME_COLUMNS if column in schema.names and column != image), "")
    inner = schema.field(image).type
    if not name and pa.types.is_struct(inner) and "path" in [field.name for field in inner]:
        name = f"{image}.path"
    return image, name


def _holds_bytes(field: Any) -> bool:
    if pa.types.is_struct(field.type):
        return any(inner.name == "bytes" and _holds_bytes(inner) for inner in field.type)
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    of_bytes = ("is_binary", "is_large_binary", "is_binary_view", "is_fixed_size_binary")
    return any(getattr(pa.types, name)(kind) for name in of_bytes)


def _check_same_kind(store: Store, name: str, field: Any, first: Any) -> None:
    """Refuse a file whose images are kept otherwise than those of the first."""
    if not _holds_bytes(field) or pa.types.is_struct(field.type) != pa.types.is_struct(first.type):
        raise DigitError(
            f"{store}/{name} has {field.type} in its column {field.name!r}, and the first file {first.type}: write both "
            "alike, or name the images of each by itself."
        )


def _rows_at_once(group: Any) -> int:
    """Return how many rows of a row group are held at a time."""
    return max(1, min(ROWS, ROW_BYTES * group.num_rows // max(1, group.total_byte_size)))


def _footer(store: Store, name: str) -> tuple[pa.Schema, list[int]]:
    """Return a file's columns, and the rows of each of its row groups."""
    try:
        with store.open(name) as file, pq.ParquetFile(file) as parquet:
            about = parquet.metadata
            return parquet.schema_arrow, [
                about.row_group(group).num_rows for group in range(about.num_row_groups)
            ]
    except (OSError, pa.ArrowException) as error:
        raise DigitError(
            f"{store}/{name} is no whole Parquet file ({_said(error)}): fetch or write it again."
        ) from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:150]
