"""Image files as arrays: upright, opaque, eight bits a channel, or a reason why not."""

from __future__ import annotations

import errno
import hashlib
import io
import multiprocessing
import os
import signal
import stat
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from digitlib.errors import DigitError
from digitlib.files import StrPath

ColorMode = Literal["grayscale", "rgb", "native"]

Image.init()
FORMATS: list[str] = [
    name for name in ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "AVIF") if name in Image.OPEN
]
"""What is taken for an image. Some of Pillow's other decoders run programs: PostScript may do whatever it likes."""

MAX_PIXELS, MAX_SIDE, MAX_BYTES = 50_000_000, 65_535, 400_000_000
"""Larger images and files are rejected: no scan of one digit needs them, and a crafted file could fill the memory."""

REASONS = {UnidentifiedImageError: "not an image", Image.DecompressionBombError: "too large: a decompression bomb"}

READING = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)

PARALLEL_FROM = 2.0
"""Seconds: with less left to do, by the speed so far, starting worker processes costs more than they save."""

FEW, CHUNK = 20, 500
"""Files that are read together in this process, if they are small, and in others."""

SMALL = 20_000
"""Bytes of a small file."""

AHEAD = 3
"""Chunks a worker process that are read before they are asked for; so memory does not grow with the files."""


class Unreadable(Exception):
    """An image file that can't be used; the message is the reason."""


@dataclass(frozen=True)
class Decoded:
    """The result of reading one file.

    Attributes
    ----------
    image : numpy.ndarray or None
        uint8, shape (height, width, channels), None when rejected.
    sha256 : str
        Hash of the file's bytes, empty if they could not be read.
    size : int
        Length of the file in bytes.
    reason : str
        Why the file was rejected, empty if it was not.
    """

    image: np.ndarray | None
    sha256: str
    size: int
    reason: str


def decode(
    data: bytes, color_mode: ColorMode = "native", image_size: tuple[int, int] | None = None, keep_up_to: int = 0,
    resize: str = "squeeze",
) -> np.ndarray:  # fmt: skip
    """Decode one image.

    The image is turned upright by its EXIF tag, transparency is laid on
    white (on black where all ink is nearly white), 16 bits are scaled to 8, CMYK and palettes become RGB, and of an
    animation the first frame is taken.

    Parameters
    ----------
    data : bytes
        The file's content in any format that Pillow reads.
    color_mode : {"native", "grayscale", "rgb"}
        "native" gives one channel for grey images and three for coloured ones.
    image_size : tuple of int, optional
        (height, width) to resize to, with antialiasing.
    keep_up_to : int
        Images with no side longer than this keep their own size all the same.
    resize : {"squeeze", "pad", "crop"}
        See `resized`.

    Returns
    -------
    numpy.ndarray
        uint8, shape (height, width, 1 or 3), 0 is black.

    Raises
    ------
    Unreadable
        With the reason: not an image, cut short, too large.

    Examples
    --------
    >>> decode(Path("scan.jpg").read_bytes(), "grayscale", (28, 28)).shape  # doctest: +SKIP
    (28, 28, 1)
    """
    if not data:
        raise Unreadable("empty file")
    try:
        grey = _plain_grey_jpeg(data) if color_mode != "rgb" else None
        if grey is not None and image_size is None:
            return grey
        image = _eight_bits(_opened(data), color_mode) if grey is None else Image.fromarray(grey[..., 0])
        array = np.asarray(image if image_size is None else resized(image, image_size, keep_up_to, resize))
    except Unreadable:
        raise
    except Exception as error:  # Pillow's plug-ins raise nearly anything on damaged files
        reason = REASONS.get(type(error)) or f"damaged: {str(error)[:100] or type(error).__name__}"
        raise Unreadable(reason) from error
    return array.reshape(*array.shape[:2], -1)


def resized(image: Image.Image, image_size: tuple[int, int], keep_up_to: int, resize: str) -> Image.Image:
    """Return an image at (height, width), unless it has no side longer than `keep_up_to` and need not change its shape.

    "squeeze" changes its aspect ratio; "pad" adds black and "crop" cuts off what is too much, on both sides, as
    ``pad_to_aspect_ratio`` and ``crop_to_aspect_ratio`` of `keras.utils.image_dataset_from_directory` do.
    """
    height, width = image_size
    fits = resize == "squeeze" or image.width * height == image.height * width
    if fits and (max(image.size) <= keep_up_to or image.size == (width, height)):
        return image
    if resize == "pad":
        return ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR, color=0)
    if resize == "crop":
        return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _opened(data: bytes) -> Image.Image:
    """Return an image as Pillow decodes it, upright."""
    image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = image.size
    # Times as slow as other formats: a crafted JPEG may hold any number of passes over its pixels.
    slow = {"WEBP": 3, "AVIF": 2, "JPEG": data.count(b"\xff\xda") / 12}.get(image.format or "", 1)
    if width * height * max(1, slow) > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise Unreadable(f"too large: {width} x {height} pixels")
    if image.format != "JPEG" or "exif" in image.info or "xmp" in image.info:
        image = ImageOps.exif_transpose(image)
    return image


