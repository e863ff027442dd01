"""Keras, imported when it is first used, without the start-up chatter of TensorFlow under it.

TensorFlow's C++ parts write to the process's standard error before any log
level is read; in a notebook that would stand as a red box under the first cell.
"""

from __future__ import annotations

import logging
import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from digitlib.errors import needs

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextmanager
def held_back() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, and show it only if an error comes of it."""
    with tempfile.TemporaryFile() as store:
        own = os.dup(2)
        os.dup2(store.fileno(), 2)
        try:
            yield
        except BaseException:
            store.seek(0)
            os.write(own, store.read())
            raise
        finally:
            os.dup2(own, 2)
            os.close(own)


@cache
def _load() -> None:
    """Import both."""
    with needs("a Keras network"), held_back():
        import_module("keras")
        import_module("tensorflow").config.list_physical_devices()  # the search for a GPU has something to say as well
    # TensorFlow warns of retracing where several networks are trained in one process; each of them is another function indeed.
    logging.getLogger("tensorflow").addFilter(lambda record: "tf.function retracing" not in record.getMessage())


class _WhenUsed(ModuleType):
    """Stands for a module until something in it is needed: an export predicts where TensorFlow is not installed."""

    def __getattr__(self, name: str) -> Any:
        if name in ("__wrapped__", "__path__", "__file__", "__spec__"):  # asked for by who only looks
            raise AttributeError(name)
        _load()
        return getattr(import_module(self.__name__), name)


if TYPE_CHECKING:
    import keras
    import tensorflow
else:
    keras, tensorflow = _WhenUsed("keras"), _WhenUsed("tensorflow")

__all__ = ["held_back", "keras", "tensorflow"]


MIXED = "mixed_bfloat16"


def policy_of(precision: str) -> str:
    """Return the Keras dtype policy that a recipe's `precision` stands for on this machine.

    Parameters
    ----------
    precision : {"auto", "float32", "mixed_bfloat16"}
        "auto" is mixed only where that is known to gain: without the instructions for it, bfloat16 is emulated, and
        many times slower.

    Returns
    -------
    str
        "float32" or "mixed_bfloat16".
    """
    return (MIXED if _has_bfloat16() else "float32") if precision == "auto" else precision


@cache
def _has_bfloat16() -> bool:
    """Say whether TensorFlow computes on the processor, and this has dot products of bfloat16 (AVX-512 or AMX)."""
    from llvmlite.binding import get_host_cpu_features

    features = get_host_cpu_features()
    return not tensorflow.config.list_physical_devices("GPU") and any(
        features.get(name, False) for name in ("avx512bf16", "amx-bf16")
    )


def in_float32(model: keras.Model) -> keras.Model:
    """Return a network of Keras's own parts that computes in float32 with the same weights: the same one if it is that.

    Weights are float32 in either case; a copy is what may be taken to machines without bfloat16, and without digitlib.

    Parameters
    ----------
    model : keras.Model
        Any network, compiled or not. A copy of one that trained with an optimizer of digitlib's is compiled with SGD.

    Returns
    -------
    keras.Model
    """
    description = model.to_json()
    ours = model.compiled and type(model.optimizer).__module__.startswith("digitlib")
    if MIXED not in description and not ours:
        return model
    state = random.getstate()  # a new network draws seeds from it, and a training that goes on makes one copy more
    twin = keras.models.model_from_json(description.replace(MIXED, "float32"))
    random.setstate(state)
    twin.set_weights(model.get_weights())
    if model.compiled:
        config = model.get_compile_config()
        twin.compile_from_config(config | {"optimizer": "sgd"} if ours else config)
    return twin
