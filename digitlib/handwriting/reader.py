"""Numbers on a photo or scan: the digits one by one, named, in the order people read them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, distance_transform_edt, rotate
from skimage.morphology import disk, skeletonize

from digitlib.data.decoding import read_file
from digitlib.errors import DigitError
from digitlib.evaluation.naming import dark_on_light, name_pictures
from digitlib.files import atomic, display_path, resolve, write_json
from digitlib.handwriting.binarize import Ink, find_inks
from digitlib.handwriting.mnist_format import to_mnist_format
from digitlib.handwriting.segmentation import Piece, halves, reading_order, segment, table_of, usual_height
from digitlib.pipeline.notebooks import notebooks_folder
from digitlib.plots.style import BLUE, RED, WIDTH, drawable
from digitlib.plots.style import describe
from digitlib.progress import progress
from digitlib.run import run_and_model
from digitlib.training.recipes import Recipe

if TYPE_CHECKING:
    from digitlib.training.backend import keras


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
            f"{display_path(path)} can't be read as a photo ({decoded.reason}): give a JPEG or PNG file."
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


def crop_digits(photo: np.ndarray) -> np.ndarray:
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
    dark_on_light: bool = False,
) -> pd.DataFrame:
    """Name the digits on a photo.

    What is wide enough for two digits that touch is also cut in two, and the
    reading of which the network is surer is taken.

    Parameters
    ----------
    model, recipe, class_names
        As from `digitlib.pipeline.predict_folder.open_model`.
    path : str or path-like
        The photo; it is turned upright by its EXIF tag.
    dark_on_light : bool
        Whether the network was trained on dark digits on light paper, as from
        `digitlib.evaluation.naming.dark_on_light`; MNIST's are bright on black.

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
        likely = name_pictures(model, recipe, class_names, pictures, dark_on_light=dark_on_light)
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
    pictures = [to_mnist_format(_digit(piece, ink, angle)) for piece in pieces]
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


SURE = 0.8
"""Digits named with less confidence than this are drawn in the second colour."""

EXAMPLES = ("shadow.jpg", "board.jpg", "turned.jpg")

LARGEST_DRAWN = 1600
"""Pixels of the longer side of a drawn photo at most."""


def example_photos() -> list[Path]:
    """Return the photos that come with the notebooks: in a shadow, on a board, turned.

    They are composed of digits of the sample's test part by
    ``tools/compose_photos.py``.

    Returns
    -------
    list of pathlib.Path
        Three JPEG files.

    Raises
    ------
    DigitError
        If they are not there, as in a copy of the library alone.
    """
    photos = notebooks_folder() / "photos"
    if found := [path for name in EXAMPLES if (path := photos / name).is_file()]:
        return found
    raise DigitError(f"{display_path(photos)} is not there: give a photo of your own.")


def read_photos(
    run_or_model: str | os.PathLike[str],
    photos: Sequence[str],
    json_file: str | None = None,
    drawn: str | None = None,
) -> Iterator[tuple[str, list[str]]]:
    """Read photos one after another and write what is wanted of them; the work of `digitlib read`.

    Parameters
    ----------
    run_or_model : str or path-like
        A run's folder, or its model file.
    photos : sequence of str
        Photos or scans.
    json_file, drawn : str, optional
        Files to write; see `write_reading` and `save_drawn`.

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
    """
    if drawn and len(photos) > 1:
        raise DigitError("--drawn takes one photo at a time: call it once for each photo.")
    if drawn:
        _check_png(resolve(drawn))
    for photo in photos:
        if not resolve(photo).is_file():
            raise DigitError(
                f"{display_path(photo)} is no file: give a photo or scan, such as a JPEG or PNG."
            )
    from digitlib.pipeline.predict_folder import open_model

    network, dark = open_model(run_or_model), dark_on_light(run_and_model(run_or_model)[0])
    tables: dict[str, pd.DataFrame] = {}
    for photo in progress(photos, len(photos), "Reading photos", "photo"):
        tables[photo] = read_photo(*network, photo, dark_on_light=dark)
        if drawn:
            save_drawn(resolve(drawn), photo, tables[photo])
        yield photo, text_lines(tables[photo]) or [f"No digits found on {display_path(photo)}."]
    if json_file:
        write_reading(resolve(json_file), tables)


