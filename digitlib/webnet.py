"""A Keras network as a list of plain layers and one array of weights, for ``web/net.js``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from digitlib.backend import keras
from digitlib.errors import DigitError
from digitlib.joining import IDLE_LAYERS

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
        Of the layers that `digitlib.models` uses.

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
