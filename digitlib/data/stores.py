"""Folders of files on this machine's disks and at addresses of fsspec, such as ``s3://bucket/folder``."""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO
import numpy as np
from natsort import natsorted
from digitlib.data.decoding import read_bytes
from digitlib.errors import DigitError
from digitlib.files import atomic, resolve, display_path
from digitlib.data.sources import is_litter, list_images, walk


DRIVERS = {"s3": '"digitlib[cluster]"', "s3a": '"digitlib[cluster]"', "gs": "gcsfs", "gcs": "gcsfs"}
"""What to install for an address; for any other, fsspec says it."""

AWAY = {
    getattr(errno, name, None)  # not every system has each
    for name in (
        "ENOTCONN", "ESTALE", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH",
        "ENOMEM", "EMFILE", "ENFILE",
    )
}  # fmt: skip
"""What keeps a file from being read now, and says nothing of the file."""

OF_ONE_FILE = {"", "NoSuchKey", "404", "AccessDenied", "403", "Forbidden", "InvalidObjectState"}
"""S3's codes that may concern one file; others, such as ExpiredToken, concern them all."""

WHOLE_OR_NOTHING = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "memory"}
"""Where a file is seen only when it is complete; elsewhere it gets its name last."""

AT_ONCE, BYTES_AT_ONCE = 256, 32_000_000
"""Files, and bytes where sizes are known, that are fetched together."""


def is_address(text: str | os.PathLike[str]) -> bool:
    """Tell whether `text` is an address such as ``s3://bucket/folder`` rather than a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)", os.fspath(text)) is not None


def goes_in_parts(source: str, out: str | None) -> bool:
    """Tell whether what is asked of ``digitlib predict`` can only be done partition by partition."""
    folder = out is not None and (is_address(out) or out.endswith(("/", os.sep)))
    if folder or is_address(source) or source.lower().endswith(".parquet"):
        return True
    return holds_tables(resolve(source))


def holds_tables(folder: Path) -> bool:
    """Tell whether a path is a folder of Parquet files, without pictures beside them."""
    return folder.is_dir() and only_tables(name for name, _ in walk(folder, folder.resolve()))


def only_tables(names: Iterable[str]) -> bool:
    """Tell whether there are Parquet files without pictures beside them: then it is their rows that are meant."""
    from PIL import Image

    pictures = tuple(ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN)
    tables = False
    for name in names:
        if name.lower().endswith(pictures):
            return False
        tables = tables or name.lower().endswith(".parquet")
    return tables


def open_store(address: str | os.PathLike[str]) -> LocalFolder | RemoteFolder:
    """Return the folder at a path or address; an address is not asked yet.

    Parameters
    ----------
    address : str or path-like
        A path, ``file://...``, or what fsspec understands, with its settings from the environment or from fsspec's own
        configuration: for another server than Amazon's, ``AWS_ENDPOINT_URL``.

    Raises
    ------
    DigitError
        If fsspec or the driver for that kind of address is not installed.
    """
    text = os.fspath(address)
    if not is_address(text):
        return LocalFolder(resolve(text))
    if (path := without_scheme(text)) != text:
        return LocalFolder(resolve(path))
    return RemoteFolder(text)


def without_scheme(address: str) -> str:
    """Return the path that ``file:///data/x`` or, on Windows, ``file:///C:/x`` stands for; others stay as they are."""
    path = address.removeprefix("file://")
    return path[1:] if path != address and re.match(r"/[A-Za-z]:", path) else path


class LocalFolder:
    """A folder, or one file, on this machine; needs nothing but Python.

    Parameters
    ----------
    folder : pathlib.Path
        Absolute.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.parent if folder.is_file() else folder
        self._only = folder.name if folder.is_file() else ""
        self.address = str(folder)

    def __str__(self) -> str:
        return display_path(self.address)

    def files(self) -> list[tuple[str, int]]:
        """Return all files below in natural order with their bytes, -1 if nobody asked; litter is passed over."""
        return [(self._only, -1)] if self._only else [(name, -1) for name in list_images(self.folder)]

    def top(self) -> list[str]:
        """Return the names of what is there, not of what is in folders inside; none if there is no such folder."""
        return [self._only] if self._only else [path.name for path in self.folder.glob("*")]

    def read(self, names: Sequence[str], sizes: Sequence[int]) -> Iterator[bytes | OSError]:
        """Yield the content of each file, or why it can't be read.

        Raises
        ------
        DigitError
            If it is not the file that is to blame, but the way to it.
        """
        top = str(self.folder)
        for name in names:
            try:
                yield read_bytes(os.path.join(top, name))  # noqa: PTH118 - a third of the time
            except OSError as error:
                if error.errno in AWAY or not self.folder.is_dir():
                    raise DigitError(
                        f"{self} can't be reached now ({error.strerror}): see to it, and give the same command again."
                    ) from error
                yield error

    def get(self, name: str) -> bytes | None:
        """Return the content of a file, None if there is none."""
        path = self.folder / name
        return path.read_bytes() if path.is_file() else None

    def put(self, name: str, content: bytes) -> None:
        """Write a file so that nobody ever sees half of it."""
        with atomic(self.folder / name) as temporary:
            temporary.write_bytes(content)

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading anywhere in it."""
        return (self.folder / name).open("rb")


