"""Composed photos of handwritten numbers: real digits on paper, with what a camera makes of them, and the truth."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

Random = np.random.Generator
Traits = dict[str, float]

DARK_INKS = ((0.08, 0.08, 0.1), (0.1, 0.14, 0.45), (0.3, 0.3, 0.32), (0.55, 0.08, 0.1), (0.05, 0.25, 0.15))
"""Black, blue, pencil, red and green, as shares of the light they throw back."""

TOUCHING = 0.02
"""Share of neighbours that all but touch, or do."""


@dataclass(frozen=True)
class Page:
    """A photo and what is written on it.

    Attributes
    ----------
    image : numpy.ndarray
        uint8, shape (height, width, 3), as decoded from a JPEG.
    jpeg : bytes
        The photo as a file.
    truth : pandas.DataFrame
        A row a digit: ``line``, ``position``, ``x``, ``y``, ``width``, ``height`` (pixels), ``label``.
    traits : dict
        What was drawn by lot: ``angle`` in degrees, ``light_on_dark``, ``ruled``, ``table``, ``shadow``, ...
    """

    image: np.ndarray
    jpeg: bytes
    truth: pd.DataFrame
    traits: Traits


@dataclass
class _Stroke:
    """One digit on its way to the page: its image, turn and middle (across, down) in the page's own frame."""

    image: np.ndarray
    label: str
    line: int
    position: int
    scale: float
    turn: float
    across: float = 0.0
    down: float = 0.0


def lengths(rng: Random) -> list[int]:
    """Return how many digits stand in each line of a page: 1 to 5 lines, 5 to 30 digits, at most 12 in a line."""
    lines = int(rng.integers(1, 6))
    total = int(rng.integers(max(5, lines), min(30, 12 * lines) + 1))
    counts = np.bincount(rng.integers(0, lines, total), minlength=lines)
    return lengths(rng) if counts.min() < 1 or counts.max() > 12 else counts.tolist()


def compose(images: np.ndarray, labels: list[str], counts: list[int], rng: Random, **fixed: float) -> Page:
    """Write digits on a page and photograph it.

    Parameters
    ----------
    images : numpy.ndarray
        uint8, shape (n, 28, 28), bright on black, as MNIST's.
    labels : list of str
        Their classes.
    counts : list of int
        Digits in each line; they add up to n.
    rng : numpy.random.Generator
        Decides all the rest.
    **fixed
        Traits not to be drawn by lot, such as ``angle=0``.
    """
    traits = _traits(rng) | fixed
    size = float(rng.uniform(32, 110))
    strokes = _laid_out(images, labels, counts, size, traits, rng)
    turn = np.deg2rad(traits["angle"])
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    places = np.array([[stroke.across, stroke.down] for stroke in strokes]) @ matrix.T
    margin = rng.uniform(1.2, 2.5, 4) * size
    low, high = places.min(axis=0) - margin[:2], places.max(axis=0) + margin[2:]
    width, height = np.ceil(high - low).astype(int)
    ink = np.zeros((height, width), np.float32)
    rows = []
    for stroke, place in zip(strokes, places - low, strict=True):
        mask = _inked(stroke, stroke.turn + traits["angle"], traits["weight"])
        rows.append(_put(ink, mask, place, stroke))
    places = np.tensordot(matrix.T, np.indices((height, width))[::-1] + low[:, None, None], 1)
    photo = _photographed(ink, places, size, traits, rng)
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=int(rng.integers(55, 96)))
    return Page(np.asarray(Image.open(buffer)), buffer.getvalue(), pd.DataFrame(rows), traits)


def _traits(rng: Random) -> Traits:
    """Draw by lot what a page is like."""
    light = bool(rng.random() < 0.35)
    return {
        "angle": float(rng.uniform(-10, 10)),
        "digit_angle": 10.0,
        "light_on_dark": light,
        "strength": float(rng.uniform(0.6, 1)),
        "weight": float(rng.uniform(0.3, 0.6)),
        "ruled": 0.0 if light else float(rng.choice([0, 1, 2], p=[0.65, 0.25, 0.1])),
        "table": bool(rng.random() < 0.25),
        "shadow": float(rng.choice([0, rng.uniform(0.1, 0.5)], p=[0.3, 0.7])),
        "falloff": float(rng.uniform(0, 0.35)),
        "grain": float(rng.uniform(0.004, 0.025)),
        "blur": float(rng.uniform(0.3, 1.3)),
        "touching": TOUCHING,
    }


