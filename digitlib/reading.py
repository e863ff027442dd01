"""Numbers on a photo or scan: the digits one by one, named, in the order people read them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.ndimage import binary_dilation, distance_transform_edt, rotate
from skimage.morphology import disk, skeletonize

from digitlib.decoding import read_file
from digitlib.errors import DigitError
from digitlib.files import resolve, shown
from digitlib.forms import mnist_form
from digitlib.inking import Ink, find_inks
from digitlib.naming import name_pictures
from digitlib.recipes import Recipe
from digitlib.segmentation import Piece, halves, segment, table_of, usual_height
from digitlib.writing_lines import reading_order

if TYPE_CHECKING:
    from digitlib.backend import keras

THINNEST = 0.085
"""A pen's stroke, as a share of the digit's longer side, is made thicker up to this; MNIST's are 0.1 to 0.15."""

LEAST_SURE = 0.5
"""Below this confidence in either half, a piece is not cut in two."""

COLUMNS = ["line", "position", "x", "y", "width", "height"]


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Return a photo upright.

    Parameters
    ----------
    path : str or path-like
        A photo or scan, in any form that Pillow reads.

    Returns
    -------
    numpy.ndarray
        uint8, shape (height, width, 1 or 3), turned as the camera noted it.

    Raises
    ------
    DigitError
        If there is no such file, or it is no image, damaged or too large.
    """
    if not resolve(path).exists():
        raise DigitError(f"{resolve(path)} doesn't exist: give a photo, a JPEG or PNG file.")
    decoded = read_file(resolve(path))
    if decoded.image is None:
        raise DigitError(
            f"{shown(path)} can't be read as a photo ({decoded.reason}): give a JPEG or PNG file."
        )
    return decoded.image


def find_digits(photo: np.ndarray) -> pd.DataFrame:
    """Find the digits on a photo, without naming them.

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
    """
    ink, pieces = _pieces(photo)
    table, _ = reading_order(table_of(pieces))
    return _in_photo(table, ink, photo)


def digit_pictures(photo: np.ndarray) -> np.ndarray:
    """Return the digits that `find_digits` finds, in MNIST's form.

    Parameters
    ----------
    photo : numpy.ndarray
        As from `read_image`: uint8, shape (height, width, 1 or 3).

    Returns
    -------
    numpy.ndarray
        uint8, shape (n, 28, 28), 0 (paper) to 255 (ink), in the order of reading.
    """
    ink, pieces = _pieces(photo)
    table, angle = reading_order(table_of(pieces))
    return _pictures([pieces[number] for number in table["piece"]], ink, angle)


def read_photo(
    model: keras.Model,
    recipe: Recipe,
    class_names: list[str],
    path: str | os.PathLike[str],
    *,
    dark_ink: bool = False,
) -> pd.DataFrame:
    """Name the digits on a photo.

    What is wide enough for two digits that touch is also cut in two, and the
    reading of which the network is surer is taken.

    Parameters
    ----------
    model, recipe, class_names
        As from `digitlib.prediction.open_model`.
    path : str or path-like
        The photo; it is turned upright by its EXIF tag.
    dark_ink : bool
        Whether the network was trained on dark digits on light paper, as from
        `digitlib.naming.dark_ink`; MNIST's are bright on black.

    Returns
    -------
    pandas.DataFrame
        As from `find_digits`, with ``label`` (class name) and ``confidence``
        (0 to 1).

    Raises
    ------
    DigitError
        If the file can't be read as an image.
    """
    photo = read_image(path)
    ink, pieces = _pieces(photo)
    _, angle = reading_order(table_of(pieces))

    def named(pieces: list[Piece]) -> tuple[np.ndarray, np.ndarray]:
        pictures = _pictures(pieces, ink, angle)
        likely = name_pictures(model, recipe, class_names, pictures, dark_ink=dark_ink)
        names = np.array(class_names, dtype=object)[likely.to_numpy().argmax(axis=1)]
        return names, likely.max(axis=1).to_numpy()

    labels, sure = named(pieces)
    usual = usual_height(pieces) if pieces else 0.0
    cut = {number: parts for number, piece in enumerate(pieces) if (parts := halves(piece, usual))}
    flat = [part for parts in cut.values() for part in parts]
    more_labels, more_sure = named(flat)
    rows = [(piece, labels[n], sure[n]) for n, piece in enumerate(pieces)]
    for place, number in enumerate(cut):
        pair = slice(2 * place, 2 * place + 2)
        if more_sure[pair].min() > max(sure[number], LEAST_SURE):
            first, second = zip(flat[pair], more_labels[pair], more_sure[pair], strict=True)
            rows[number] = first
            rows.append(second)
    table = table_of([row[0] for row in rows])
    table["label"] = [row[1] for row in rows]
    table["confidence"] = np.array([row[2] for row in rows], float)
    return _in_photo(reading_order(table)[0], ink, photo)


def text_lines(table: pd.DataFrame) -> list[str]:
    """Return one string a line of writing.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `read_photo`.

    Returns
    -------
    list of str
        From top to bottom; empty for an empty table.
    """
    return [str("".join(labels)) for _, labels in table.groupby("line")["label"]]


def _pieces(photo: np.ndarray) -> tuple[Ink, list[Piece]]:
    """Return the ink, dark or light, that more of the page's digits are written with."""
    found = [(ink, segment(ink)) for ink in find_inks(photo)]
    return max(found, key=lambda one: sum(piece.weight(one[0].contrast) for piece in one[1]))