class RemoteFolder:
    """A folder, or one file, at an address of fsspec.

    Parameters
    ----------
    address : str
        See `open_store`.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._protocol = re.split(r"://|::", address, maxsplit=1)[0]
        try:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped]

            with self._told():
                self._fs, self._path = url_to_fs(self.address)
            self._only = ""
        except ImportError as error:
            needs = DRIVERS.get(self._protocol, '"digitlib[cluster]"')
            raise DigitError(f"{address} needs a driver ({error}): pip install {needs}") from error

    def __str__(self) -> str:
        return self.address

    def files(self) -> list[tuple[str, int]]:
        """Return all files below in natural order with their bytes, -1 if unknown; litter is passed over.

        Raises
        ------
        DigitError
            If nothing is there, or nobody answers.
        """
        with self._told():
            self._fs.invalidate_cache()
            found = self._fs.find(self._path, detail=True)
        if list(found) == [self._path]:  # one file: from now on this is the folder that it is in
            self._path, self._only = self._path.rsplit("/", 1)
            self.address = self.address.rsplit("/", 1)[0]
        if self._only:
            return [(self._only, _size(found.get(f"{self._path}/{self._only}", {})))]
        names = {
            path.removeprefix(self._path).lstrip("/"): _size(entry)
            for path, entry in found.items()
            if not path.endswith("/") and entry.get("type") != "directory"  # S3 keeps folders as empty files
        }
        names = {
            name: size for name, size in names.items() if name and not any(map(is_litter, name.split("/")))
        }
        if not names:
            raise DigitError(f"{self.address} holds no files: give an address of a folder of images.")
        return [(name, names[name]) for name in natsorted(names)]

    def top(self) -> list[str]:
        """Return the names of what is there, not of what is in folders inside; none if there is no such folder."""
        with self._told():
            self._fs.invalidate_cache()
            try:
                return [path.rstrip("/").rsplit("/", 1)[-1] for path in self._fs.ls(self._path, detail=False)]
            except FileNotFoundError:
                return []

    def read(self, names: Sequence[str], sizes: Sequence[int]) -> Iterator[bytes | OSError]:
        """Yield the content of each file, or why it can't be read; the next ones are on their way meanwhile.

        Raises
        ------
        DigitError
            If it is not the file that is to blame, but the way to it.
        """
        cuts = list(pairwise(_cuts(sizes)))
        with ThreadPoolExecutor(1) as ahead:
            coming = [ahead.submit(self._fetch, names[slice(*cut)]) for cut in cuts[:1]]
            for number in range(len(cuts)):
                coming += [
                    ahead.submit(self._fetch, names[slice(*cut)]) for cut in cuts[number + 1 : number + 2]
                ]
                yield from coming.pop(0).result()

    def _fetch(self, names: Sequence[str]) -> list[bytes | OSError]:
        with self._told():
            # cat would take a name with "[" for a pattern.
            found = self._fs.cat_ranges(
                [f"{self._path}/{name}" for name in names], None, None, on_error="return"
            )
            for content in found:
                if isinstance(content, Exception) and not _of_one_file(content):
                    raise content
        return list(found)

    def get(self, name: str) -> bytes | None:
        """Return the content of a file, None if there is none."""
        with self._told():
            try:
                return bytes(self._fs.cat_file(f"{self._path}/{name}"))
            except FileNotFoundError:
                return None

    def put(self, name: str, content: bytes) -> None:
        """Write a file so that nobody ever sees half of it."""
        path = f"{self._path}/{name}"
        with self._told():
            if self._protocol in WHOLE_OR_NOTHING:
                self._fs.pipe_file(path, content)
                return
            temporary = f"{path.rsplit('/', 1)[0]}/.tmp-{uuid.uuid4().hex}"
            self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self._fs.pipe_file(temporary, content)
            self._fs.mv(temporary, path)

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading anywhere in it."""
        with self._told():
            return self._fs.open(f"{self._path}/{name}", "rb")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell what the way to the address raises, each driver its own, in one sentence."""
        try:
            yield
        except (DigitError, ImportError):
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            raise DigitError(
                f"{self.address} can't be reached ({said}): check the address, the network and your credentials."
            ) from error


Store = LocalFolder | RemoteFolder


def _of_one_file(error: Exception) -> bool:
    """Tell whether it is the file that is to blame, and not the way to it."""
    answer = getattr(error.__cause__, "response", None) or {}
    code = str(answer.get("Error", {}).get("Code", ""))
    return isinstance(error, (FileNotFoundError, PermissionError)) and code in OF_ONE_FILE


def _size(entry: dict[str, Any]) -> int:
    size = entry.get("size")
    return -1 if size is None else int(size)


def _cuts(sizes: Sequence[int]) -> list[int]:
    """Return where a list of files is cut so that what is fetched together stays small."""
    cuts, held = [0], 0
    for number, size in enumerate(np.maximum(sizes, 0)):
        if number - cuts[-1] == AT_ONCE or (held + size > BYTES_AT_ONCE and number > cuts[-1]):
            cuts.append(number)
            held = 0
        held += int(size)
    return [*cuts, len(sizes)]
