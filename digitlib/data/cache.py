"""Images as one array on disk: decoded once, mapped rather than loaded, used again by later notebooks and runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from digitlib.data.decoding import Decoded, read_bytes, read_files
from digitlib.errors import DigitError
from digitlib.files import display_path, file_hash, reraise_os_error, storage, temporary_prefix
from digitlib.progress import progress

VERSION = 2
"""Raised whenever decoding changes, so that older entries are not used."""

LARGEST_NATIVE = 128
"""Before a network's image size is known, images are stored at their own size if all share one no longer than this."""


@dataclass
class Reading:
    """What reading a list of files gave, in their order.

    Attributes
    ----------
    sha256 : list of str
        Hash of each file, empty where it could not be read.
    sizes : list of int
        Bytes of each file.
    rejected : dict of int to str
        Position of each unusable file and the reason.
    """

    sha256: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    rejected: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pixels:
    """An opened entry of the cache.

    Attributes
    ----------
    images : numpy.ndarray
        uint8, shape (n, height, width, 1 or 3), read-only, mapped from disk.
    sha256 : numpy.ndarray
        Hash of the file that each image came from, bytes, shape (n,).
    rejected : dict of int to str
        As in `Reading`.
    """

    images: np.ndarray
    sha256: np.ndarray
    rejected: dict[int, str]

    def rows(self, sha256: Sequence[str]) -> np.ndarray | None:
        """Return the rows of the images with these hashes, None if one is missing."""
        wanted, order = np.asarray(sha256, dtype="S64"), np.argsort(self.sha256)
        places = np.searchsorted(self.sha256, wanted, sorter=order)
        rows = order[np.minimum(places, len(order) - 1)]
        return rows if (self.sha256[rows] == wanted).all() else None

    def serves(self, image_size: tuple[int, int], resize: str) -> bool:
        """Tell whether the images may be brought to a size by interpolation: larger ones want antialiasing first."""
        height, width = self.images.shape[1:3]
        fits = resize == "squeeze" or height * image_size[1] == width * image_size[0]
        return fits and height <= image_size[0] and width <= image_size[1]


class _Mixed(Exception):
    """The images do not share one size or one number of channels."""


def cache_folder() -> Path:
    """Return the folder of decoded images; it may be deleted at any time."""
    return storage("cache")


def key_of(sha256: Sequence[str], image_size: tuple[int, int] | None = None, resize: str = "squeeze") -> str:
    """Return the name of a cache entry, made from the files' content in order and how they were resized."""
    stored = f"{VERSION} {image_size}" + ("" if image_size is None or resize == "squeeze" else f" {resize}")
    digest = hashlib.sha256("\n".join([stored, *sha256]).encode())
    return f"{len(sha256)}-{digest.hexdigest()[:32]}"


def read_images(paths: Sequence[str], image_size: tuple[int, int] | None = None, resize: str = "squeeze") -> Reading:
    """Read, hash and decode files, keeping the pixels in the cache.

    Files whose content is in the cache already are hashed but not decoded again.

    Parameters
    ----------
    paths : sequence of str
        The files.
    image_size : tuple of int, optional
        (height, width) to store images at that do not share one size, or are
        larger; without it such images are only checked.
    resize : {"squeeze", "pad", "crop"}
        How; see `digitlib.data.decoding.resized`.

    Returns
    -------
    Reading
    """
    if known := _known(paths, image_size, resize):
        return known
    largest = image_size or (LARGEST_NATIVE, LARGEST_NATIVE)
    for color_mode in ("native", "rgb") if resize == "squeeze" else ():  # else own sizes may have another aspect ratio
        reading = Reading()
        results = _noted(read_files(paths, color_mode, largest=largest), reading, len(paths))
        try:
            _store(results, reading, None)
            return reading
        except _Mixed as mixed:
            if str(mixed) == "size":
                break
    if image_size is None:
        deque(results, maxlen=0)  # not stored, but still to be checked
        return reading
    reading = Reading()
    _store(_noted(read_files(paths, "rgb", image_size, 0, resize), reading, len(paths)), reading, image_size, resize)
    return reading


