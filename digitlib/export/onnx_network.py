"""A network that was exported to ONNX: it predicts with ONNX Runtime, where TensorFlow is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from digitlib.errors import DigitError, needs
from digitlib.files import StrPath, display_path, file_hash
from digitlib.run import Run

AGAIN = "export the run again with `digitlib export RUN --format onnx`"


class OnnxNetwork:
    """The network in an ONNX file, in the place of a Keras model in a `digitlib.evaluation.Classifier`.

    Parameters
    ----------
    path : pathlib.Path
        The file; ``NAME.onnx.json`` stands beside it, as `digitlib.evaluation.Classifier.export` writes both.

    Attributes
    ----------
    about : dict
        The content of ``NAME.onnx.json``: what is known of the training, and of a calibrated network its numbers.
    input_shape : tuple
        (None, height, width, channels).
    """

    def __init__(self, path: Path) -> None:
        run, name, arrays = Run(path.parent), f"{path.name}.json", f"{path.name}.npz"
        if (run / name).exists():
            self.about = run.read_json(name, "model.onnx.json")
        for file in (name, arrays):
            if not (run / file).exists() and (file == name or "temperature" in self.about):
                raise DigitError(f"{display_path(path)} has no {file} beside it, which belongs to it: {AGAIN}.")
        if self.about["model_sha256"] != file_hash(path):
            raise DigitError(f"{display_path(path)} is not the network that {name} belongs to: {AGAIN}.")
        try:
            self._session = open_session(path)
        except DigitError:
            raise
        except Exception as error:
            reason = str(error).strip().splitlines()[0][:150]  # ONNX Runtime's errors have no class in common
            raise DigitError(f"{display_path(path)} can't be loaded ({reason}): {AGAIN}.") from error
        given = self._session.get_inputs()[0]
        self.name, self._input = self.about["network"], given.name
        self.input_shape: tuple[Any, ...] = (None, *given.shape[1:])

    def predict_on_batch(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the probabilities and, if it was exported with an outlier detector, the features that this needs."""
        some = images if len(images) else np.zeros((1, *self.input_shape[1:]), np.float32)
        return [one[: len(images)] for one in self._session.run(None, {self._input: some})]

    def __call__(self, images: np.ndarray, **_: object) -> np.ndarray:
        """Return the probabilities; Keras takes options here."""
        return self.predict_on_batch(images)[0]


def open_session(path: StrPath) -> Any:
    """Return the session of ONNX Runtime for a file, on the processor; no code in the file is run."""
    with needs("an ONNX file"):
        import onnxruntime
    return onnxruntime.InferenceSession(Path(path).read_bytes(), providers=["CPUExecutionProvider"])