def _laid_out(
    images: np.ndarray, labels: list[str], counts: list[int], size: float, traits: Traits, rng: Random
) -> list[_Stroke]:
    """Give each digit its line and its place in the page's own frame, `size` pixels high or so."""
    strokes: list[_Stroke] = []
    pitch, number = rng.uniform(1.5, 2.2) * size, 0
    for line, count in enumerate(counts, 1):
        right = rng.uniform(0, 1) * size
        for position in range(1, count + 1):
            turn = rng.uniform(-traits["digit_angle"], traits["digit_angle"])
            scale = size / 20 * rng.uniform(0.88, 1.12)
            stroke = _Stroke(images[number], labels[number], line, position, scale, turn)
            rows, columns = np.nonzero(_inked(stroke, turn, traits["weight"]) > 0.5)
            gap = np.clip(rng.normal(0.3, 0.12), 0.1, None) if rng.random() > 0.1 else rng.uniform(0.6, 1.2)
            if position > 1 and rng.random() < traits["touching"]:
                gap = rng.uniform(-0.06, 0.06)
            shape = np.array(_inked(stroke, turn, traits["weight"]).shape)
            stroke.across = right + gap * size - columns.min() + shape[1] / 2
            # The feet of the digits stand on the line, more or less.
            stroke.down = line * pitch - rows.max() + shape[0] / 2 + rng.normal(0, 0.04) * size
            right = stroke.across - shape[1] / 2 + columns.max() + 1
            strokes.append(stroke)
            number += 1
    return strokes


def _inked(stroke: _Stroke, turn: float, weight: float) -> np.ndarray:
    """Return a digit at the page's scale, its edges as sharp as ink's, turned clockwise; 0 to 1."""
    side = max(8, round(28 * stroke.scale))
    large = Image.fromarray(stroke.image).resize((side, side), Image.Resampling.BICUBIC)
    room = int(np.ceil(side * 0.25))
    canvas = Image.new("L", (side + 2 * room, side + 2 * room))
    canvas.paste(large, (room, room))
    grey = np.asarray(canvas.rotate(-turn, Image.Resampling.BICUBIC), np.float32) / 255
    # Where the edge is taken decides how thick the pen was.
    return gaussian_filter(1 / (1 + np.exp(-(grey - weight) / 0.06)), 0.5)


def _put(ink: np.ndarray, mask: np.ndarray, place: np.ndarray, stroke: _Stroke) -> dict[str, object]:
    """Add a digit to the page's ink and return its row of the truth."""
    top, left = (round(float(place[axis]) - mask.shape[1 - axis] / 2) for axis in (1, 0))
    rows, columns = np.nonzero(mask > 0.5)
    y, x = rows.min(), columns.min()
    cut = mask[y : rows.max() + 1, x : columns.max() + 1]
    height, width = cut.shape
    window = ink[top + y : top + y + height, left + x : left + x + width]
    np.maximum(window, cut, out=window)
    box = {"x": left + x, "y": top + y, "width": width, "height": height}
    return {"line": stroke.line, "position": stroke.position, **box, "label": stroke.label}


def _smooth_noise(shape: tuple[int, int], cell: float, rng: Random) -> np.ndarray:
    """Return noise of standard deviation 1 that varies over `cell` pixels."""
    small = rng.normal(size=[max(4, int(length / cell) + 3) for length in shape])
    factors = [length / (rows - 2) for length, rows in zip(shape, small.shape, strict=True)]
    large = zoom(small, factors, order=1)[: shape[0], : shape[1]]
    return (large / (large.std() + 1e-9)).astype(np.float32)