def _check_png(path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise DigitError(f"{display_path(path)} would not be a PNG file: end its name in .png.")


def write_reading(path: Path, photos: dict[str, pd.DataFrame]) -> None:
    """Write the lines of text and every digit's box, label and confidence as JSON, atomically.

    Parameters
    ----------
    path : pathlib.Path
        The file to write: a list of objects ``photo``, ``lines``, ``digits``.
    photos : dict
        Tables from `read_photo` by the name of their photo.
    """
    content = [
        {
            "photo": name,
            "lines": text_lines(table),
            "digits": table.round({"confidence": 6}).to_dict("records"),
        }
        for name, table in photos.items()
    ]
    write_json(path, content)


def save_drawn(path: Path, photo: str | os.PathLike[str], table: pd.DataFrame) -> None:
    """Save the photo as PNG with each digit's box, label and confidence drawn onto it, no larger than 1,600 pixels.

    Parameters
    ----------
    path : pathlib.Path
        The file to write, ending in ``.png``.
    photo : str or path-like
        The photo that was read; it stays as it is.
    table : pandas.DataFrame
        As from `digitlib.handwriting.reader.read_photo`.

    Raises
    ------
    DigitError
        If the path doesn't end in ``.png`` or can't be written to.
    """
    _check_png(path)
    drawn = draw_reading(read_image(photo), table)
    with atomic(path) as temporary:
        drawn.save(temporary, "PNG")


def draw_reading(photo: np.ndarray, table: pd.DataFrame) -> Image.Image:
    """Return the photo with the boxes, labels and confidences of `table` drawn onto it.

    Parameters
    ----------
    photo : numpy.ndarray
        uint8, shape (height, width, 1 or 3).
    table : pandas.DataFrame
        As from `read_photo`. What the network is less than 80 % sure of is
        drawn in the second colour, with a question mark.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    picture = Image.fromarray(photo[..., 0] if photo.shape[-1] == 1 else photo).convert("RGB")
    scale = min(1.0, LARGEST_DRAWN / max(picture.size))
    picture = picture.resize([max(1, round(side * scale)) for side in picture.size])
    pen = ImageDraw.Draw(picture)
    for row in table.itertuples():
        sure = row.confidence >= SURE
        x, y, right, bottom = (scale * side for side in (row.x, row.y, row.x + row.width, row.y + row.height))
        size = max(12, 0.5 * (bottom - y))
        colour = BLUE if sure else RED
        pen.rectangle([x - 2, y - 2, right + 2, bottom + 2], outline=colour, width=max(2, round(size / 12)))
        text = drawable(row.label) + ("" if sure else "?")
        font = ImageFont.load_default(size)
        place = (x - 2, max(0, y - 2 - 1.15 * size))
        pen.rectangle(pen.textbbox(place, text, font=font), fill=colour)
        pen.text(place, text, fill="white", font=font)
    return picture


def plot_readings(photos: Sequence[np.ndarray], tables: Sequence[pd.DataFrame]) -> Figure:
    """Draw photos, two side by side, each with what was read on it.

    Parameters
    ----------
    photos : sequence of numpy.ndarray
        As from `digitlib.handwriting.reader.read_image`.
    tables : sequence of pandas.DataFrame
        As from `digitlib.handwriting.reader.read_photo`, one a photo.

    Returns
    -------
    matplotlib.figure.Figure
        One panel a photo.
    """
    columns = min(2, len(photos))
    rows, width = (
        -(-len(photos) // columns),
        0.86 * WIDTH / columns,
    )  # a notebook that keeps the picture stays small
    height = min(9.0, width * max(photo.shape[0] / photo.shape[1] for photo in photos) + 0.3)
    figure, grid = plt.subplots(
        rows, columns, figsize=(columns * width, rows * height), squeeze=False, layout="constrained"
    )
    for axes in grid.flat:
        axes.axis("off")
    for axes, (photo, table) in zip(grid.flat, zip(photos, tables, strict=True)):  # noqa: B905 - the grid may be larger
        # In grey the coloured boxes stand out.
        grey = np.asarray(Image.fromarray(photo.squeeze(-1) if photo.shape[-1] == 1 else photo).convert("L"))
        axes.imshow(draw_reading(grey[..., None], table))
        axes.set_title("  ".join(text_lines(table)) or "no digits found", fontsize=9)
    read = "; ".join(", ".join(text_lines(table)) or "no digits" for table in tables)
    describe(figure, f"{len(photos)} photos with a box around each digit and its name. Read on them: {read}.")
    return figure
