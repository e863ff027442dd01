"""What was read on photos, handed on: as JSON, and drawn back onto the photo."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from digitlib.errors import DigitError
from digitlib.files import atomic, resolve, shown, write_json
from digitlib.naming import dark_ink
from digitlib.plots import BLUE, RED, WIDTH, drawable
from digitlib.progress import progress
from digitlib.reading import read_image, read_photo, text_lines
from digitlib.runs import run_and_model
from digitlib.shipped import notebooks_folder
from digitlib.showing import describe

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
    raise DigitError(f"{shown(photos)} is not there: give a photo of your own.")


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
            raise DigitError(f"{shown(photo)} is no file: give a photo or scan, such as a JPEG or PNG.")
    from digitlib.prediction import open_model

    network, dark = open_model(run_or_model), dark_ink(run_and_model(run_or_model)[0])
    tables: dict[str, pd.DataFrame] = {}
    for photo in progress(photos, len(photos), "Reading photos", "photo"):
        tables[photo] = read_photo(*network, photo, dark_ink=dark)
        if drawn:
            save_drawn(resolve(drawn), photo, tables[photo])
        yield photo, text_lines(tables[photo]) or [f"No digits found on {shown(photo)}."]
    if json_file:
        write_reading(resolve(json_file), tables)


def _check_png(path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise DigitError(f"{shown(path)} would not be a PNG file: end its name in .png.")


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
        As from `digitlib.reading.read_photo`.

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
        As from `digitlib.reading.read_image`.
    tables : sequence of pandas.DataFrame
        As from `digitlib.reading.read_photo`, one a photo.

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
