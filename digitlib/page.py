"""A network as one HTML page with a pad to write on: it needs no server, no network and nothing installed."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from digitlib.backend import keras
from digitlib.card import facts
from digitlib.files import atomic
from digitlib.naming import dark_ink
from digitlib.pad import web_file
from digitlib.recipes import Recipe, load_recipe
from digitlib.runs import Run
from digitlib.split import class_names_of
from digitlib.webnet import plain_net

CHECKS = 3
"""Inputs whose answers by Keras stand in the page, for it to compare its own with."""


def write_page(run: Run, model: keras.Model, path: Path) -> Path:
    """Write a page that names what is written on it, the network inside.

    The page holds no address and a content security policy that allows its own script and style alone.

    Parameters
    ----------
    run : Run
        What the page tells of the network is taken from here.
    model : keras.Model
        In float32, of the layers that `digitlib.models` uses.
    path : pathlib.Path
        Where to; replaced if it is there.

    Returns
    -------
    pathlib.Path
        `path`.

    Raises
    ------
    DigitError
        If the network has a layer that the page can't compute, or the file can't be written.
    """
    net = plain_net(model)
    about = {
        "class_names": class_names_of(run),
        "input": _input(run, model, load_recipe(run)),
        "layers": net.layers,
        "check": model.predict_on_batch(check_inputs(model.input_shape[1:])).tolist(),
    }
    weights = np.concatenate([*net.weights, np.empty(0, np.float32)]).astype("<f4")
    script = "\n".join(
        ['"use strict";', *(web_file(f"{name}.js") for name in ("drawing", "form", "net", "page"))]
    )
    style = "\n" + web_file("pad.css") + web_file("page.css")
    rows = (
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in facts(run).items()
    )
    page = Template(web_file("page.html")).substitute(
        title=_title(about["class_names"]), script=script, script_hash=_hash(script), style=style,
        style_hash=_hash(style), facts="\n".join(rows), network=json.dumps(about).replace("<", "\\u003c"),
        weights=base64.b64encode(weights.tobytes()).decode(),
    )  # fmt: skip
    with atomic(path) as temporary:
        # Line ends as they are on every system: the hashes in the policy are of these bytes.
        temporary.write_text(page, encoding="utf-8", errors="replace", newline="\n")
    return path


def check_inputs(shape: tuple[int, int, int]) -> np.ndarray:
    """Return inputs that the page can make by itself, since it should hold nobody's pictures.

    Parameters
    ----------
    shape : tuple of int
        (height, width, channels).

    Returns
    -------
    numpy.ndarray
        float32, shape (3, height, width, channels), a pattern from 0 to 1.
    """
    i = np.arange(np.prod(shape))
    values = [(i * i * (k + 3) + 7 * i) % 256 / 255 for k in range(CHECKS)]
    return np.array(values, np.float32).reshape(CHECKS, *shape)


def _input(run: Run, model: keras.Model, recipe: Recipe) -> dict[str, Any]:
    """Say what the network takes, and how its training images were scaled."""
    height, width, channels = model.input_shape[1:]
    rescale = recipe.augmentation["rescale"]
    return {
        "height": height, "width": width, "channels": channels, "scale": 1 if rescale is None else rescale,
        "dark_ink": dark_ink(run),
    }  # fmt: skip


def _title(class_names: list[str]) -> str:
    return "Write a digit" if all(name.isdigit() for name in class_names) else "Write a character"


def _hash(text: str) -> str:
    """Return a text's hash as a content security policy takes it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