def _plain_grey_jpeg(data: bytes) -> np.ndarray | None:
    """Decode what most files of a data set are, in a seventh of Pillow's time and to the same pixels.

    None for all that needs a closer look: colours, a turn by EXIF or XMP, a large or a damaged file.
    """
    if not data.startswith(b"\xff\xd8\xff") or b"Exif\0" in data or b"ns.adobe.com/xap" in data:
        return None
    with suppress(ValueError):
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
        if colors == "Gray" and height * width <= MAX_PIXELS:
            return simplejpeg.decode_jpeg(data, "GRAY")
    return None


def _eight_bits(image: Image.Image, color_mode: ColorMode) -> Image.Image:
    """Return `image` opaque in mode L or RGB."""
    mode = image.mode
    if mode == "L" and "transparency" not in image.info:
        return image if color_mode != "rgb" else image.convert("RGB")
    if mode == "F":
        raise Unreadable("floating-point pixels, whose range is unknown")
    if mode.startswith("I"):
        # 16-bit files: the upper byte. Pillow's own convert("L") would cut off at 255.
        values = np.asarray(image)
        values = values >> 8 if mode != "I" or values.max(initial=0) > 255 else values
        image = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    elif mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, _ground_of(layer)), layer).convert("RGB")
    elif mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    if color_mode == "rgb":
        return image.convert("RGB")
    if color_mode == "grayscale" or mode == "1" or _is_grey(image):
        return image.convert("L")
    return image


def _ground_of(layer: Image.Image) -> str:
    """Return the background of a transparent image: white, or black where all ink is light and would not be seen."""
    pixels = np.asarray(layer)
    ink = pixels[pixels[..., 3] > 127][:, :3]
    return "black" if len(ink) and len(ink) < pixels[..., 3].size and ink.min() > 200 else "white"


def _is_grey(image: Image.Image) -> bool:
    """Tell whether all channels are equal in every pixel."""
    pixels = np.asarray(image)
    return pixels.ndim == 2 or bool((pixels == pixels[..., :1]).all())


def read_bytes(path: StrPath) -> bytes:
    """Return the content of a file; a pipe, which could be waited for endlessly, is refused as a folder is.

    Raises
    ------
    OSError
        If it can't be read.
    """
    file = os.open(path, READING)  # a file object would take as long as the rest
    try:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "not a file")
        if about.st_size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"{about.st_size:,} bytes are too many for an image")
        content = b""
        while more := os.read(file, about.st_size + 1):
            content += more
        return content
    finally:
        os.close(file)


def read_file(path: StrPath, *settings: Any, largest: tuple[int, int] | None = None) -> Decoded:
    """Read, hash and decode one file; whatever is wrong with it ends up in `Decoded.reason`. See `decode` for `settings`."""
    try:
        result = decoded(read_bytes(path), *settings)
    except OSError as error:
        return unread(error)
    image = result.image
    if largest and image is not None and (image.shape[0] > largest[0] or image.shape[1] > largest[1]):
        return replace(result, image=image[:0, :0].copy())
    return result


def unread(error: OSError) -> Decoded:
    """Return the result for a file that can't be read."""
    return Decoded(None, "", 0, f"can't be read: {error.strerror or type(error).__name__}")


def decoded(data: bytes, *settings: Any) -> Decoded:
    """Hash and decode the content of one file, in this process; see `decode` for `settings`."""
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        return Decoded(decode(data, *settings), sha256, len(data), "")
    except Unreadable as error:
        return Decoded(None, sha256, len(data), str(error))


@lru_cache
def end_with_parent() -> None:
    """End this worker process when the process that started it has ended, also if that was killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if multiprocessing.parent_process() or multiprocessing.current_process().name != "MainProcess":
        threading.Thread(target=watch, daemon=True).start()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers


def _read_chunk(paths: Sequence[str], settings: tuple[Any, ...], largest: tuple[int, int] | None) -> list[Decoded]:
    """Read some files; Pillow's warnings about odd files say nothing that the reason does not."""
    end_with_parent()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [read_file(path, *settings, largest=largest) for path in paths]