def pixels_for(
    paths: Callable[[], Sequence[str]], sha256: Sequence[str], image_size: tuple[int, int], key: str = "",
    resize: str = "squeeze",
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the pixels of the files of a split, from the cache or read again.

    Parameters
    ----------
    paths : callable
        Returns the files, for when the cache has nothing.
    sha256 : sequence of str
        Their hashes as the split has them.
    image_size : tuple of int
        (height, width) used where the files do not share one size, or are larger.
    key : str, optional
        The entry to look into first.
    resize : {"squeeze", "pad", "crop"}
        See `digitlib.data.decoding.resized`.

    Returns
    -------
    images : numpy.ndarray
        uint8, shape (m, height, width, 1 or 3), mapped and read-only; at the
        files' own size if they share one no larger than `image_size`, else at `image_size`.
    rows : numpy.ndarray
        int64, shape (n,): each file's row in `images`.

    Raises
    ------
    DigitError
        If a file has changed or vanished since the split was written.
    """
    for _ in range(2):
        for name in (key, key_of(sha256), key_of(sha256, image_size, resize)):
            found = open_pixels(name) if name else None
            if found and found.serves(image_size, resize) and (rows := found.rows(sha256)) is not None:
                return found.images, rows
        files = paths()
        for path, expected, now in zip(files, sha256, read_images(files, image_size, resize).sha256, strict=True):
            if expected != now:
                what = f"{display_path(path)} has {'changed' if now else 'vanished'} since the split was made"
                raise DigitError(f"{what}: run notebook 01_data_preparation.ipynb again.")
    raise DigitError(f"The decoded images vanished from {display_path(cache_folder())} while in use: run again.")


def open_pixels(key: str) -> Pixels | None:
    """Open an entry of the cache, None if there is none or it is not whole."""
    folder = cache_folder() / key
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        shape = tuple(meta["shape"])
        sha256 = np.load(folder / "sha256.npy", allow_pickle=False)
        if meta["version"] != VERSION or meta["checksums"] != _checksums(folder) or sha256.shape != shape[:1]:
            return None
        images = np.memmap(folder / "images.bin", np.uint8, "r", shape=shape)
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return Pixels(images, sha256, {int(index): reason for index, reason in meta["rejected"].items()})


def _checksums(folder: Path) -> list[str]:
    """Return the hashes of an entry's files, computed once a process as long as they don't change."""
    files = [folder / name for name in ("images.bin", "sha256.npy")]
    return [_checksum(file, file.stat().st_mtime_ns, file.stat().st_size) for file in files]


@lru_cache
def _checksum(file: Path, changed: int, size: int) -> str:
    return file_hash(file)


def _known(paths: Sequence[str], image_size: tuple[int, int] | None, resize: str) -> Reading | None:
    """Return the reading of files that an entry holds already; without an entry of their number, don't even look."""
    if not any(cache_folder().glob(f"{len(paths)}-*")):
        return None
    sha256, sizes = map(list, zip(*map(_hash, progress(paths, len(paths), "Looking for changes")), strict=True))
    for size in (None, image_size):
        found = open_pixels(key_of(sha256, size, resize))
        if found is not None and (image_size is None or found.serves(image_size, resize)):
            return Reading(sha256, sizes, found.rejected)
    return None


def _hash(path: str) -> tuple[str, int]:
    try:
        data = read_bytes(path)
    except OSError:
        return "", 0
    return hashlib.sha256(data).hexdigest(), len(data)


def _noted(results: Iterator[Decoded], reading: Reading, total: int) -> Iterator[Decoded]:
    """Pass results on, noting each in `reading`."""
    for result in progress(results, total, "Reading images"):
        if result.reason:
            reading.rejected[len(reading.sha256)] = result.reason
        reading.sha256.append(result.sha256)
        reading.sizes.append(result.size)
        yield result


def _store(results: Iterator[Decoded], reading: Reading, *settings: Any) -> None:
    """Write the images of `results` as an entry, under a temporary name until it is whole."""
    used = ((result.image, result.sha256) for result in results if result.image is not None)
    if (first := next(used, None)) is None:
        return
    shape, hashes = first[0].shape, []
    with reraise_os_error(f"{display_path(cache_folder())} can't hold the decoded images", "Make room and try again."):
        cache_folder().mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=cache_folder(), prefix=temporary_prefix(cache_folder())))
        try:
            with (temporary / "images.bin").open("wb") as file:
                for image, sha256 in chain([first], used):
                    file.write(np.ascontiguousarray(_fitting(image, shape)).data)
                    hashes.append(sha256)
                file.flush()
                os.fsync(file.fileno())  # a power cut must not leave the right length of nothing
            np.save(temporary / "sha256.npy", np.asarray(hashes, dtype="S64"))
            about = {"version": VERSION, "shape": [len(hashes), *shape], "rejected": reading.rejected}
            about |= {"checksums": _checksums(temporary)}
            (temporary / "meta.json").write_text(json.dumps(about), encoding="utf-8")
            _publish(temporary, key_of(reading.sha256, *settings))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _fitting(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return `image` in the entry's shape; grey ones fit among coloured ones, not the other way round, too large ones never."""
    if image.shape[:2] != shape[:2] or not image.size:
        raise _Mixed("size")
    if image.shape[2] > shape[2]:
        raise _Mixed("channels")
    return image if image.shape == shape else np.broadcast_to(image, shape)


def _publish(temporary: Path, key: str) -> None:
    """Move a finished entry to its place, unless another process put a whole one there meanwhile."""
    if open_pixels(key) is None:
        shutil.rmtree(cache_folder() / key, ignore_errors=True)
        temporary.chmod(0o755)
        try:
            temporary.rename(cache_folder() / key)
        except OSError:
            if open_pixels(key) is None:
                raise