def _photographed(ink: np.ndarray, places: np.ndarray, size: float, traits: Traits, rng: Random) -> np.ndarray:
    """Return the photo (uint8) of a page with `ink` on it; `places` are the pixels' places (across, down) on the page."""
    shape = ink.shape
    light = bool(traits["light_on_dark"])
    tint = rng.normal(0, 0.02, 3)
    paper = (rng.uniform(0.06, 0.25) if light else rng.uniform(0.75, 0.95)) + tint
    pen = rng.uniform(0.85, 0.98) + rng.normal(0, 0.02, 3) if light else np.array(DARK_INKS[rng.integers(5)])
    grain = 1 + traits["grain"] * (_smooth_noise(shape, 2.5, rng) + 0.7 * _smooth_noise(shape, 14, rng))
    surface = (paper * np.ones((*shape, 1))) * grain[..., None]
    if traits["ruled"]:
        surface = _ruled(surface, places, size, traits, rng)
    pressure = 1 - np.abs(_smooth_noise(shape, size / 3, rng)) * rng.uniform(0, 0.12)
    if light:  # chalk skips over the grain of the board
        pressure *= 1 - 0.15 * np.clip(_smooth_noise(shape, 2, rng), 0, 2)
    alpha = (ink * traits["strength"] * np.clip(pressure, 0.3, 1))[..., None]
    surface = surface * (1 - alpha) + pen * alpha
    if traits["table"]:
        surface = _on_table(surface, ink, places, size, light, rng)
    lit = surface * _light(shape, traits, rng)[..., None]
    lit = gaussian_filter(lit, (traits["blur"], traits["blur"], 0))
    lit = lit + rng.normal(0, rng.uniform(0.004, 0.018), lit.shape)
    return (np.clip(lit, 0, 1) * 255).round().astype(np.uint8)


def _ruled(surface: np.ndarray, places: np.ndarray, size: float, traits: Traits, rng: Random) -> np.ndarray:
    """Rule the paper with lines, or squares where ``ruled`` is 2, fainter than any ink."""
    step = rng.uniform(1.4, 2) * size if traits["ruled"] == 1 else rng.uniform(0.5, 0.7) * size
    half, colour = rng.uniform(0.5, 1.2), np.array([0.45, 0.6, 0.85])
    near = np.abs((places % step) - step / 2)
    near = near[1] if traits["ruled"] == 1 else near.min(axis=0)
    share = np.clip(half + 0.5 - near, 0, 1)[..., None] * rng.uniform(0.2, 0.5)
    return surface * (1 - share) + colour * share


def _on_table(
    surface: np.ndarray, ink: np.ndarray, places: np.ndarray, size: float, light: bool, rng: Random
) -> np.ndarray:
    """Let the table be seen beyond the edges of the page."""
    there = ink > 0.1
    inside = np.ones(ink.shape, np.float32)
    for place in places:
        low, high = place[there].min(), place[there].max()
        low, high = low - size * rng.uniform(0.4, 1.2), high + size * rng.uniform(0.4, 1.2)
        inside *= np.clip(place - low, 0, 1) * np.clip(high - place, 0, 1)
    shade = rng.uniform(0.45, 0.8) if light else rng.uniform(0.1, 0.5)
    table = (shade + rng.normal(0, 0.05, 3)) * (1 + 0.05 * _smooth_noise(ink.shape, 6, rng)[..., None])
    return surface * inside[..., None] + table * (1 - inside[..., None])


def _light(shape: tuple[int, int], traits: Traits, rng: Random) -> np.ndarray:
    """Return how much light falls on each pixel: it wanes across the page, and something may throw a shadow."""
    rows, columns = (np.linspace(-1, 1, length) for length in shape)
    turn, brightness = rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1.08)
    slope = rows[:, None] * np.sin(turn) + columns[None] * np.cos(turn)
    light = brightness * (1 - traits["falloff"] * (slope + 1) / 2)
    if traits["shadow"]:
        turn, edge = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.9)
        side = rows[:, None] * np.sin(turn) + columns[None] * np.cos(turn) + 0.25 * rows[:, None] ** 2
        soft = rng.uniform(0.01, 0.15)
        light *= 1 - traits["shadow"] / (1 + np.exp(-(side - edge) / soft))
    return light.astype(np.float32)