def read_files(paths: Sequence[str], *settings: Any, largest: tuple[int, int] | None = None) -> Iterator[Decoded]:
    """Read files one after another, on all cores when that takes long.

    Pillow holds Python's lock while it decodes small files, so that only processes help; joblib.Parallel would read on
    however late its results are taken.

    Parameters
    ----------
    paths : sequence of str
        Files to read.
    *settings
        ``color_mode``, ``image_size``, ``keep_up_to`` and ``resize`` of `decode`.
    largest : tuple of int, optional
        (height, width) of the largest images wanted; of a larger one that can be read, an array of size 0 is left, so
        that memory holds no more of it than one at a time.

    Yields
    ------
    Decoded
        In the order of `paths`.

    Examples
    --------
    >>> [one.image.shape for one in read_files(["scans/1.png", "scans/2.png"], "grayscale", (28, 28))]  # doctest: +SKIP
    [(28, 28, 1), (28, 28, 1)]
    """
    spent, done, few = 0.0, 0, 1
    while done < len(paths) and (
        spent < PARALLEL_FROM / 10 or spent * (len(paths) - done) < PARALLEL_FROM * done or _workers() == 1
    ):
        start = time.perf_counter()
        results = _read_chunk(paths[done : done + few], settings, largest)
        spent, done = spent + time.perf_counter() - start, done + few
        few = FEW if max(one.size for one in results) < SMALL else 1
        yield from results
    if done >= len(paths):
        return
    from joblib.executor import get_memmapping_executor  # a few files should not wait for it
    from joblib.externals.loky.process_executor import BrokenProcessPool

    workers = _workers()
    chunks = (paths[first : first + CHUNK] for first in range(done, len(paths), CHUNK))
    executor = get_memmapping_executor(workers)  # the kind that joblib.Parallel may reuse in this process
    pending: deque[Any] = deque()
    try:
        for chunk in chunks:
            pending.append(executor.submit(_read_chunk, chunk, settings, largest))
            if len(pending) > AHEAD * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except BrokenProcessPool as error:
        what = "a process that decodes images was ended from outside, most likely for lack of memory"
        raise DigitError(f"{what}: close other programs and run the same command again.") from error
    finally:
        for future in pending:
            future.cancel()


def _workers() -> int:
    import joblib

    return int(joblib.cpu_count())


def enlarged(images: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Return uint8 images, shape (n, height, width, channels), at a size as float32, interpolated as in training."""
    pixels = images.astype(np.float32)
    for axis, side in enumerate(image_size, 1):
        last = pixels.shape[axis] - 1
        place = ((np.arange(side) + 0.5) * ((last + 1) / side) - 0.5).astype(np.float32).clip(0, last)
        low = place.astype(int)
        part = np.expand_dims(place - low, [0, *(other for other in (1, 2, 3) if other != axis)])
        lower, upper = pixels.take(low, axis), pixels.take(np.minimum(low + 1, last), axis)
        pixels = lower + (upper - lower) * part.astype(np.float32)
    return pixels


def as_pil(image: np.ndarray) -> Image.Image:
    """Return an image of one or three channels, uint8, as one of Pillow's."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def as_uint8(source: Any) -> np.ndarray:
    """Return images as uint8, shape (n, height, width, 1 or 3), or refuse what could be taken for something else."""
    try:
        array = np.asarray(source)
    except ValueError as error:
        raise DigitError("the images must be one array of equal sizes, or a list of paths or PIL images.") from error
    if array.dtype.kind == "f":
        least, most = float(array.min(initial=0)), float(array.max(initial=0))
        if not (least >= 0 and most <= 1):  # NaN fails both
            raise DigitError(
                f"float images must be between 0 and 1, these go from {least:g} to {most:g}. Give uint8, or divide 0 to 255 by 255."
            )
        array = np.round(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise DigitError(f"images of dtype {array.dtype} can't be read: give uint8 (0 to 255) or float (0 to 1).")
    shape = array.shape
    if array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3)):
        array = array[None]
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape[1:]:
        raise DigitError(
            f"images have shape {shape}: it must be (n, height, width), (n, height, width, 1 or 3) or one image of these."
        )
    return array


def rim_of(image: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of an image, shape (n, channels) or (n,): the background of a digit."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def rims_are_light(images: Iterable[np.ndarray]) -> bool:
    """Tell whether most images, uint8, are dark ink on light paper, by their rims."""
    return float(np.median([np.median(rim_of(image)) for image in images])) > 127
