"""Numbers on a photo or scan: the digits one by one, classified, in the order people read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, distance_transform_edt, rotate
from skimage.morphology import disk, skeletonize

from digitlib.data.decoding import as_pil, read_file
from digitlib.errors import DigitError
from digitlib.files import StrPath, atomic, display_path, resolve, write_json
from digitlib.handwriting.binarize import Ink, find_inks
from digitlib.handwriting.mnist_format import Network, as_classifier, digit_predictor, to_mnist_format
from digitlib.handwriting.segmentation import BOX, Piece, halves, reading_order, segment, table_of, usual_size
from digitlib.plots.style import BLUE, RED, short
from digitlib.progress import progress

THINNEST = 0.085
"""A pen's stroke, as a share of the digit's longer side, is made thicker up to this; MNIST's are 0.1 to 0.15."""

LEAST_CONFIDENT = 0.5
"""Below this confidence in either half, a piece is not cut in two."""

CONFIDENT = 0.8
"""Digits predicted with less confidence than this are drawn in the second colour."""

LARGEST_DRAWN = 1600
"""Pixels of the longer side of a drawn photo at most."""


def read_image(path: StrPath) -> np.ndarray:
    """Return a photo or scan, uint8 of shape (height, width, 1 or 3), turned upright as the camera noted it.

    Raises
    ------
    DigitError
        If there is no such file, or it isn't an image, is damaged or too large.

    Examples
    --------
    >>> read_image("photo.jpg").shape  # doctest: +SKIP
    """
    decoded = read_file(resolve(path))
    if decoded.image is None:
        raise DigitError(f"{display_path(path)}: {decoded.reason}. Give a photo, a JPEG or PNG file.")
    return decoded.image


def find_digits(photo: np.ndarray) -> pd.DataFrame:
    """Find the digits on a photo, without classifying them.

    Parameters
    ----------
    photo : numpy.ndarray
        uint8, shape (height, width) or (height, width, 1 or 3); dark on light
        or light on dark, upright to within ten degrees or so.

    Returns
    -------
    pandas.DataFrame
        A row a digit in reading order: ``line`` and ``position`` in it, both
        from 1; ``x``, ``y``, ``width``, ``height`` of its box in pixels of the
        photo. Empty if nothing looks like a digit.

    Examples
    --------
    >>> photo = np.full((300, 400), 230, np.uint8)
    >>> photo[100:170, 200:210] = 30  # a 1
    >>> find_digits(photo)[["line", "position"]].to_numpy().tolist()
    [[1, 1]]
    """
    ink, pieces = _pieces(photo)
    return _in_photo(reading_order(table_of(pieces))[0], ink, photo)


def crop_digits(photo: np.ndarray) -> np.ndarray:
    """Return the digits that `find_digits` finds, in its order and MNIST's format: uint8, shape (n, 28, 28), 0 is paper.

    Examples
    --------
    >>> crop_digits(read_image("photo.jpg")).shape  # doctest: +SKIP
    """
    ink, pieces = _pieces(photo)
    table, angle = reading_order(table_of(pieces))
    return _images([pieces[number] for number in table.index], ink, angle)


