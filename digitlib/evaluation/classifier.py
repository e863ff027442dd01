"""`Classifier`: a trained network with all that is needed to use it."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from digitlib.data.class_counts import AnyRun, split_counts
from digitlib.data.datasets import find_inputs
from digitlib.data.decoding import Decoded, as_pil, as_uint8, decoded, enlarged, read_files, resized, rims_are_light
from digitlib.data.split import dark_on_light
from digitlib.errors import DigitError, require
from digitlib.evaluation.calibration import apply_temperature, fit_temperature
from digitlib.evaluation.explain import grad_cam, has_convolution, occlusion
from digitlib.evaluation.out_of_distribution import OutlierDetector, draw_own_and_other, feature_extractor
from digitlib.evaluation.selective import PRIOR_ERRORS, SelectiveClassifier, check_target, threshold_for
from digitlib.evaluation.statistics import wilson_interval
from digitlib.export.formats import FORMATS, check_formats, export_network
from digitlib.export.model_card import card_text, page_facts
from digitlib.export.onnx_network import OnnxNetwork
from digitlib.files import StrPath, atomic, display_path, file_hash, make_folder, resolve, write_json
from digitlib.progress import progress
from digitlib.run import CALIBRATION, Run, check_training, open_run
from digitlib.training.backend import in_float32, keras

if TYPE_CHECKING:  # an export predicts without Keras, SciPy, scikit-learn and numba, which take seconds to load
    from digitlib.training.generators import ImageBatches


BATCH, SET_BATCH = 1024, 250
"""Images that are decoded at a time, and taken at a time from a run's sets; memory does not grow with the source."""

KNOWN = 12_000
"""Training images that the `OutlierDetector` is learned from at most."""


@dataclass(frozen=True)
class Evaluation:
    """How good a network is on labelled images.

    Attributes
    ----------
    metrics : dict
        ``images``, ``loss`` (mean cross-entropy), ``accuracy`` with ``accuracy_low`` and ``accuracy_high`` (95 % Wilson
        interval); once calibrated also ``coverage`` and ``accepted_accuracy`` with its interval.
    predictions : pandas.DataFrame
        ``filename``, ``true``, ``predicted`` (class names), ``confidence``, ``correct``; once calibrated also what
        `SelectiveClassifier.judge` returns.

    Examples
    --------
    >>> Classifier.load("runs/mine").evaluate("test").predictions.query("not correct")  # doctest: +SKIP
    """

    metrics: dict[str, Any]
    predictions: pd.DataFrame


