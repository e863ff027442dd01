"""Images by the million, cut into partitions: files in folders, or encoded images in the rows of Parquet files."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pyarrow as pa

from digitlib.data.inputs import find_inputs
from digitlib.data.stores import LocalFolder, RemoteFolder, Store, is_address, only_tables, open_store
from digitlib.data.tables import ImageRows, Item, columns_of
from digitlib.errors import DigitError

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")


class ImageFiles:
    """Images that are a file each.

    Parameters
    ----------
    store : LocalFolder or RemoteFolder
        Where they are.
    files : list of (str, int)
        Names below it and bytes, -1 if unknown; needed for cutting only.
    """

    columns: tuple[str, str] = ("", "")

    def __init__(self, store: Store, files: list[tuple[str, int]]) -> None:
        self.store, self._files = store, files

    def cut(self, size: int) -> Iterator[pa.Table]:
        """Yield partitions of `size` images, in order."""
        for start in range(0, len(self._files), size):
            names, sizes = zip(*self._files[start : start + size], strict=True)
            yield pa.table(
                {"name": pa.array(map(os.fsencode, names), pa.binary()), "size": pa.array(sizes, pa.int64())}
            )

    @staticmethod
    def count(partition: pa.Table) -> int:
        """Return how many images a partition has."""
        return len(partition)

    def names(self, partition: pa.Table) -> list[str]:
        """Return the images' names."""
        return [os.fsdecode(name) for name in partition["name"].to_pylist()]

    def items(self, partition: pa.Table) -> Iterator[Item]:
        """Yield each image's name and content, or why it can't be read."""
        names = self.names(partition)
        failed: list[OSError] = []
        for name, content in zip(names, self.store.read(names, partition["size"].to_pylist()), strict=True):
            if isinstance(content, OSError):
                failed.append(content)
            yield name, content
        if len(failed) == len(names) > 1:
            raise DigitError(
                f"none of {len(names):,} images, from {names[0]} on, can be read in {self.store} "
                f"({failed[0].strerror or type(failed[0]).__name__}): see to it, and give the same command again."
            )


Images = ImageFiles | ImageRows


def find_partitioned(source: str | os.PathLike[str]) -> Images:
    """Return the images of a large source, as files or as rows of Parquet files.

    Parameters
    ----------
    source : str or path-like
        A folder or file at a path or an address of fsspec, or what else `digitlib.data.sources.find_inputs` takes. Parquet
        files count where there are no pictures beside them.

    Raises
    ------
    DigitError
        If there is nothing, or no column of Parquet files holds encoded images.
    """
    store = open_store(source)
    if isinstance(store, RemoteFolder):
        files = store.files()
    else:
        folder, names = find_inputs(store.address if is_address(source) else source)
        store, files = LocalFolder(folder), [(name, -1) for name in names]
    names = [name for name, _ in files]
    if isinstance(store, RemoteFolder) and len(names) == 1 and names[0].lower().endswith(ARCHIVES):
        raise DigitError(
            f"{store}/{names[0]} is an archive: unpack it there, or fetch it and give the file itself."
        )
    if only_tables(names):
        tables = [name for name in names if name.lower().endswith(".parquet")]
        return ImageRows(store, tables, columns_of(store, tables[0]))
    return ImageFiles(store, files)


def images_at(folder: str, columns: tuple[str, str]) -> Images:
    """Return the images that a partition is read from, on a worker."""
    store = open_store(folder)
    return ImageRows(store, [], columns) if columns[0] else ImageFiles(store, [])
