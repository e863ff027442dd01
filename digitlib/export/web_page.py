"""A network as one HTML page with a pad to write on: it needs no server, no network and nothing installed."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from digitlib.data.split import class_names_of, dark_on_light
from digitlib.errors import DigitError
from digitlib.export.model_card import facts
from digitlib.files import atomic
from digitlib.run import Run
from digitlib.training.backend import keras
from digitlib.training.models import IDLE_LAYERS
from digitlib.training.recipes import Recipe, load_recipe

CHECKS = 3
"""Inputs whose answers by Keras stand in the page, for it to compare its own with."""


WEB = Path(__file__).parents[1] / "handwriting" / "web"
"""What the page shares with the drawing pad."""


def web_file(name: str) -> str:
    """Return the text of a file in ``digitlib/handwriting/web``."""
    return (WEB / name).read_text(encoding="utf-8")


def write_page(run: Run, model: keras.Model, path: Path) -> Path:
    """Write a page that names what is written on it, the network inside.

    The page holds no address and a content security policy that allows its own script and style alone.

    Parameters
    ----------
    run : Run
        What the page tells of the network is taken from here.
    model : keras.Model
        In float32, of the layers that `digitlib.training.models` uses.
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
        "dark_on_light": dark_on_light(run),
    }  # fmt: skip


def _title(class_names: list[str]) -> str:
    return "Write a digit" if all(name.isdigit() for name in class_names) else "Write a character"


def _hash(text: str) -> str:
    """Return a text's hash as a content security policy takes it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


ACTIVATIONS = ("linear", "relu", "softmax")


@dataclass
class PlainNet:
    """What a browser needs to compute a network.

    Attributes
    ----------
    layers : list of dict
        ``kind`` ("conv", "max_pool", "average", "flatten", "dense" or "activation") and its settings; ``weights`` and
        ``bias`` are places in the array of weights.
    weights : list of numpy.ndarray
        float32, one-dimensional, to be joined in this order.
    """

    layers: list[dict[str, Any]] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)

    def store(self, values: np.ndarray) -> int:
        """Append weights and return the place where they begin."""
        place = sum(part.size for part in self.weights)
        self.weights.append(np.ascontiguousarray(values, np.float32).ravel())
        return place


def plain_net(model: keras.Model) -> PlainNet:
    """Return the layers of a network, batch normalisation folded into the convolutions before it.

    Parameters
    ----------
    model : keras.Sequential
        Of the layers that `digitlib.training.models` uses.

    Returns
    -------
    PlainNet

    Raises
    ------
    DigitError
        Naming the first layer that the page can't compute.
    """
    if not isinstance(model, keras.Sequential):
        raise DigitError(
            f"the page computes networks of one layer after another, and {model.name!r} is none. Export to ONNX or LiteRT, "
            "which take any layer."
        )
    net = PlainNet()
    layers = [layer for layer in model.layers if not isinstance(layer, IDLE_LAYERS)]
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, keras.layers.BatchNormalization):
            continue  # done with the layer before it
        norm = following if isinstance(following, keras.layers.BatchNormalization) else None
        if norm is not None and not _is_foldable(layer):
            raise _unknown(norm, "it doesn't follow a convolution or dense layer without activation")
        writer = _WRITERS.get(type(layer))
        if writer is None:
            raise _unknown(layer, f"it is a {type(layer).__name__}")
        net.layers.append(writer(net, layer, norm))
    if layers and isinstance(layers[0], keras.layers.BatchNormalization):
        raise _unknown(layers[0], "it doesn't follow a convolution or dense layer without activation")
    return net


def _is_foldable(layer: keras.layers.Layer) -> bool:
    weighted = isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))
    return weighted and keras.activations.serialize(layer.activation) == "linear"


def _unknown(layer: keras.layers.Layer, reason: str) -> DigitError:
    return DigitError(
        f"the page can't compute the layer {layer.name!r}: {reason}. Export to ONNX or LiteRT, which take any layer."
    )


def _activation(layer: keras.layers.Layer) -> str:
    name = str(keras.activations.serialize(layer.activation))
    if name not in ACTIVATIONS:
        raise _unknown(layer, f"its activation is {name}")
    return name


def _weights(net: PlainNet, layer: Any, norm: Any) -> dict[str, Any]:
    """Store kernel and bias, scaled and shifted as the batch normalisation behind the layer does."""
    kernel = np.asarray(layer.kernel, np.float64)
    bias = np.asarray(layer.bias, np.float64) if layer.use_bias else np.zeros(kernel.shape[-1])
    if norm is not None:
        scale = 1 / np.sqrt(np.asarray(norm.moving_variance, np.float64) + norm.epsilon)
        scale = scale * np.asarray(norm.gamma) if norm.scale else scale
        shift = np.asarray(norm.beta, np.float64) if norm.center else 0.0
        kernel, bias = kernel * scale, (bias - np.asarray(norm.moving_mean)) * scale + shift
    return {"weights": net.store(kernel), "bias": net.store(bias), "activation": _activation(layer)}


def _conv(net: PlainNet, layer: Any, norm: Any) -> dict[str, Any]:
    if layer.groups != 1 or set(layer.dilation_rate) != {1} or layer.data_format != "channels_last":
        raise _unknown(layer, "it has groups, dilation or channels first")
    return {
        "kind": "conv", "filters": layer.filters, "kernel": list(layer.kernel_size), "strides": list(layer.strides),
        "padding": layer.padding, **_weights(net, layer, norm),
    }  # fmt: skip


def _max_pool(net: PlainNet, layer: Any, norm: Any) -> dict[str, Any]:
    size, strides = list(layer.pool_size), list(layer.strides)
    return {"kind": "max_pool", "size": size, "strides": strides, "padding": layer.padding}


def _relu(net: PlainNet, layer: Any, norm: Any) -> dict[str, Any]:
    if layer.max_value is not None or layer.negative_slope or layer.threshold:
        raise _unknown(layer, "it is a ReLU with limits of its own")
    return {"kind": "activation", "activation": "relu"}


_WRITERS: dict[type, Any] = {
    keras.layers.Conv2D: _conv,
    keras.layers.Dense: lambda net, layer, norm: {
        "kind": "dense",
        "units": layer.units,
        **_weights(net, layer, norm),
    },
    keras.layers.MaxPooling2D: _max_pool,
    keras.layers.GlobalAveragePooling2D: lambda net, layer, norm: {"kind": "average"},
    keras.layers.Flatten: lambda net, layer, norm: {"kind": "flatten"},
    keras.layers.ReLU: _relu,
    keras.layers.Activation: lambda net, layer, norm: {
        "kind": "activation",
        "activation": _activation(layer),
    },
}
