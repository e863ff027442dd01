"""A network as one HTML page with a pad to write on: it needs no server, no network and nothing installed."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from digitlib.errors import DigitError, needs
from digitlib.export.model_card import are_digits
from digitlib.files import atomic
from digitlib.training.backend import in_float32, keras

CHECKS = 3
"""Inputs whose probabilities by Keras stand in the page, for it to compare its own with."""

WEB = Path(__file__).parents[1] / "handwriting" / "web"

IDLE = (keras.layers.InputLayer, keras.layers.Dropout)
"""Layers that do nothing when a trained network predicts."""


def write_page(
    model: keras.Model,
    class_names: Sequence[str],
    path: Path,
    *,
    facts: Mapping[str, str] | None = None,
    dark_on_light: bool = False,
) -> Path:
    """Write a page that classifies what is drawn on it, with the network inside; return its path.

    The page loads nothing, and its content security policy allows its own script and style alone.

    Parameters
    ----------
    model : keras.Model
        From pixels of 0 to 255 to one probability a class, one layer after another.
    facts : mapping of str to str, optional
        What the page tells of the network, as from `digitlib.export.model_card.page_facts`.
    dark_on_light : bool
        Whether the network was trained on dark ink on light paper.

    Raises
    ------
    DigitError
        If the network has a layer that the page can't compute; nothing is written then.

    Examples
    --------
    >>> write_page(model, ["0", "1"], Path("page.html"))  # doctest: +SKIP
    """
    with needs("an HTML page"):
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup

    model = in_float32(model)
    net = plain_net(model)
    height, width, channels = model.input_shape[1:]
    network = {
        "class_names": list(class_names),
        "input": {"height": height, "width": width, "channels": channels, "dark_on_light": dark_on_light},
        "layers": net.layers,
        "check": model.predict_on_batch(check_inputs((height, width, channels))).tolist(),
    }
    weights = np.concatenate([*net.weights, np.empty(0, np.float32)]).astype("<f4")
    names = ("drawing.js", "form.js", "net.js", "page.js")
    script = "\n".join(['"use strict";', *((WEB / name).read_text("utf-8") for name in names)])
    style = "\n" + (WEB / "pad.css").read_text("utf-8") + (WEB / "page.css").read_text("utf-8")
    templates = Environment(loader=FileSystemLoader(WEB), autoescape=True, undefined=StrictUndefined)
    page = templates.get_template("page.html").render(
        kind="digit" if are_digits(class_names) else "character", facts=facts or {},
        script=Markup(script), script_hash=_hash(script), style=Markup(style), style_hash=_hash(style),
        network=Markup(json.dumps(network).replace("<", "\\u003c")), weights=base64.b64encode(weights.tobytes()).decode(),
    )  # fmt: skip
    with atomic(path) as temporary:
        # Line ends as they are on every system: the hashes in the policy are of these bytes.
        temporary.write_text(page, encoding="utf-8", errors="replace", newline="\n")
    return path


def check_inputs(shape: tuple[int, int, int]) -> np.ndarray:
    """Return inputs that the page can make by itself, a pattern from 0 to 255: float32, shape (3, *shape).

    Examples
    --------
    >>> check_inputs((1, 2, 1)).ravel().tolist()
    [0.0, 10.0, 0.0, 11.0, 0.0, 12.0]
    """
    i = np.arange(np.prod(shape))
    values = [(i * i * (k + 3) + 7 * i) % 256 for k in range(CHECKS)]
    return np.array(values, np.float32).reshape(CHECKS, *shape)


def _hash(text: str) -> str:
    """Return a text's hash as a content security policy takes it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@dataclass
class PlainNet:
    """What a browser needs to compute a network.

    Attributes
    ----------
    layers : list of dict
        ``kind`` and the settings that ``net.js`` reads; ``weights`` and ``bias`` are places in the array of weights.
    weights : list of numpy.ndarray
        float32, one-dimensional, to be joined in this order.

    Examples
    --------
    >>> PlainNet().layers
    []
    """

    layers: list[dict[str, Any]] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)

    def store(self, values: np.ndarray) -> int:
        """Append weights and return the place where they begin."""
        place = sum(part.size for part in self.weights)
        self.weights.append(np.ascontiguousarray(values, np.float32).ravel())
        return place


