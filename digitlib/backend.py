"""Keras, imported without the start-up chatter of TensorFlow under it.

TensorFlow's C++ parts write to the process's standard error before any log
level is read; in a notebook that would stand as a red box under the first cell.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

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


with held_back():
    import keras
    import tensorflow

    tensorflow.config.list_physical_devices()  # the search for a GPU has something to say as well

# TensorFlow warns of retracing where several networks are trained in one process; each of them is another function indeed.
logging.getLogger("tensorflow").addFilter(lambda record: "tf.function retracing" not in record.getMessage())

__all__ = ["held_back", "keras", "tensorflow"]