def _in_photo(table: pd.DataFrame, ink: Ink, photo: np.ndarray) -> pd.DataFrame:
    """Return boxes in whole pixels of the photo, without what only the search needed."""
    low = np.floor(table[["x", "y"]].to_numpy(float) * ink.scale)
    high = np.ceil(
        (table[["x", "y"]].to_numpy(float) + table[["width", "height"]].to_numpy(float)) * ink.scale
    )
    high = np.minimum(high, np.array(photo.shape[1::-1]))
    table = table.drop(columns=["piece", "x", "y", "width", "height"])
    boxes = pd.DataFrame(np.hstack([low, high - low]).astype(int), columns=COLUMNS[2:])
    return pd.concat([table, boxes], axis=1)[COLUMNS + [name for name in table if name not in COLUMNS]]


def _pictures(pieces: list[Piece], ink: Ink, angle: float) -> np.ndarray:
    """Return pieces of ink in MNIST's form, turned back by the slope of their lines."""
    pictures = [mnist_form(_digit(piece, ink, angle)) for piece in pieces]
    return np.stack(pictures) if pictures else np.empty((0, 28, 28), np.uint8)


def _digit(piece: Piece, ink: Ink, angle: float) -> np.ndarray:
    """Return the ink of one piece, 0 to 1, with soft edges and no thinner than the network knows."""
    room = 3
    mask = np.pad(piece.mask, room)
    rows, columns = slice(piece.y, piece.y + piece.height), slice(piece.x, piece.x + piece.width)
    contrast = np.pad(ink.contrast[rows, columns], room)
    full = float(np.quantile(contrast[mask], 0.75))
    near = binary_dilation(mask, disk(1))
    soft = np.where(near, np.clip((contrast / full - 0.2) / 0.5, 0, 1), 0)
    soft = rotate(soft, angle, order=1) if abs(angle) >= 1 else soft
    wanted = THINNEST * max(piece.mask.shape)
    missing = (wanted - _thickness(soft > 0.5)) / 2
    return _thicker(soft, missing) if missing > 0.3 else soft


def _thickness(mask: np.ndarray) -> float:
    """Return the usual thickness of a stroke in pixels: ink over the length of its skeleton."""
    return float(mask.sum() / max(1, skeletonize(mask).sum()))


def _thicker(soft: np.ndarray, radius: float) -> np.ndarray:
    """Return strokes thicker by `radius` pixels on either side, their edges soft."""
    room = int(np.ceil(radius)) + 1
    outside = distance_transform_edt(np.pad(soft < 0.5, room, constant_values=True))
    return np.maximum(np.clip(radius + 1 - outside, 0, 1), np.pad(soft, room))
