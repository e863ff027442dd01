"""The digits on a photo one by one: connected ink, broken strokes joined, specks and lines dropped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import find_objects, label

from digitlib.inking import Ink

LOWEST, HIGHEST = 0.4, 1.9
"""Longer side of a digit, as a share of the usual height on its page."""

NEAR = 0.22
"""Parts of one digit are no further apart than this share of the usual height."""

WIDEST = 1.25
"""Two parts that together are wider than this share of the usual height are two digits."""

SMALLEST = 8
"""Pixels of the longer side of a digit, at the scale it is worked on."""


@dataclass(frozen=True)
class Segments:
    """Pieces of ink.

    Attributes
    ----------
    pieces : numpy.ndarray
        int, shape (height, width): number of the digit that each pixel belongs to, 0 for none.
    boxes : pandas.DataFrame
        A row a digit: ``piece``, ``x``, ``y``, ``width``, ``height`` at the scale of `pieces`.
    usual : float
        The usual height of a digit on this page.
    """

    pieces: np.ndarray
    boxes: pd.DataFrame
    usual: float


def segment(ink: Ink) -> Segments:
    """Find what may be digits.

    Parameters
    ----------
    ink : Ink
        As from `digitlib.inking.find_ink`.

    Returns
    -------
    Segments
        In no particular order; empty if nothing on the page has the size of a digit.
    """
    pieces, _ = label(ink.mask, np.ones((3, 3)))
    boxes = _boxes(pieces)
    boxes = boxes[~_is_edge(boxes, pieces.shape) & ~_is_line(boxes, pieces.shape)]
    boxes = boxes[boxes[["width", "height"]].max(axis=1) >= SMALLEST / 4]
    if boxes.empty or boxes["height"].max() < SMALLEST:
        return Segments(pieces, boxes.iloc[:0], 0.0)
    usual = _usual_height(boxes)
    boxes = boxes[boxes["area"] > 0.002 * usual**2]
    boxes = _joined(boxes, pieces, usual)
    longer, shorter = boxes[["width", "height"]].max(axis=1), boxes[["width", "height"]].min(axis=1)
    digit = longer.between(max(SMALLEST, LOWEST * usual), HIGHEST * usual)
    # A dash or a rest of a ruled line is flat; a 1 may be thin but stands.
    flat = (boxes["height"] < 0.35 * usual) & (shorter < 0.45 * longer)
    return Segments(pieces, boxes[digit & ~flat & (boxes["height"] >= 0.3 * usual)], usual)


def _boxes(pieces: np.ndarray) -> pd.DataFrame:
    """Return the box and the number of pixels of each piece."""
    area = np.bincount(pieces.ravel())
    rows = [
        (number, across.start, down.start, across.stop - across.start, down.stop - down.start, area[number])
        for number, (down, across) in enumerate(find_objects(pieces), 1)
    ]
    return pd.DataFrame(rows, columns=["piece", "x", "y", "width", "height", "area"])


def _is_edge(boxes: pd.DataFrame, shape: tuple[int, ...]) -> pd.Series:
    """Tell what touches the photo's edge: the edge of the page, a shadow, a finger, half a digit."""
    right, bottom = boxes["x"] + boxes["width"], boxes["y"] + boxes["height"]
    return (boxes["x"] <= 0) | (boxes["y"] <= 0) | (right >= shape[1]) | (bottom >= shape[0])


def _is_line(boxes: pd.DataFrame, shape: tuple[int, ...]) -> pd.Series:
    """Tell long thin pieces: ruled lines, the edge of a sheet."""
    longer = boxes[["width", "height"]].max(axis=1)
    thickness = boxes["area"] / longer
    return (longer > 0.3 * max(shape)) & (thickness < 0.05 * longer)


def _usual_height(boxes: pd.DataFrame) -> float:
    """Return the height that half of all ink is in pieces of at least: specks are many but hold little ink."""
    ordered = boxes.sort_values("height")
    share = ordered["area"].cumsum() / ordered["area"].sum()
    return float(ordered["height"][share >= 0.5].iloc[0])


def _joined(boxes: pd.DataFrame, pieces: np.ndarray, usual: float) -> pd.DataFrame:
    """Give the parts of a digit (the bar of a 5) one number, in `pieces` too: small parts first."""
    table = {row.piece: row for row in boxes.itertuples(index=False)}
    for piece in boxes.sort_values("area")["piece"]:
        part = table[piece]
        others = [other for other in table.values() if other.piece != piece and _may_join(part, other, usual)]
        gaps = [_gap(part, other, pieces) for other in others]
        if not gaps or min(gaps) > NEAR * usual:
            continue
        whole = others[int(np.argmin(gaps))]
        x, y = min(part.x, whole.x), min(part.y, whole.y)
        width = max(part.x + part.width, whole.x + whole.width) - x
        height = max(part.y + part.height, whole.y + whole.height) - y
        window = pieces[part.y : part.y + part.height, part.x : part.x + part.width]
        window[window == piece] = whole.piece
        del table[piece]
        table[whole.piece] = whole._replace(x=x, y=y, width=width, height=height, area=part.area + whole.area)
    return pd.DataFrame(list(table.values()), columns=boxes.columns)


def _may_join(part, other, usual: float) -> bool:  # type: ignore[no-untyped-def]
    """Tell whether the boxes of two pieces are near, one of them is no whole digit, and both make one."""
    left, right = min(part.x, other.x), max(part.x + part.width, other.x + other.width)
    top, bottom = min(part.y, other.y), max(part.y + part.height, other.y + other.height)
    beside = right - left - part.width - other.width
    above = bottom - top - part.height - other.height
    if max(beside, above) > NEAR * usual:
        return False
    # Overlapping across, they stand above one another as parts of a digit do, not beside as digits.
    over = -beside / min(part.width, other.width)
    small = min(part.height, other.height) < (0.75 if over > 0.5 else 0.55) * usual
    return small and right - left <= WIDEST * usual and bottom - top <= 1.45 * usual


def _gap(part, other, pieces: np.ndarray) -> float:  # type: ignore[no-untyped-def]
    """Return the distance in pixels between the nearest ink of two pieces."""
    points = []
    for one in (part, other):
        window = pieces[one.y : one.y + one.height, one.x : one.x + one.width] == one.piece
        points.append(np.argwhere(window) + (one.y, one.x))
    few, many = sorted(points, key=len)
    few = few[:: max(1, len(few) // 400)]
    many = many[:: max(1, len(many) // 2000)]
    return float(np.sqrt(((few[:, None] - many[None]) ** 2).sum(axis=-1).min()))