def read_photo(network: Network, photo: StrPath | np.ndarray, *, dark_on_light: bool | None = None) -> pd.DataFrame:
    """Predict the digits on a photo.

    What is wide enough for two digits that touch is also cut in two, and the
    more confident prediction is taken.

    Parameters
    ----------
    network : Classifier, Run, str or path-like
        What predicts: a classifier, a run's folder, or a ``.keras`` file.
    photo : str, path-like or numpy.ndarray
        The photo: a file, which is turned upright by its EXIF tag, or as from `read_image`.
    dark_on_light : bool, optional
        Whether the network was trained on dark digits on light paper. By default as the images of its run are.

    Returns
    -------
    pandas.DataFrame
        As from `find_digits`, with ``label`` (class name) and ``confidence``
        (0 to 1).

    Raises
    ------
    DigitError
        If the file can't be read as an image.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from digitlib import Classifier, read_photo
    >>> model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    >>> photo = np.full((300, 400), 230, np.uint8)
    >>> photo[100:170, 200:210] = 30  # a 1
    >>> len(read_photo(Classifier(model, ["0", "1"]), photo))
    1
    """
    predict = digit_predictor(network, dark_on_light)
    photo = photo if isinstance(photo, np.ndarray) else read_image(photo)
    ink, pieces = _pieces(photo)
    _, angle = reading_order(table_of(pieces))

    def predicted(pieces: list[Piece]) -> list[tuple[Piece, str, float]]:
        if not pieces:
            return []
        table = predict(_images(pieces, ink, angle))
        return list(zip(pieces, table["label"], table["confidence"], strict=True))

    rows = predicted(pieces)
    usual = usual_size(pieces) if pieces else 0.0
    cut = {number: parts for number, piece in enumerate(pieces) if (parts := halves(piece, usual))}
    both = predicted([part for parts in cut.values() for part in parts])
    for number, first, second in zip(cut, both[::2], both[1::2], strict=True):
        if min(first[2], second[2]) > max(rows[number][2], LEAST_CONFIDENT):
            rows[number] = first
            rows.append(second)
    found, labels, confidences = zip(*rows, strict=True) if rows else ((), (), ())
    table = table_of(found).assign(label=np.array(labels, object), confidence=np.array(confidences, float))
    return _in_photo(reading_order(table)[0], ink, photo)


def text_lines(table: pd.DataFrame) -> list[str]:
    """Return what `read_photo` has read, one string a line of writing from top to bottom.

    Examples
    --------
    >>> text_lines(pd.DataFrame({"line": [1, 1, 2], "label": ["4", "2", "7"]}))
    ['42', '7']
    """
    return [str("".join(labels)) for _, labels in table.groupby("line")["label"]]


def _pieces(photo: np.ndarray) -> tuple[Ink, list[Piece]]:
    """Return the ink, dark or light, that more of the page's digits are written with."""
    found = [(ink, segment(ink)) for ink in find_inks(photo)]
    return max(found, key=lambda one: sum(one[0].contrast[tuple(piece.pixels.T)].sum() for piece in one[1]))


def _in_photo(table: pd.DataFrame, ink: Ink, photo: np.ndarray) -> pd.DataFrame:
    """Return boxes in whole pixels of the photo, without what only the search needed."""
    corner, size = (table[names].to_numpy(float) for names in (BOX[:2], BOX[2:]))
    low = np.floor(corner * ink.scale)
    high = np.minimum(np.ceil((corner + size) * ink.scale), photo.shape[1::-1])
    table[BOX] = np.hstack([low, high - low]).astype(int)
    return table.reset_index(drop=True)


def _images(pieces: list[Piece], ink: Ink, angle: float) -> np.ndarray:
    """Return pieces of ink in MNIST's format, turned back by the slope of their lines."""
    images = [to_mnist_format(_digit(piece, ink, angle)) for piece in pieces]
    return np.array(images, np.uint8).reshape(-1, 28, 28)


def _digit(piece: Piece, ink: Ink, angle: float) -> np.ndarray:
    """Return the ink of one piece, 0 to 1, with soft edges and no thinner than what networks are trained on."""
    box = ink.contrast[piece.y : piece.y + piece.height, piece.x : piece.x + piece.width]
    mask, contrast = np.pad(piece.mask, 3), np.pad(box, 3)
    full = float(np.quantile(contrast[mask], 0.75))
    near = binary_dilation(mask, disk(1))
    soft = np.where(near, np.clip((contrast / full - 0.2) / 0.5, 0, 1), 0)
    soft = rotate(soft, angle, order=1) if abs(angle) >= 1 else soft
    # Thickness of a stroke: its ink over the length of its skeleton.
    thickness = (soft > 0.5).sum() / max(1, skeletonize(soft > 0.5).sum())
    missing = float(THINNEST * piece.longer - thickness) / 2  # on either side
    if missing <= 0.3:
        return soft
    soft = np.pad(soft, int(np.ceil(missing)) + 1)
    return np.maximum(np.clip(missing + 1 - distance_transform_edt(soft < 0.5), 0, 1), soft)