def plain_net(model: keras.Model) -> PlainNet:
    """Return the layers of a network, batch normalization folded into the convolution or dense layer before it.

    Raises
    ------
    DigitError
        Naming the first layer that the page can't compute.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    >>> [layer["kind"] for layer in plain_net(model).layers]
    ['flatten', 'dense']
    """
    if not isinstance(model, keras.Sequential):
        raise DigitError(
            f"the page computes Sequential networks, and {model.name!r} is not one. Export to ONNX or LiteRT, which take any layer."
        )
    net = PlainNet()
    layers = [layer for layer in model.layers if not isinstance(layer, IDLE)]
    while layers:
        layer, norm = layers.pop(0), None
        linear = isinstance(layer, keras.layers.Conv2D | keras.layers.Dense) and _activation(layer) == "linear"
        if linear and layers and isinstance(layers[0], keras.layers.BatchNormalization):
            norm = layers.pop(0)
        if type(layer) not in _WRITERS:
            where = " that follows no linear layer" if isinstance(layer, keras.layers.BatchNormalization) else ""
            raise _unknown(layer, f"a {type(layer).__name__}{where}")
        net.layers.append(_WRITERS[type(layer)](net, layer, norm))
    return net


def _unknown(layer: keras.layers.Layer, what: str) -> DigitError:
    return DigitError(
        f"the page can't compute the layer {layer.name!r} ({what}). Export to ONNX or LiteRT, which take any layer."
    )


def _activation(layer: keras.layers.Layer) -> str:
    name = str(keras.activations.serialize(layer.activation))
    if name not in ("linear", "relu", "softmax"):
        raise _unknown(layer, f"activation {name}")
    return name


def _weights(net: PlainNet, layer: Any, norm: Any) -> dict[str, Any]:
    """Store kernel and bias, scaled and shifted as the batch normalization after the layer does."""
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
        raise _unknown(layer, "groups, dilation or channels first")
    return {
        "kind": "conv", "filters": layer.filters, "kernel": list(layer.kernel_size), "strides": list(layer.strides),
        "padding": layer.padding, **_weights(net, layer, norm),
    }  # fmt: skip


def _dense(net: PlainNet, layer: Any, norm: Any) -> dict[str, Any]:
    if len(layer.input.shape) != 2:
        raise _unknown(layer, "a Dense on an image, without a Flatten before it")
    return {"kind": "dense", "units": layer.units, **_weights(net, layer, norm)}


def _relu(net: PlainNet, layer: Any, norm: Any) -> dict[str, Any]:
    if layer.max_value is not None or layer.negative_slope or layer.threshold:
        raise _unknown(layer, "a ReLU with limits of its own")
    return {"kind": "activation", "activation": "relu"}


def _rescale(net: PlainNet, layer: Any, norm: Any) -> dict[str, Any]:
    if np.ndim(layer.scale) or np.ndim(layer.offset):
        raise _unknown(layer, "a Rescaling with another factor for each channel")
    return {"kind": "rescale", "scale": float(layer.scale), "offset": float(layer.offset)}


_WRITERS: dict[type, Any] = {
    keras.layers.Rescaling: _rescale,
    keras.layers.Conv2D: _conv,
    keras.layers.Dense: _dense,
    keras.layers.MaxPooling2D: lambda net, layer, norm: {
        "kind": "max_pool", "size": list(layer.pool_size), "strides": list(layer.strides), "padding": layer.padding,
    },
    keras.layers.GlobalAveragePooling2D: lambda net, layer, norm: {"kind": "average"},
    keras.layers.Flatten: lambda net, layer, norm: {"kind": "flatten"},
    keras.layers.ReLU: _relu,
    keras.layers.Activation: lambda net, layer, norm: {"kind": "activation", "activation": _activation(layer)},
    keras.layers.Softmax: lambda net, layer, norm: {"kind": "activation", "activation": "softmax"},
}  # fmt: skip