class Classifier:
    """A trained Keras model with its class names, ready to predict.

    Parameters
    ----------
    model : keras.Model
        Any model from images (height, width, 1 or 3 channels) to one probability a class.
    class_names : sequence of str
        In the order of the outputs.
    rescale : float
        Factor on pixels of 0 to 255 that the model was trained with, for example 1/255. A `Rescaling` layer with it is
        put in front, so that everything that is saved or exported takes 0 to 255.
    run : Run or path, optional
        The run that trained it, for ``evaluate("test")`` and the record of the training.

    Attributes
    ----------
    image_size : tuple of int
        (height, width) of the model's input.
    color_mode : {"grayscale", "rgb"}
    resize : {"squeeze", "pad", "crop"}
        How images of another aspect ratio are brought to that of the input, as the network was trained.
    selective : SelectiveClassifier or None
        What decides which predictions are accepted, once calibrated.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    >>> Classifier(model, ["0", "1"]).predict(np.zeros((3, 8, 8), np.uint8))["filename"].tolist()
    ['0', '1', '2']
    """

    def __init__(
        self, model: keras.Model, class_names: Sequence[str], *, rescale: float = 1.0, run: AnyRun | None = None
    ) -> None:
        self.class_names = [str(name) for name in class_names]
        shape = getattr(model, "input_shape", None)
        if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] not in (1, 3) or None in shape[1:]:
            raise DigitError(
                f"the model takes inputs of shape {shape}: it must be (None, height, width, 1 or 3). Begin it "
                "with keras.Input((height, width, 1)) and, where needed, a Reshape layer."
            )
        if not isinstance(model, OnnxNetwork):
            model = in_float32(model) if rescale == 1 else _rescaled(in_float32(model), rescale)
        self.model: Any = model
        self.image_size: tuple[int, int] = shape[1:3]
        self.color_mode: Literal["grayscale", "rgb"] = "rgb" if shape[3] == 3 else "grayscale"
        self.resize = "squeeze"
        self.run = None if run is None else open_run(run)
        blank = np.asarray(self.model(np.zeros((1, *shape[1:]), np.float32), training=False))
        if blank.shape != (1, len(self.class_names)):
            raise DigitError(
                f"the model has outputs of shape {blank.shape[1:]} for {len(self.class_names)} class names: "
                "there must be one output a class."
            )
        if blank.min() < 0 or not np.isclose(blank.sum(), 1, atol=1e-2):
            raise DigitError("the model's outputs are not probabilities: end it with a softmax activation.")
        self.selective: SelectiveClassifier | None = None
        self._extractor: Any = None

    @classmethod
    def load(cls, path: AnyRun, class_names: Sequence[str] | None = None) -> Self:
        """Return the classifier of a run's folder, a saved ``.keras`` file or an export; no code in the file is run.

        Parameters
        ----------
        path : Run or path-like
            A run, its folder, what `save` wrote, a model file, or the folder or ``.onnx`` file that `export` wrote, which
            predicts without TensorFlow.
        class_names : sequence of str, optional
            Needed for a model file that has no ``training.json`` beside it.

        Raises
        ------
        DigitError
            If there is no network, it is damaged, or the run has been split otherwise since.
        """
        place = path.folder if isinstance(path, Run) else resolve(path)
        if not place.exists():
            raise DigitError(
                f"{display_path(place)!r} doesn't exist: give a run's folder or a .keras file, "
                "or run notebook 05_training_history.ipynb first."
            )
        file = network_file(place)
        if file.suffix == ".onnx":
            return cls._load_export(file, class_names)
        run, own, rescale = Run(file.parent), file.name == "best_model.keras", 1.0
        run.require(file.name)
        if own:
            check_training(run)
        record = run.read_json("training.json") if (run / "training.json").exists() else {}
        if record:
            class_names = class_names or record["class_names"]
            # A generator with a rescale of its own trained it on other values; `save` has put this into the network.
            rescale = record.get("rescale") or (record.get("augmentation") or {}).get("rescale") or 1.0
            if own and (run / "source.json").exists() and run.class_names != record["class_names"]:
                raise DigitError(
                    f"source.json and training.json of {run} have different classes: train again with notebook 05."
                )
        elif (run / "source.json").exists():  # a run of version 1, whose networks take 0 to 1
            class_names = class_names or run.class_names
            rescale = run.read_json("recipe.json").get("augmentation", {}).get("rescale") or 1.0
        if not class_names:
            raise DigitError(f"the class names of {display_path(file)} are unknown: give class_names=[…].")
        loaded = cls(_load_model(file), class_names, rescale=rescale, run=run if own else None)
        loaded.resize = record.get("resize", "squeeze")
        loaded.selective = SelectiveClassifier.load(run.folder) if own else None
        if loaded.selective and loaded.selective.outliers:
            loaded._extractor = feature_extractor(loaded.model)
        return loaded

    @classmethod
    def _load_export(cls, file: Path, class_names: Sequence[str] | None) -> Self:
        network: Any = OnnxNetwork(file)
        loaded = cls(network, class_names or network.about["class_names"])
        loaded.resize = network.about.get("resize", "squeeze")
        if "temperature" in network.about:
            loaded.selective = SelectiveClassifier.from_numbers(network.about, file.with_name(f"{file.name}.npz"))
            loaded._extractor = network if loaded.selective.outliers else None
        return loaded

    def _require_keras(self, what: str) -> None:
        if isinstance(self.model, OnnxNetwork):
            raise DigitError(f"an export can only predict, not {what}: load the run's folder or its best_model.keras.")

    def __repr__(self) -> str:
        """Say what it is in one line."""
        kind = f"{len(self.class_names)} classes, {' × '.join(map(str, self.image_size))} {self.color_mode}"
        return f"<Classifier {self.model.name}: {kind}{', calibrated' if self.selective else ''}>"

    def predict(self, source: Any, top: int = 3) -> pd.DataFrame:
        """Predict the classes of images.

        Parameters
        ----------
        source
            A path, folder, zip archive, pattern or list of paths; a PIL image; an array of shape (n, h, w), (n, h, w,
            1 or 3), (h, w) or (h, w, 1 or 3), uint8 or float from 0 to 1. Other sizes and colours are converted.
        top : int
            How many classes to return for each image, the most likely first.

        Returns
        -------
        pandas.DataFrame
            ``filename`` (of an array the index), ``label``, ``confidence`` (0 to 1, NaN if unreadable), ``reason`` (why
            a file can't be read, else empty), once calibrated ``accepted`` (bool), then ``label_2``,
            ``confidence_2`` …

        Raises
        ------
        DigitError
            If there is no such source, or an array is of another dtype, range or rank.
        """
        return pd.concat(self.predict_batches(source, top), ignore_index=True)

    def predict_batches(self, source: Any, top: int = 3) -> Iterator[pd.DataFrame]:
        """Yield the rows of `predict` for 1,024 images at a time, while the next files are being decoded."""
        names, decoded = self._read(source)
        for number, batch in enumerate(_in_batches(progress(decoded, len(names), "Predicting"))):
            table = self.predict_decoded(batch, top)
            table.insert(0, "filename", names[number * BATCH : (number + 1) * BATCH])
            yield table

    def predict_decoded(self, decoded: Sequence[Decoded], top: int = 3) -> pd.DataFrame:
        """Return the columns of `predict` but ``filename`` for images that were decoded elsewhere, in one step."""
        probabilities, features = self._outputs_of(decoded)
        table = pd.DataFrame({"reason": [one.reason for one in decoded]}, dtype=object)
        if self.selective:
            table["accepted"] = self.selective.judge(probabilities, features)["accepted"]
            probabilities = apply_temperature(probabilities, self.selective.temperature)
        probabilities = np.pad(probabilities, ((0, 0), (0, top)), constant_values=np.nan)  # there may be fewer classes
        names = np.array([*self.class_names, *[""] * top], object)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        for place, chosen in enumerate(best.T):
            end = f"_{place + 1}" if place else ""
            shares = probabilities[np.arange(len(decoded)), chosen]
            table[f"label{end}"] = np.where(np.isnan(shares), "", names[chosen])
            table[f"confidence{end}"] = shares.astype(float)
        return table[["label", "confidence", *table.columns.drop(["label", "confidence"])]]

    def predict_proba(self, images: Any) -> np.ndarray:
        """Return the softmax output for what `predict` takes, and for generators and data sets.

        Returns
        -------
        numpy.ndarray
            float32, shape (n, classes), not calibrated; NaN for files that can't be read.
        """
        if _is_generator(images):
            return np.concatenate([self._outputs(pixels)[0] for pixels, _ in self._generated(images)])
        return np.concatenate([self._outputs_of(batch)[0] for batch in _in_batches(self._read(images)[1])])

    def judge(self, images: Any) -> pd.DataFrame:
        """Return ``predicted`` (class names) and the table of `SelectiveClassifier.judge` for what `predict` takes."""
        if self.selective is None:
            raise DigitError("this classifier is not calibrated: call calibrate() first, or run notebook 06.")
        answers = [self._outputs_of(batch) for batch in _in_batches(self._read(images)[1])]
        tables = [self.selective.judge(*one).assign(predicted=self._names[one[0].argmax(axis=1)]) for one in answers]
        return pd.concat(tables, ignore_index=True)

    def evaluate(self, data: Any = "test") -> Evaluation:
        """Return metrics with 95 % intervals and the predictions on labelled images.

        Parameters
        ----------
        data
            "train", "validation" or "test" of its run; arrays ``(images, labels)``; an `ImageBatches` that does not
            shuffle, a `PyDataset` or `tf.data.Dataset` with labels. Labels are one-hot, integers, or class names.
        """
        data = self._set(data) if isinstance(data, str) else data
        if getattr(data, "shuffle", False) is True:
            raise DigitError(
                "the generator shuffles, so predictions can't be matched to images: give one with shuffle=False."
            )
        probabilities, features, labels = self._answers(data)
        predicted = probabilities.argmax(axis=1)
        table = pd.DataFrame(
            {
                "filename": getattr(data, "filenames", None) or [str(number) for number in range(len(labels))],
                "true": self._names[labels], "predicted": self._names[predicted],
                "confidence": probabilities.max(axis=1).astype(float), "correct": predicted == labels,
            }
        )  # fmt: skip
        metrics = {"images": len(table), "loss": self._loss(probabilities, labels)}
        metrics |= _share("accuracy", table["correct"])
        if self.selective:
            table = table.assign(**self.selective.judge(probabilities, features))
            metrics["coverage"] = float(table["accepted"].mean())
            metrics |= _share("accepted_accuracy", table.loc[table["accepted"], "correct"])
        return Evaluation(metrics, table)

    def calibrate(
        self, validation: Any = "validation", target_accuracy: float = 0.999, train: Any = "train", seed: int = 0
    ) -> Self:
        """Fit temperature, `OutlierDetector` and threshold, so that predictions come with ``accepted``.

        The test set is not looked at. (The recipe `classic` trains on the validation images as well: there all three
        come out too confident.)

        Parameters
        ----------
        validation, train
            As of `evaluate`. The detector is learned from training images and drawn characters; temperature, limits
            and threshold (see `digitlib.evaluation.threshold_for`) are chosen on the validation images.
        target_accuracy : float
            Share of the accepted predictions that should be right, between 0 and 1.
        seed : int
            Of what is drawn and chosen at random.
        """
        self._require_keras("calibrate")
        check_target(target_accuracy)
        self._extractor = feature_extractor(self.model)
        lacking = (
            ""
            if self._extractor
            else "the out-of-distribution check finds no layer of this network to take features from"
        )
        if isinstance(train, str) and not self._kept("source.json"):
            lacking = "there are no training images (give train=)"
        if lacking:
            self._extractor = None
            warnings.warn(f"{lacking}: the model abstains by confidence alone.", stacklevel=2)
        outliers = None if lacking else self._fit_outliers(train, seed)
        probabilities, features, labels = self._answers(validation)
        predicted, temperature = probabilities.argmax(axis=1), fit_temperature(probabilities, labels)
        if outliers is not None and features is not None:
            outliers = outliers.with_limits(features, predicted)
        chooser = SelectiveClassifier(temperature, 0.0, target_accuracy, outliers)
        judged = chooser.judge(probabilities, features).assign(right=predicted == labels).query("in_distribution")
        confidence, right = judged["confidence"].to_numpy(), judged["right"].to_numpy()
        threshold = threshold_for(confidence, right, target_accuracy, PRIOR_ERRORS)
        self.selective = replace(chooser, threshold=threshold)
        return self

    def explain(self, image: Any, method: Literal["auto", "grad_cam", "occlusion"] = "auto") -> np.ndarray:
        """Return how much each pixel speaks for the predicted class.

        Parameters
        ----------
        image
            One image, as for `predict`.
        method : {"auto", "grad_cam", "occlusion"}
            "auto" is Grad-CAM where the network has a convolution, else occlusion.

        Returns
        -------
        numpy.ndarray
            float, shape `image_size`, 0 to 1.
        """
        self._require_keras("explain")
        require("method", method, method in ("auto", "grad_cam", "occlusion"), "'auto', 'grad_cam' or 'occlusion'")
        images = list(islice(self._read(image)[1], 2))
        if len(images) != 1 or images[0].image is None:
            raise DigitError("explain needs one image that can be read: give its path or array.")
        auto = grad_cam if has_convolution(self.model) else occlusion
        explainer = {"auto": auto, "grad_cam": grad_cam, "occlusion": occlusion}[method]
        return explainer(self.model, self._pixels(images))[0]

    def export(self, format: str = "onnx", folder: StrPath | None = None, file: StrPath | None = None) -> Path:
        """Write the network in another format, compare its predictions with Keras's, and return the file.

        Beside an ONNX file, ``.onnx.json`` and ``.onnx.npz`` hold what `load` needs to predict and accept with it as with
        the run. The file's first output are the probabilities; the others are features for the outlier detector.

        Parameters
        ----------
        format : {"onnx", "litert", "html"}
        folder : path-like, optional
            ``export/`` in the run by default, or in the current folder without a run.
        file : path-like, optional
            Another place and name for the file.
        """
        self._require_keras("export")
        check_formats([format])
        folder = resolve(folder) if folder else (self.run / "export" if self.run else resolve("export"))
        path, source = resolve(file) if file else folder / FORMATS[format], self._kept("source.json")
        if format == "html":
            from digitlib.export.web_page import write_page

            facts = page_facts(self.record, self._kept("metrics.json"), self.class_names)
            dark = self.run is not None and dark_on_light(self.run)
            return write_page(self.model, self.class_names, path, facts=facts, dark_on_light=dark)
        images = np.random.default_rng(0).uniform(0, 255, (100, *self.model.input_shape[1:])).astype(np.float32)
        if source:
            test = self._generated(self._set("test", shuffle=True))
            images = np.concatenate([pixels for pixels, _ in islice(test, 8)])
        onnx = format == "onnx"
        export_network(self._extractor if onnx and self._extractor else self.model, format, path, images)
        if onnx:
            numbers = self.selective.numbers(path.with_name(f"{path.name}.npz")) if self.selective else {}
            form = {"class_names": self.class_names, "resize": self.resize, "model_sha256": file_hash(path)}
            write_json(path.with_name(f"{path.name}.json"), self.record | numbers | form)
        return path

    def save(self, folder: AnyRun) -> Path:
        """Write ``best_model.keras``, ``training.json`` and any calibration, which `load` reads; return the folder."""
        self._require_keras("save")
        place, record = open_run(folder).folder, self.record
        make_folder(place)
        with atomic(place / "best_model.keras") as temporary:
            self.model.save(temporary)
        hashes = {"best_model.keras": file_hash(place / "best_model.keras")}
        write_json(place / "training.json", record | {"rescale": 1.0, "sha256": hashes})
        for name in CALIBRATION:
            (place / name).unlink(missing_ok=True)
        if self.selective:
            self.selective.save(place)
        return place

    @property
    def record(self) -> dict[str, Any]:
        """What is known of the training: ``training.json`` of its run, else what the model itself tells."""
        if isinstance(self.model, OnnxNetwork):
            return self.model.about
        if record := self._kept("training.json"):
            return record
        compiled = ("optimizer", "loss") if self.model.compiled else ()
        return {
            "network": self.model.name, "parameters": self.model.count_params(), "class_names": self.class_names,
            "image_size": list(self.image_size), "color_mode": self.color_mode, "resize": self.resize, "recipe": None,
            **{name: keras.saving.serialize_keras_object(getattr(self.model, name)) for name in compiled},
            "versions": {name: version(name) for name in ("keras", "tensorflow", "numpy")},
        }  # fmt: skip

    def model_card(self) -> str:
        """Return a model card in Markdown, made from what really trained and was measured."""
        source = self._kept("source.json")
        counts = split_counts(self.run) if self.run and source else None
        return card_text(self.record, self._kept("metrics.json"), self.class_names, counts, source)

    def _kept(self, name: str) -> dict[str, Any] | None:
        """Return a JSON file of the run, None where there is none."""
        return None if self.run is None or not (self.run / name).exists() else dict(self.run.read_json(name))

    @property
    def _names(self) -> np.ndarray:
        return np.array(self.class_names, dtype=object)

    def _set(self, name: str, **options: Any) -> ImageBatches:
        """Return the training, validation or test set of the run."""
        if self.run is None:
            raise DigitError(f"this classifier has no run and no {name!r} set: give images and labels.")
        from digitlib.training.generators import generator_from_split, image_form

        return generator_from_split(
            self.run, name, **{"batch_size": SET_BATCH, "shuffle": False, **image_form(self), **options}
        )

    def _read(self, source: Any) -> tuple[list[str], Iterator[Decoded]]:
        """Return names and decoded images of what `predict` takes."""
        if isinstance(source, str | os.PathLike):
            folder, names = find_inputs(source)
            return names, self._read_files([str(folder / name) for name in names])
        several = source if isinstance(source, list | tuple) and source else [source]
        if all(isinstance(one, str | os.PathLike) for one in several):
            return list(map(os.fspath, several)), self._read_files([str(resolve(one)) for one in several])
        if all(isinstance(one, Image.Image) for one in several):
            return [str(number) for number in range(len(several))], (_from_pil(one, self.color_mode) for one in several)
        images = as_uint8(source)
        return [str(number) for number in range(len(images))], (Decoded(one, "", 0, "") for one in images)

    def _read_files(self, paths: list[str]) -> Iterator[Decoded]:
        return read_files(paths, self.color_mode, self.image_size, min(self.image_size), self.resize)

    def _pixels(self, decoded: Sequence[Decoded]) -> np.ndarray:
        """Return images as the network takes them: float32, 0 to 255, black where unreadable.

        Each is resized by itself, as in training, so that an image's prediction doesn't depend on its company.
        """
        shape = self.model.input_shape[1:]
        pixels = np.zeros((len(decoded), *shape), np.float32)
        images = {n: _fitted(one.image, shape, self.resize) for n, one in enumerate(decoded) if one.image is not None}
        for size in {image.shape for image in images.values()}:
            rows = [number for number, image in images.items() if image.shape == size]
            pixels[rows] = enlarged(np.stack([images[number] for number in rows]), self.image_size)
        return pixels

    def _outputs(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return probabilities and, where there is or will be an `OutlierDetector`, the features it needs."""
        network = self.model if self._extractor is None else self._extractor
        # The feature maps of many large images would fill the memory.
        step = max(32, 2**20 // (pixels.shape[1] * pixels.shape[2]))
        starts = range(0, max(1, len(pixels)), step)
        given = [network.predict_on_batch(pixels[at : at + step]) for at in starts]
        parts = [one if isinstance(one, list) else [one] for one in given]
        probabilities, *features = (np.concatenate(one) for one in zip(*parts, strict=True))
        return probabilities, np.concatenate(features, axis=1) if features else None

    def _outputs_of(self, images: Sequence[Decoded]) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the same of decoded images; the probabilities of unreadable ones are NaN."""
        probabilities, features = self._outputs(self._pixels(images))
        probabilities[[one.image is None for one in images]] = np.nan
        return probabilities, features

    def _generated(self, data: Any) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield pixels (float32, 0 to 255) and labels, None if there are none, of a generator or data set."""
        names = list(getattr(data, "class_indices", self.class_names))
        if names not in (self.class_names, ["?"]):
            raise DigitError(f"the generator's classes are {names}, the network's {self.class_names}: they must agree.")
        finite = _is_dataset(data)
        for batch in map(data.__getitem__, range(len(data))) if finite else data:
            images, labels = (*batch, None)[:2] if isinstance(batch, list | tuple) else (batch, None)
            array = np.asarray(images, np.float32)
            array = array[..., None] if array.ndim == 3 else array
            least, most = float(array.min(initial=0)), float(array.max(initial=0))
            if array.shape[1:] != self.model.input_shape[1:] or not (least >= 0 and most <= 255.5):
                raise DigitError(
                    f"the generator gives images of shape {array.shape[1:]} and values from {least:g} to {most:g}: the network "
                    f"takes {self.model.input_shape[1:]}, and 0 to 255 or 0 to 1."
                )
            yield array * 255 if most <= 1 else array, labels

    def _labelled(self, data: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield pixels and labels (int) of what `evaluate` takes."""
        if _is_generator(data):
            for pixels, labels in self._generated(data):
                yield pixels, self._as_labels(labels)
            return
        if not isinstance(data, list | tuple) or len(data) != 2:
            raise DigitError("labelled images must be the name of a set, (images, labels), or a generator.")
        names, decoded = self._read(data[0])
        labels = self._as_labels(data[1])
        if len(labels) != len(names):
            raise DigitError(f"there are {len(names)} images and {len(labels)} labels: give one label for each image.")
        for number, batch in enumerate(_in_batches(decoded)):
            yield self._pixels(batch), labels[number * BATCH : (number + 1) * BATCH]

    def _answers(self, data: Any, limit: int | None = None) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Return probabilities, features and labels (int) of labelled images."""
        batches = self._labelled(self._set(data) if isinstance(data, str) else data)
        rows = [(*self._outputs(pixels), labels) for pixels, labels in islice(batches, limit)]
        if not sum(len(labels) for _, _, labels in rows):
            raise DigitError("there are no labelled images: give at least one.")
        probabilities, features, labels = zip(*rows, strict=True)
        together = None if self._extractor is None else np.concatenate(features)
        return np.concatenate(probabilities), together, np.concatenate(labels)

    def _as_labels(self, labels: Any) -> np.ndarray:
        """Return one-hot, integer or named labels as int, shape (n,)."""
        found = np.asarray(labels)
        if found.ndim == 2:
            found = found.argmax(axis=1) if found.shape[1] > 1 else found[:, 0]
        if found.ndim and found.dtype.kind in "UO":
            found = pd.Index(self.class_names).get_indexer(found)
        if found.ndim != 1 or (len(found) and not (found.min() >= 0 and found.max() < len(self.class_names))):
            raise DigitError(f"labels must be class names, or integers from 0 to {len(self.class_names) - 1}.")
        return found.astype(int)

    def _loss(self, probabilities: np.ndarray, labels: np.ndarray) -> float:
        """Return the mean loss as `model.evaluate` has it, or cross-entropy where the model is not compiled."""
        if not getattr(self.model, "loss", None):
            likely = probabilities[np.arange(len(labels)), labels]
            return float(-np.log(likely.clip(1e-7, 1)).mean())
        loss = keras.losses.get(self.model.loss)
        sparse = "sparse" in getattr(loss, "name", getattr(loss, "__name__", ""))
        true = labels if sparse else np.eye(len(self.class_names), dtype=np.float32)[labels]
        return float(np.mean(loss(true, probabilities)))

    def _fit_outliers(self, train: Any, seed: int) -> OutlierDetector:
        """Learn from training images, characters of the classes, and others drawn by the same pen."""
        random, limit = np.random.default_rng(seed), None
        if isinstance(train, str):
            train, limit = self._set(train, shuffle=True, seed=seed), KNOWN // SET_BATCH
        _, known, labels = self._answers(train, limit)
        written, own = draw_own_and_other(self.class_names, random)
        if rims_are_light(next(self._labelled(train))[0]):
            written = 255 - written
        features = np.asarray(self._outputs(self._pixels([Decoded(image, "", 0, "") for image in written]))[1])
        members, near = np.eye(len(self.class_names))[labels], self._extractor.outputs[1].shape[1]
        return OutlierDetector.fit(np.asarray(known), members, features[:own], features[own:], near, seed)


def _share(name: str, right: pd.Series) -> dict[str, float]:
    """Return a share and its 95 % Wilson interval; NaN of nothing."""
    low, high = wilson_interval(int(right.sum()), len(right))
    return {name: float(right.mean()), f"{name}_low": low, f"{name}_high": high}


def _rescaled(model: keras.Model, rescale: float) -> keras.Model:
    """Return a model that takes pixels times 1 / rescale; its layers and weights are shared."""
    first = keras.layers.Rescaling(rescale, dtype="float32")
    inner = model.layers if isinstance(model, keras.Sequential) else [model]
    whole = keras.Sequential([keras.Input(model.input_shape[1:]), first, *inner], name=model.name)
    if model.compiled:
        whole.compile_from_config(model.get_compile_config())
    return whole


def _load_model(path: Path) -> keras.Model:
    """Return the network in a ``.keras`` file, without running any code that it may hold."""
    if path.suffix != ".keras":  # Keras would read other formats too, some of which run code
        raise DigitError(f"{display_path(path)} is not a .keras file: give a run's folder or its best_model.keras.")
    load = keras.models.load_model  # says what to install where Keras is missing
    try:
        return load(path, safe_mode=True)
    except Exception as error:  # zip, h5py, json and keras each raise their own
        reason = str(error).strip().splitlines()[0][:150] if str(error).strip() else type(error).__name__
        raise DigitError(
            f"{display_path(path)} can't be loaded as a Keras model ({reason}). Train again with notebook 05."
        ) from error


def _from_pil(image: Image.Image, color_mode: Literal["grayscale", "rgb"]) -> Decoded:
    """Return a PIL image as one from a file would be."""
    data = io.BytesIO()
    try:
        ImageOps.exif_transpose(image).save(data, "TIFF")  # takes every mode of Pillow without loss
    except OSError as error:
        return Decoded(None, "", 0, f"damaged: {error}")
    return decoded(data.getvalue(), color_mode)


def _fitted(image: np.ndarray, shape: tuple[int, ...], resize: str) -> np.ndarray:
    """Return an image in the network's colours and, if it is larger, size, as `digitlib.data.decoding.decode` does."""
    if image.shape == shape:
        return image
    whole = as_pil(image)
    small = whole.convert("L" if shape[2] == 1 else "RGB")
    small = resized(small, (shape[0], shape[1]), min(shape[:2]), resize)
    return np.asarray(small).reshape(small.height, small.width, -1)


def _in_batches(decoded: Iterator[Decoded]) -> Iterator[list[Decoded]]:
    """Yield images 1,024 at a time, and one empty batch if there are none."""
    yield list(islice(decoded, BATCH))
    while batch := list(islice(decoded, BATCH)):
        yield batch


def _is_generator(data: Any) -> bool:
    return _is_dataset(data) or hasattr(data, "element_spec")


def _is_dataset(data: Any) -> bool:
    """Tell whether it is a `keras.utils.PyDataset`, which it can't be before Keras is loaded."""
    return "keras" in sys.modules and isinstance(data, keras.utils.PyDataset)


def network_file(path: Path) -> Path:
    """Return the file of the network that `Classifier.load` takes from a folder, or the file itself."""
    if not path.is_dir():
        return path
    export, own = path / "model.onnx", path / "best_model.keras"
    return export if export.exists() and not own.exists() else own
