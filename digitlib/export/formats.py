"""A trained network taken elsewhere: ONNX, LiteRT, and a page for the browser; each with proof that it is the same."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from digitlib.errors import DigitError
from digitlib.evaluation.metrics import load_best_model
from digitlib.export.model_card import model_card
from digitlib.export.web_page import write_page
from digitlib.files import atomic, display_path, resolve
from digitlib.progress import progress
from digitlib.run import Run
from digitlib.training.backend import held_back, in_float32, keras
from digitlib.training.recipes import load_recipe
from digitlib.training.train import eval_generator

FORMATS = {"onnx": "model.onnx", "litert": "model.tflite", "html": "page.html"}
"""Formats and the names of their files."""

NEEDS = {"onnx": ("onnx", "tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",), "html": ()}
"""Modules of the extra ``digitlib[export]``."""

TOLERANCE = 1e-4
"""How far a probability may be from Keras's."""

IMAGES = 1000
"""Test images that both are asked about."""


def export_model(
    run: Run,
    folder: str | os.PathLike[str] | None = None,
    formats: Sequence[str] = tuple(FORMATS),
    html: str | os.PathLike[str] = "",
) -> pd.DataFrame:
    """Write a run's network in other formats, and a model card beside the network.

    ONNX and LiteRT are run on up to 1,000 test images and compared with Keras. The page compares itself with Keras's
    answers, in the browser that opens it.

    Parameters
    ----------
    run : Run
        Trained by notebook 05.
    folder : str or path-like, optional
        Where to; ``export/`` in the run by default.
    formats : sequence of {"onnx", "litert", "html"}
        Which.
    html : str or path-like, optional
        Another place and name for the page.

    Returns
    -------
    pandas.DataFrame
        A row a format: ``format``, ``file`` (as a person should see it), ``bytes``, ``images`` compared (0 for the
        page) and ``difference``, the largest between two probabilities (NaN for the page).

    Raises
    ------
    DigitError
        If a format is unknown, something it needs isn't installed, or its answers are not Keras's.
    """
    check_formats(formats)
    model, place = in_float32(load_best_model(run)), resolve(folder) if folder else run / "export"
    images = (
        _test_images(run) if set(formats) - {"html"} else np.empty((0, *model.input_shape[1:]), np.float32)
    )
    expected = model.predict(images, batch_size=256, verbose=0) if len(images) else np.empty(0)
    rows = []
    for name in progress(list(dict.fromkeys(formats)), len(set(formats)), "Exporting", "format"):
        file = resolve(html) if name == "html" and html else place / FORMATS[name]
        if name == "html":
            rows.append((name, write_page(run, model, file), 0, np.nan))
            continue
        with atomic(file) as temporary:  # what turns out to be wrong is not left behind
            _WRITERS[name](model, temporary)
            difference = _largest(_RUNNERS[name](temporary, images), expected, name)
        rows.append((name, file, len(images), difference))
    model_card(run)
    return pd.DataFrame(
        [
            (name, display_path(file), file.stat().st_size, n, difference)
            for name, file, n, difference in rows
        ],
        columns=["format", "file", "bytes", "images", "difference"],
    )


def export_files(run: Run, folder: str | None, formats: Sequence[str], html: str | None) -> Iterator[str]:
    """Export as the command line asks, and say what was written.

    Parameters
    ----------
    run, folder, html
        As of `export_model`.
    formats : sequence of str
        Empty for all that the network can be brought to, or for the page alone where `html` names it.

    Yields
    ------
    str
        A line a file.
    """
    ensemble = load_recipe(run).model == "ensemble"  # which the page can't compute
    wanted = [*formats, *(["html"] if html else [])] or [
        name for name in FORMATS if name != "html" or not ensemble
    ]
    for row in export_model(run, folder, wanted, html or "").itertuples():
        same = f", as Keras on {row.images:,} test images to {row.difference:.0e}" if row.images else ""
        yield f"{row.format:<6}  {row.file}  ({row.bytes / 1e6:.1f} MB{same})"
    yield f"card    {display_path(run / 'model_card.md')}"


def check_formats(formats: Sequence[str]) -> None:
    """Refuse formats that are unknown, or whose libraries are not installed.

    Raises
    ------
    DigitError
        Naming the choices, or what to install.
    """
    for name in formats:
        if name not in FORMATS:
            raise DigitError(f"there is no format {name!r}: choose from {', '.join(FORMATS)}.")
        missing = [module for module in NEEDS[name] if find_spec(module) is None]
        if missing:
            raise DigitError(
                f'format {name!r} needs {", ".join(missing)}: install with pip install "digitlib[export]", or choose '
                "another format, such as html, which needs nothing."
            )


def _test_images(run: Run) -> np.ndarray:
    """Return up to 1,000 test images, evenly over all classes, as the network takes them."""
    generator = eval_generator(run, load_recipe(run), "test")
    n, size = generator.samples, generator.batch_size
    wanted = np.linspace(0, n - 1, min(IMAGES, n)).round().astype(int)
    # Batch by batch: all test images at once may be larger than the memory.
    parts = [
        generator[number][0][wanted[wanted // size == number] % size] for number in np.unique(wanted // size)
    ]
    return np.concatenate(parts)


def _largest(found: np.ndarray, expected: np.ndarray, name: str) -> float:
    """Return the largest difference between probabilities, if it is small enough."""
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:
        raise DigitError(
            f"the {name} file answers otherwise than Keras: probabilities differ by up to {difference:.2g}, where "
            f"{TOLERANCE:g} is allowed. It was not kept; use another format."
        )
    return difference


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep quiet what the converters say about their own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), held_back():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _write_onnx(model: keras.Model, path: Path) -> None:
    model(np.zeros((1, *model.input_shape[1:]), np.float32))  # Keras exports what has been called once
    with _without_chatter():
        model.export(path, format="onnx", verbose=False)


def _write_litert(model: keras.Model, path: Path) -> None:
    with _without_chatter():
        model.export(str(path), format="litert", verbose=False)  # Keras 3.13 takes no Path


def run_onnx(path: Path, images: np.ndarray) -> np.ndarray:
    """Return what an ONNX file says of images.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    images : numpy.ndarray
        float32, shape (n, height, width, channels), as the network takes them.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, classes).
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [
        session.run(None, {name: images[start : start + 100]})[0] for start in range(0, len(images), 100)
    ]
    return np.concatenate(parts)


def run_litert(path: Path, images: np.ndarray) -> np.ndarray:
    """Return what a LiteRT file says of images; arguments as of `run_onnx`."""
    from ai_edge_litert.interpreter import Interpreter

    with _without_chatter():  # it tells which of its kernels it takes
        interpreter = Interpreter(model_content=path.read_bytes())
        interpreter.allocate_tensors()
        given, answer = (
            interpreter.get_input_details()[0]["index"],
            interpreter.get_output_details()[0]["index"],
        )
        rows = []
        for image in images:  # one at a time, as a phone does it
            interpreter.set_tensor(given, image[None])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(answer)[0])
    return np.array(rows)


_WRITERS: dict[str, Callable[[keras.Model, Path], None]] = {"onnx": _write_onnx, "litert": _write_litert}
_RUNNERS: dict[str, Callable[[Path, np.ndarray], np.ndarray]] = {"onnx": run_onnx, "litert": run_litert}
