"""The one exception that a user of digitlib is meant to read, and the checks of values that lead to it."""

from __future__ import annotations

import difflib
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from numbers import Integral, Real
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import lazy_loader

EXTRAS = {
    "train": "keras matplotlib numba scipy skimage sklearn tensorflow threadpoolctl",
    "notebooks": "IPython anywidget jinja2 jupyter_client jupyter_core markupsafe mlxtend nbclient nbconvert nbformat papermill "
    "seaborn traitlets",
    "predict": "onnxruntime",
    "labels": "cleanlab cleanvision",
    "export": "ai_edge_litert onnx tf2onnx",
    "scale": "bokeh dask distributed fsspec optuna pyarrow s3fs yaml",
    "track": "mlflow tensorboard",
}
"""The modules that each extra of ``pyproject.toml`` brings."""


class DigitError(Exception):
    """Something the user can fix: one sentence that says what is wrong and what to do.

    Jupyter shows the sentence without a traceback; the command line prints it and exits with status 1.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def require(name: str, value: Any, ok: bool, what: str) -> None:
    """Raise a `DigitError` unless a value is `ok`: ``epochs is 0: it must be an integer ≥ 1.``."""
    if not ok:
        raise DigitError(f"{name} is {value!r}: it must be {what}.")


def missing_extra(what: str, extra: str, error: Exception | None = None) -> DigitError:
    """Return the error for a module that is not installed, with the command that installs the extra that brings it here.

    Examples
    --------
    >>> raise missing_extra("tracking with MLflow", "track")  # doctest: +SKIP
    """
    module = (getattr(error, "name", None) or "what it needs").partition(".")[0]
    python = "python" if shutil.which("python") == sys.executable else sys.executable
    python = f'"{python}"' if " " in python else python
    return DigitError(f"For {what}, install {module}: {python} -m pip install {_source(extra)}")


def _source(extra: str, package: Path = Path(__file__).parent) -> str:
    """Return what pip is told to install: this checkout, or where digitlib came from (PEP 610), else its name."""
    if (package.parent / "pyproject.toml").is_file():
        return f'-e "{package.parent}[{extra}]"'
    try:
        origin = json.loads(distribution("digitlib").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        origin = {}
    url = origin.get("url", "")
    if url.startswith("file:"):
        # It needs sockets, which Python 3.13 can't load in a folder that was removed.
        from urllib.request import url2pathname

        return f'"{url2pathname(urlsplit(url).path)}[{extra}]"'
    scheme = f"{origin['vcs_info']['vcs']}+" if "vcs_info" in origin else ""
    return f'"digitlib[{extra}] @ {scheme}{url}"' if url else f'"digitlib[{extra}]"'


@contextmanager
def needs(what: str) -> Iterator[None]:
    """Say in one sentence which module is not installed, if an extra brings it, and how to get it.

    Examples
    --------
    >>> with needs("Parquet files"):
    ...     import pyarrow
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        for extra, modules in EXTRAS.items():
            if module in modules.split():
                raise missing_extra(what, extra, error) from error
        raise


def lazy_names(package: str, **names: list[str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a chapter, whose names load when they are first used."""
    get, listed, every = lazy_loader.attach(package, submod_attrs=names)

    def explained(name: str) -> Any:
        with needs(f"{package}.{name}"):
            return get(name)

    return explained, listed, every


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return the known name nearest to an unknown one as a question, or the list of all."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, 1)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names)}."


def is_whole(value: Any) -> bool:
    """Tell whether a value is an integer, NumPy's too, but not True or False."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number, but not True or False."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def as_size(image_size: Any) -> tuple[int, int]:
    """Return an image size as (height, width) in pixels; one number makes a square."""
    sides = (image_size, image_size) if is_whole(image_size) else image_size
    ok = isinstance(sides, Sequence) and len(sides) == 2 and all(is_whole(side) and side > 0 for side in sides)
    require("image_size", image_size, ok, "one side or (height, width) in pixels, for example 28")
    return int(sides[0]), int(sides[1])
