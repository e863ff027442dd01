"""Progress bars that appear where somebody is looking, and nowhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def watched() -> bool:
    """Tell whether a person sees the output: a terminal, or a notebook that is not run headless."""
    if os.environ.get("TQDM_DISABLE"):
        return False
    return "ipykernel" in sys.modules or sys.stderr.isatty()


def bar(total: int | None, what: str, unit: str = "image", **options: Any) -> tqdm:
    """Return a tqdm bar that shows itself after two seconds and leaves no trace.

    Parameters
    ----------
    total : int or None
        Number of units to come, if it is known.
    what : str
        The words before the bar, such as ``"Reading images"``.
    unit : str
        Name of one unit.
    **options
        Further arguments of `tqdm.tqdm`.

    Returns
    -------
    tqdm.tqdm
        Disabled when nobody watches (see `watched`), and in a notebook below another bar.
    """
    # In a notebook standard error is shown on red: use standard output there.
    stream = sys.stdout if "ipykernel" in sys.modules else sys.stderr
    options = {"delay": 2, "leave": False, "unit_scale": unit == "image", "dynamic_ncols": True} | options
    made = tqdm(total=total, desc=what, unit=f" {unit}", file=stream, disable=not watched(), **options)
    if made.pos and stream is sys.stdout:  # below another one, which JupyterLab would not clear away
        made.close()
    return made


def progress(items: Iterable[Item], total: int | None, what: str, unit: str = "image") -> Iterator[Item]:
    """Yield `items`, one step of a `bar` each."""
    with bar(total, what, unit) as shown:
        for item in items:
            yield item
            shown.update()


@contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for this process and those it starts, and put back what was there.

    Examples
    --------
    >>> with environment({"TQDM_DISABLE": "1"}):
    ...     watched()
    False
    """
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
