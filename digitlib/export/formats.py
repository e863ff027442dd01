"""ONNX and LiteRT files of a network, each compared with Keras before it is kept."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from digitlib.errors import DigitError, did_you_mean, missing_extra
from digitlib.export.onnx_network import open_session
from digitlib.files import StrPath, atomic
from digitlib.training.backend import held_back, in_float32, keras

FORMATS = {"onnx": "model.onnx", "litert": "model.tflite", "html": "page.html"}
"""Formats and the names of their files."""

NEEDS = {"onnx": ("onnx", "tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",), "html": ("jinja2",)}
"""Modules of the extra ``digitlib[export]``."""

TOLERANCE = 1e-4
"""How far a probability may be from Keras's."""


def check_formats(formats: Iterable[str]) -> None:
    """Refuse formats that are unknown, or whose libraries are not installed.

    Examples
    --------
    >>> check_formats(["html"])
    """
    for name in formats:
        if name not in FORMATS:
            raise DigitError(f"there is no format {name!r}: {did_you_mean(name, FORMATS)}")
        missing = [module for module in NEEDS[name] if find_spec(module) is None]
        if missing:
            raise missing_extra(f"format {name!r}", "export", ModuleNotFoundError(name=missing[0]))


def export_network(model: keras.Model, format: str, path: Path, images: np.ndarray) -> float:
    """Write a network as ONNX or LiteRT and return the largest difference between its probabilities and Keras's.

    The file computes in float32 and takes what the model takes.

    Parameters
    ----------
    model : keras.Model
        Its first output are the probabilities; an ONNX file may have more.
    images : numpy.ndarray
        float32, shape (n, height, width, channels), as the network takes them: what both are compared on.

    Raises
    ------
    DigitError
        If the format is unknown or not installed, or a probability differs by more than 1e-4; nothing is written then.

    Examples
    --------
    >>> images = np.zeros((2, 8, 8, 1), np.float32)
    >>> export_network(model, "onnx", Path("model.onnx"), images) < 1e-4  # doctest: +SKIP
    True
    """
    check_formats([format])
    model = in_float32(model)
    expected = model.predict(images, batch_size=256, verbose=0)
    expected = expected if isinstance(expected, list) else [expected]
    with atomic(path) as temporary:
        with _without_chatter():
            model.export(str(temporary), format=format, verbose=False)  # Keras 3.13 takes no Path
        found = _outputs(temporary, images)
        # Features may be any number: what is above 1 is compared by its share.
        differences = [np.abs(a - b) / np.maximum(1, np.abs(b)) for a, b in zip(found, expected, strict=True)]
        difference = float(np.max([one.max() for one in differences]))
        if not difference <= TOLERANCE:  # NaN fails as well
            raise DigitError(
                f"the {format} file differs from Keras by up to {difference:.2g} in a probability ({TOLERANCE:g} is allowed), so "
                "it was not kept. Choose another format."
            )
    return difference


def run_exported(path: StrPath, images: np.ndarray) -> np.ndarray:
    """Return the probabilities that an ONNX or LiteRT file gives for images, float32, shape (n, classes).

    Parameters
    ----------
    images : numpy.ndarray
        float32, shape (n, height, width, channels), 0 to 255.

    Examples
    --------
    >>> run_exported("runs/default/export/model.onnx", images).argmax(axis=1)  # doctest: +SKIP
    """
    return _outputs(path, images)[0]


def _outputs(path: StrPath, images: np.ndarray) -> list[np.ndarray]:
    """Return all outputs of a file."""
    if Path(path).suffix == ".onnx":
        session = open_session(path)
        name, starts = session.get_inputs()[0].name, range(0, len(images), 100)
        parts = [session.run(None, {name: images[at : at + 100]}) for at in starts]
        return [np.concatenate(one) for one in zip(*parts, strict=True)]
    from ai_edge_litert.interpreter import Interpreter

    with _without_chatter():
        interpreter = Interpreter(model_content=Path(path).read_bytes())
        interpreter.allocate_tensors()
        (given,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
        rows = []
        for image in images:  # one at a time, as a phone does it
            interpreter.set_tensor(given["index"], image[None])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(returned["index"])[0])
    return [np.array(rows)]


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
