"""Pictures that are no digits, made from a seed: what a network should decline to name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image
from scipy import ndimage

from digitlib.drawing import SIDE, default_font, write_glyphs
from digitlib.errors import DigitError
from digitlib.values import is_whole

LETTERS = "ACEFHKLMNPRTUVWXYacdefhkmnprtuvwx"
"""Those of the Latin alphabet, large and small, that a reader would not take for a digit."""

LIKE_DIGITS = "BDGIJOQSZbgijloqsyz"
"""Left out: without a word around it, each may also be an 8, 0, 6, 1, 1, 0, 0, 5, 2, 6, 9, 1, 1, 1, 0, 9, 5, 4 or 2."""

PICTURES = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "moon", "rocket")
"""Pictures that come with scikit-image, so that nothing is downloaded."""


def make_unknowns(kind: str, n: int, seed: int = 0) -> np.ndarray:
    """Return pictures that show no digit; the same seed gives the same pictures.

    Parameters
    ----------
    kind : {"blanks", "noise", "letters", "photos", "drawn digits"}
        "blanks" are even areas of any brightness, some with a slight shade and the noise of a scanner. "noise" is
        random pixels: even, normal or sparse, coarse or fine. "letters" are `LETTERS` in Pillow's own font as a pen
        would write them, see `digitlib.drawing.write_glyph`. "photos" are cut from `PICTURES`. "drawn digits" are a
        check on the letters: 0 to 9 by the same font and pen, which should *not* be declined for how they were drawn.
    n : int
        How many.
    seed : int
        Of NumPy's random generator.

    Returns
    -------
    numpy.ndarray
        uint8, shape (n, 28, 28, 1).

    Raises
    ------
    DigitError
        If there is no such kind, or `n` is less than 1.
    """
    if kind not in KINDS:
        raise DigitError(f"kind is {kind!r}: choose one of {', '.join(KINDS)}.")
    if not is_whole(n) or n < 1:
        raise DigitError(f"n is {n!r}: give a whole number from 1 on.")
    return KINDS[kind](n, np.random.default_rng((seed, list(KINDS).index(kind))))


def _each(
    make: Callable[[np.random.Generator], np.ndarray],
) -> Callable[[int, np.random.Generator], np.ndarray]:
    """Return a function that makes `n` pictures from one that makes a single one."""

    def several(n: int, random: np.random.Generator) -> np.ndarray:
        return np.clip(np.round([make(random) for _ in range(n)]), 0, 255).astype(np.uint8)[..., None]

    return several


def _blank(random: np.random.Generator) -> np.ndarray:
    ramp = np.outer(np.ones(SIDE), np.linspace(-1, 1, SIDE)) * random.choice([0, random.uniform(0, 25)])
    grain = random.normal(size=(SIDE, SIDE)) * random.choice([0, random.uniform(0, 6)])
    level = random.choice([0, 255, random.uniform(0, 255)])
    return level + np.rot90(ramp, int(random.integers(4))) + grain


def _noise(random: np.random.Generator) -> np.ndarray:
    kind = random.choice(["even", "normal", "sparse"])
    if kind == "even":
        return random.uniform(0, 255, (SIDE, SIDE))
    if kind == "sparse":
        return 255.0 * (random.random((SIDE, SIDE)) < random.uniform(0.02, 0.5))
    grain = ndimage.gaussian_filter(random.normal(size=(SIDE, SIDE)), random.choice([0, 0.5, 1, 2]))
    return 127 + random.uniform(40, 100) * grain / grain.std()


def _letters(n: int, random: np.random.Generator) -> np.ndarray:
    return write_glyphs(LETTERS, [default_font()], n, random)


def _drawn_digits(n: int, random: np.random.Generator) -> np.ndarray:
    return write_glyphs("0123456789", [default_font()], n, random)


def _photo(random: np.random.Generator) -> np.ndarray:
    picture = _picture(str(random.choice(PICTURES)))
    side = random.integers(SIDE, min(picture.shape) + 1)
    top, left = (random.integers(0, length - side + 1) for length in picture.shape)
    cut = Image.fromarray(picture[top : top + side, left : left + side])
    return np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BOX), float)


@cache
def _picture(name: str) -> np.ndarray:
    from skimage import data

    return np.asarray(Image.fromarray(getattr(data, name)()).convert("L"))


KINDS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "blanks": _each(_blank),
    "noise": _each(_noise),
    "letters": _letters,
    "photos": _each(_photo),
    "drawn digits": _drawn_digits,
}