def read_photos(
    network: Network, photos: Sequence[str], json_file: str | None = None, drawn: str | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Read photos one after another and write what is wanted of them; the work of ``digitlib read``.

    Parameters
    ----------
    network : Classifier, Run, str or path-like
        What predicts: a classifier, a run's folder, or a ``.keras`` file.
    photos : sequence of str
        Files of photos or scans.
    json_file, drawn : str, optional
        Files to write: see `write_reading`, and the photo with its boxes as PNG, no larger than 1,600 pixels.

    Yields
    ------
    name : str
        The photo.
    lines : list of str
        A string of digits for each line of writing, or one sentence if there is nothing to read.

    Raises
    ------
    DigitError
        If a photo or the network can't be read, before anything is written; or `drawn` is wanted of several photos.

    Examples
    --------
    >>> dict(read_photos("runs/mine", ["first.jpg", "second.jpg"], json_file="read.json"))  # doctest: +SKIP
    """
    if drawn and len(photos) > 1:
        raise DigitError("--drawn takes one photo at a time: call it once for each photo.")
    if drawn and not drawn.lower().endswith(".png"):
        raise DigitError(f"{drawn} would not be a PNG file: end its name in .png.")
    for photo in photos:
        if not resolve(photo).is_file():
            raise DigitError(f"{display_path(photo)} is not a file: give a photo, a JPEG or PNG file.")
    classifier = as_classifier(network)
    tables: dict[str, pd.DataFrame] = {}
    for photo in progress(photos, len(photos), "Reading photos", "photo"):
        image = read_image(photo)
        tables[photo] = read_photo(classifier, image)
        if drawn:
            with atomic(resolve(drawn)) as temporary:
                draw_reading(image, tables[photo]).save(temporary, "PNG")
        yield photo, text_lines(tables[photo]) or [f"No digits found on {display_path(photo)}."]
    if json_file:
        write_reading(resolve(json_file), tables)


def write_reading(path: Path, photos: dict[str, pd.DataFrame]) -> None:
    """Write tables from `read_photo`, by the name of their photo, as a JSON list of ``photo``, ``lines``, ``digits``.

    Examples
    --------
    >>> write_reading(Path("read.json"), {"photo.jpg": read_photo("runs/mine", "photo.jpg")})  # doctest: +SKIP
    """
    content = [
        {"photo": name, "lines": text_lines(table), "digits": table.round({"confidence": 6}).to_dict("records")}
        for name, table in photos.items()
    ]
    write_json(path, content)


def draw_reading(photo: np.ndarray, table: pd.DataFrame) -> Image.Image:
    """Return the photo in RGB with the boxes and labels of `table` drawn onto it.

    Parameters
    ----------
    photo : numpy.ndarray
        uint8, shape (height, width, 1 or 3).
    table : pandas.DataFrame
        As from `read_photo`. Labels with a confidence below 80 % are drawn in
        the second colour, with a question mark.

    Examples
    --------
    >>> table = pd.DataFrame({"x": 50, "y": 20, "width": 9, "height": 60, "label": ["1"], "confidence": [0.99]})
    >>> draw_reading(np.full((100, 200, 1), 255, np.uint8), table).size
    (200, 100)
    """
    image = as_pil(photo).convert("RGB")
    scale = min(1.0, LARGEST_DRAWN / max(image.size))
    image = image.resize([max(1, round(side * scale)) for side in image.size])
    pen = ImageDraw.Draw(image)
    for row in table.itertuples():
        x, y, right, bottom = (scale * side for side in (row.x, row.y, row.x + row.width, row.y + row.height))
        size = max(12, 0.5 * (bottom - y))
        color, mark = (BLUE, "") if row.confidence >= CONFIDENT else (RED, "?")
        pen.rectangle([x - 2, y - 2, right + 2, bottom + 2], outline=color, width=max(2, round(size / 12)))
        text, font = short(row.label) + mark, ImageFont.load_default(size)
        place = (x - 2, max(0, y - 2 - 1.15 * size))
        pen.rectangle(pen.textbbox(place, text, font=font), fill=color)
        pen.text(place, text, fill="white", font=font)
    return image
