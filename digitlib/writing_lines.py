"""The order in which people read: lines from top to bottom, each from left to right, on a turned page too."""

from __future__ import annotations

import numpy as np
import pandas as pd

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
        In reading order, with ``line`` and ``position``, both from 1, in front.
    angle : float
        Degrees by which the lines fall towards the right, positive as the photo's rows count.
    """
    if boxes.empty:
        return boxes.assign(line=0, position=0).pipe(_in_front), 0.0
    middle = (boxes[["x", "y"]].to_numpy() + boxes[["width", "height"]].to_numpy() / 2).astype(float)
    height = float(boxes["height"].median())
    angles = np.arange(-STEEPEST, STEEPEST + STEP, STEP)
    costs = [_cost(middle / height, angle) for angle in angles]
    angle = float(angles[int(np.argmin(costs))])
    along, across = _turned(middle / height, angle)
    lines = _lines(across)
    order = np.lexsort((along, lines))
    ordered = boxes.iloc[order].assign(line=lines[order])
    ordered["position"] = ordered.groupby("line").cumcount() + 1
    return _in_front(ordered), angle


def _in_front(boxes: pd.DataFrame) -> pd.DataFrame:
    first = ["line", "position"]
    return boxes[first + [name for name in boxes if name not in first]].reset_index(drop=True)


def _turned(middle: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Return places along and across lines that fall by `angle` degrees."""
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    x, y = middle.T
    return x * cosine + y * sine, y * cosine - x * sine


def _lines(across: np.ndarray) -> np.ndarray:
    """Return the number of each digit's line: a new one begins where there is a gap."""
    order = np.argsort(across, kind="stable")
    lines = np.empty(len(across), int)
    lines[order] = 1 + np.concatenate([[0], np.cumsum(np.diff(across[order]) > APART)])
    return lines


def _cost(middle: np.ndarray, angle: float) -> float:
    """Return how badly a slope fits, in squared digit heights."""
    _, across = _turned(middle, angle)
    lines = pd.Series(across).groupby(_lines(across))
    # Digits that lie far from the middle of their line cost more than a further line would.
    within = float((across - lines.transform("mean")).pow(2).sum())
    return within + 0.15 * lines.ngroups + 0.0004 * angle**2 * len(across) ** 0.5
