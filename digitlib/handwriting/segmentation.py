"""The digits on a photo one by one: connected ink, broken strokes joined, specks and lines dropped; and their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree
from skimage.graph import route_through_array
from skimage.measure import label, regionprops

from digitlib.handwriting.binarize import Ink

BOX = ["x", "y", "width", "height"]

LOWEST, HIGHEST = 0.4, 1.9
"""Longer side of a digit, as a share of the usual height on its page."""

NEAR = 0.22
"""Parts of one digit are no further apart than this share of the usual height."""

WIDEST = 1.25
"""Parts that together are wider than this share of the usual height are two digits."""

SMALLEST = 8
"""Pixels of the longer side of a digit, at the scale it is worked on."""


class Piece:
    """Ink that belongs together.

    Parameters
    ----------
    pixels : numpy.ndarray
        Integers, shape (n, 2): row and column of each of its pixels.

    Attributes
    ----------
    x, y : int
        Left and upper edge of its box.
    height, width, longer, area : int
        Rows and columns of its box, the larger of both, and the number of its pixels.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.area = pixels, len(pixels)
        self.y, self.x = pixels.min(axis=0).tolist()
        self.height, self.width = (np.ptp(pixels, axis=0) + 1).tolist()
        self.longer = max(self.height, self.width)

    @property
    def mask(self) -> np.ndarray:
        """Its pixels within its box: bool, shape (height, width)."""
        mask = np.zeros((self.height, self.width), bool)
        mask[tuple((self.pixels - (self.y, self.x)).T)] = True
        return mask


def segment(ink: Ink) -> list[Piece]:
    """Find what may be digits on the page, in no particular order."""
    found = [Piece(region.coords) for region in regionprops(label(ink.mask))]
    found = [piece for piece in found if piece.longer > 1 and not _is_edge_or_line(piece, *ink.mask.shape)]
    if not any(piece.height >= SMALLEST for piece in found):
        return []
    usual = usual_size(found)
    found = _joined([piece for piece in found if piece.area > 0.002 * usual**2], usual)
    return [piece for piece in found if _is_digit(piece, usual)]


def table_of(pieces: Sequence[Piece]) -> pd.DataFrame:
    """Return the boxes of pieces, a row each: ``x``, ``y``, ``width``, ``height``."""
    return pd.DataFrame([[getattr(piece, name) for name in BOX] for piece in pieces], columns=BOX)


def usual_size(pieces: list[Piece]) -> float:
    """Return the height of which half of all ink is in lower pieces: specks are many but hold little ink."""
    ordered = sorted(pieces, key=lambda piece: piece.height)
    ink = np.cumsum([piece.area for piece in ordered])
    return float(ordered[int(np.searchsorted(ink, ink[-1] / 2))].height)


