"""Characters drawn as a pen would write them, in MNIST's own form."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from digitlib.errors import DigitError
from digitlib.progress import progress

SIDE, BOX = 28, 20
"""Pixels a side of an MNIST picture, and of the box in it that holds the digit."""

SIZE, CANVAS = 36, 72
"""Pixels of the font, and of the picture that a character is first drawn in."""


def default_font() -> ImageFont.FreeTypeFont:
    """Return the font that Pillow brings along (Aileron, Latin characters and digits).

    Raises
    ------
    DigitError
        If this Pillow was built without FreeType.
    """
    font = ImageFont.load_default(SIZE)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise DigitError("Drawing letters needs a Pillow with FreeType: install Pillow anew from its wheel.")
    return font


def matplotlib_font(name: str = "DejaVuSans") -> ImageFont.FreeTypeFont:
    """Return a font that Matplotlib brings along; DejaVu Sans has characters of many scripts."""
    from matplotlib import get_data_path

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/{name}.ttf", SIZE)


def write_glyphs(
    characters: str, fonts: list[ImageFont.FreeTypeFont], n: int, random: np.random.Generator
) -> np.ndarray:
    """Return characters chosen at random, each written by `write_glyph`.

    Parameters
    ----------
    characters : str
        To choose from.
    fonts : list of PIL.ImageFont.FreeTypeFont
        To choose from, of `SIZE` pixels.
    n : int
        How many.
    random : numpy.random.Generator
        Chooses.

    Returns
    -------
    numpy.ndarray
        uint8, shape (n, 28, 28, 1).
    """
    made = np.empty((n, SIDE, SIDE, 1), np.uint8)
    for place in progress(range(n), n, "Drawing characters"):
        character, font = str(random.choice(list(characters))), fonts[random.integers(len(fonts))]
        made[place, ..., 0] = np.round(write_glyph(character, font, random))
    return made


def write_glyph(text: str, font: ImageFont.FreeTypeFont, random: np.random.Generator) -> np.ndarray:
    """Return a character as if written by hand.

    The printed glyph is slanted, turned, stretched and bent; its middle line is then drawn anew with a pen of some
    width, and put into MNIST's form; see `to_mnist_form`.

    Parameters
    ----------
    text : str
        One character.
    font : PIL.ImageFont.FreeTypeFont
        Of `SIZE` pixels.
    random : numpy.random.Generator
        Decides slant (±0.35), turn (±12°), stretch (0.75 to 1.25), bends and width of the pen.

    Returns
    -------
    numpy.ndarray
        float, shape (28, 28), 0 (ground) to 255 (ink).
    """
    from skimage.morphology import skeletonize

    canvas = Image.new("L", (CANVAS, CANVAS), 0)
    ImageDraw.Draw(canvas).text((CANVAS / 2, CANVAS / 2), text, fill=255, font=font, anchor="mm")
    line = skeletonize(_bent(np.asarray(canvas, float), random) > 110)
    distance = ndimage.distance_transform_edt(~line)
    pen = random.uniform(1.2, 2.6)
    return to_mnist_form(255 * np.clip(pen - distance + 0.5, 0, 1) * line.any())


def to_mnist_form(ink: np.ndarray) -> np.ndarray:
    """Return a drawing fitted into 20 x 20 pixels and centred by its mass in 28 x 28.

    As MNIST's digits were (LeCun et al., 1998, http://yann.lecun.com/exdb/mnist/), but more roughly than
    `digitlib.forms.mnist_form`, which is for digits that are to be read: with whole pixels for both sides, and the centre
    half a pixel further up and left. Characters so made teach better what is unfamiliar: with the other form, fewer of
    the letters in benchmarks/trust.py were declined.

    Parameters
    ----------
    ink : numpy.ndarray
        Shape (height, width), 0 (ground) to 255 (ink).

    Returns
    -------
    numpy.ndarray
        float, shape (28, 28), 0 to 255; without ink all zeros.
    """
    placed = np.zeros((SIDE, SIDE))
    rows, columns = np.nonzero(ink > 20)
    if len(rows) == 0:
        return placed
    cut = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    size = [max(1, round(side * BOX / max(cut.shape))) for side in cut.shape[::-1]]
    small = np.asarray(Image.fromarray(cut.astype(np.uint8)).resize(size, Image.Resampling.BOX), float)
    top, left = (SIDE - small.shape[0]) // 2, (SIDE - small.shape[1]) // 2
    placed[top : top + small.shape[0], left : left + small.shape[1]] = small
    move = (SIDE - 1) / 2 - np.array(ndimage.center_of_mass(placed))
    return ndimage.shift(placed, np.round(move), order=0)


def _bent(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a picture slanted, turned, stretched about its middle, and bent by a smooth random field."""
    turn, slant = np.radians(random.uniform(-12, 12)), random.uniform(-0.35, 0.35)
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = (
        np.array([[cos, -sin], [sin, cos]]) @ [[1, 0], [slant, 1]] @ np.diag(random.uniform(0.8, 1.33, 2))
    )
    places = np.indices((CANVAS, CANVAS), float)
    coarse = random.normal(size=(2, 6, 6)).astype(np.float32)
    smooth = (Image.fromarray(one).resize((CANVAS, CANVAS), Image.Resampling.BICUBIC) for one in coarse)
    bends = np.stack([np.asarray(one) for one in smooth])
    moved = np.tensordot(matrix, places - CANVAS / 2, 1) + CANVAS / 2 + random.uniform(0.4, 1.8) * bends
    return ndimage.map_coordinates(picture, moved, order=1)