def halves(piece: Piece, usual: float) -> list[Piece]:
    """Cut a piece in two where least ink is, from top to bottom; empty if it isn't wide enough for two digits.

    Parameters
    ----------
    piece : Piece
        What may be two digits that touch.
    usual : float
        How high a digit of the page is; see `usual_size`.
    """
    if piece.width < 0.85 * max(usual, piece.height) or piece.height > 1.6 * usual:
        return []
    margin = round(0.2 * piece.width)
    # Deep in a stroke is dearer than at its edge: the cut goes across the narrowest bridge.
    inside = distance_transform_edt(np.pad(piece.mask, 1))[1:-1, 1:-1]
    cost = np.pad(0.05 + inside[:, margin:-margin], ((1, 1), (0, 0)), constant_values=0.01)
    path, _ = route_through_array(cost, (0, cost.shape[1] // 2), (cost.shape[0] - 1, cost.shape[1] // 2))
    rows, columns = np.transpose(path)
    seam = np.zeros(piece.height + 2, int)
    np.maximum.at(seam, rows, columns + margin)
    rows, columns = (piece.pixels - (piece.y, piece.x)).T
    left = columns <= seam[rows + 1]
    made = [Piece(piece.pixels[part]) for part in (left, ~left) if part.any()]
    return made if len(made) == 2 and min(half.height for half in made) > 0.5 * usual else []


def _is_edge_or_line(piece: Piece, height: int, width: int) -> bool:
    """Tell what touches the photo's edge (a shadow, a finger, half a digit), and ruled lines, which are long and thin."""
    inside = 0 < piece.x < width - piece.width and 0 < piece.y < height - piece.height
    return not inside or (piece.longer > 0.3 * max(height, width) and piece.area < 0.05 * piece.longer**2)


def _is_digit(piece: Piece, usual: float) -> bool:
    """Tell what has the size of a digit and isn't flat: a dash, a rest of a ruled line."""
    sized = max(SMALLEST, LOWEST * usual) <= piece.longer <= HIGHEST * usual and piece.height >= 0.3 * usual
    return sized and (piece.height >= 0.35 * usual or piece.height >= 0.45 * piece.width)


def _joined(pieces: list[Piece], usual: float) -> list[Piece]:
    """Join the parts of a digit, such as the bar of a 5, the smallest first."""
    todo, done = sorted(pieces, key=lambda piece: piece.area), []
    boxes = np.array(table_of(todo)[BOX])
    for number, part in enumerate(todo):
        near = number + 1 + np.flatnonzero(_may_join(boxes[number], boxes[number + 1 :].T, usual))
        gaps = ((KDTree(todo[place].pixels).query(part.pixels)[0].min(), place) for place in near)
        gap, other = min(gaps, default=(np.inf, -1))
        if gap <= NEAR * usual:
            todo[other] = Piece(np.concatenate([todo[other].pixels, part.pixels]))
            boxes[other] = table_of([todo[other]])
        else:
            done.append(part)
    return done


def _may_join(box: np.ndarray, others: np.ndarray, usual: float) -> np.ndarray:
    """Tell of which others a piece is near, the smaller of both being no whole digit, and both making one."""
    (x, y, wide, high), (left, top, widths, heights) = box, others
    width = np.maximum(x + wide, left + widths) - np.minimum(x, left)
    height = np.maximum(y + high, top + heights) - np.minimum(y, top)
    beside, above = width - wide - widths, height - high - heights
    near = (np.maximum(beside, above) <= NEAR * usual) & (width <= WIDEST * usual) & (height <= 1.45 * usual)
    # Parts of a digit mostly stand above one another; digits stand side by side.
    stacked = -beside > 0.5 * np.minimum(wide, widths)
    return near & (np.minimum(high, heights) < np.where(stacked, 0.75, 0.55) * usual)


STEEPEST = 14
"""Degrees by which lines of writing may rise or fall."""

STEP = 0.5
"""Degrees between the slopes that are tried."""

APART = 0.5
"""Digits whose middles differ by more than this share of their height, across the line, stand in two lines."""


def reading_order(boxes: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Give each digit the number of its line and its place in it.

    Every slope is tried; the best is where digits lie closest to the middle of
    their line, lines are few and the page is turned little.

    Parameters
    ----------
    boxes : pandas.DataFrame
        A row a digit: ``x``, ``y``, ``width``, ``height``.

    Returns
    -------
    boxes : pandas.DataFrame
        In reading order, each with its index, with ``line`` and ``position``, both from 1, in front.
    angle : float
        Degrees by which the lines fall towards the right, positive as the photo's rows count.
    """
    columns = ["line", "position", *boxes.columns]
    if boxes.empty:
        return boxes.assign(line=0, position=0)[columns], 0.0
    # As complex numbers, which a product turns: along the lines is real, across them is imaginary.
    middle = (boxes["x"] + boxes["width"] / 2) + 1j * (boxes["y"] + boxes["height"] / 2)
    middle = (middle / boxes["height"].median()).to_numpy()
    angle = min(
        np.arange(-STEEPEST, STEEPEST + STEP, STEP), key=lambda angle: _cost(_turned(middle, angle).imag, angle)
    )
    turned = _turned(middle, angle)
    lines = _lines(turned.imag)
    order = np.lexsort((turned.real, lines))
    ordered = boxes.iloc[order].assign(line=lines[order])
    ordered["position"] = ordered.groupby("line").cumcount() + 1
    return ordered[columns], float(angle)


def _turned(middle: np.ndarray, angle: float) -> np.ndarray:
    """Return places with lines that fall by `angle` degrees turned level."""
    return middle * np.exp(-1j * np.deg2rad(angle))


def _lines(across: np.ndarray) -> np.ndarray:
    """Return the number of each digit's line: a new one begins where there is a gap."""
    gaps = pd.Series(across).sort_values().diff() > APART
    return (1 + gaps.cumsum()).sort_index().to_numpy()


def _cost(across: np.ndarray, angle: float) -> float:
    """Return how badly a slope fits, in squared digit heights."""
    lines = pd.Series(across).groupby(_lines(across))
    # Digits that lie far from the middle of their line cost more than a further line would.
    within = float((across - lines.transform("mean")).pow(2).sum())
    return within + 0.15 * lines.ngroups + 0.0004 * angle**2 * len(across) ** 0.5
