"""`Classifier`: a trained network with all that is needed to use it."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from digitlib.data.decoding import Decoded, Unreadable, decode, read_files, rims_are_light
from digitlib.data.inputs import find_inputs
from digitlib.errors import DigitError
from digitlib.evaluation.calibration import apply_temperature, fit_temperature
from digitlib.evaluation.explain import grad_cam, has_convolution, occlusion
from digitlib.evaluation.out_of_distribution import (
    OTHER_SCRIPTS,
    OutlierDetector,
    draw_characters,
    feature_extractor,
    font,
)
from digitlib.evaluation.selective import FILES, SelectiveClassifier, check_target, threshold_for
from digitlib.evaluation.statistics import wilson_interval
from digitlib.files import atomic, display_path, make_folder, resolve, write_json
from digitlib.progress import progress
from digitlib.run import Run, check_split, open_run
from digitlib.training.backend import in_float32, keras
from digitlib.training.generators import ImageBatches, generator_from_split

BATCH = 1024
"""Images a prediction step; memory does not grow with the source."""

KNOWN, DRAWN, OTHER = 12_000, 2_000, 3_000
"""For the `OutlierDetector`: training images at most; characters of the classes, and others, drawn for it."""

COMPARED = 1_000
"""Images that an exported file is compared on."""


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
    selective : SelectiveClassifier or None
        What decides which predictions are accepted, once calibrated.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    >>> Classifier(model, ["0", "1"]).predict(np.zeros((3, 8, 8), np.uint8))["filename"].tolist()
    ['0', '1', '2']
    """

    def __init__(
        self,
        model: keras.Model,
        class_names: Sequence[str],
        *,
        rescale: float = 1.0,
        run: Run | str | os.PathLike[str] | None = None,
    ) -> None:
        self.class_names = [str(name) for name in class_names]
        shape = getattr(model, "input_shape", None)
        if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] not in (1, 3) or None in shape[1:]:
            raise DigitError(
                f"the model takes inputs of shape {shape}: it must be (None, height, width, 1 or 3). Begin it with "
                "keras.Input((height, width, 1)) and, where needed, a Reshape layer."
            )
        self.model = in_float32(model) if rescale == 1 else _rescaled(in_float32(model), rescale)
        self.image_size: tuple[int, int] = shape[1:3]
        self.color_mode: Literal["grayscale", "rgb"] = "rgb" if shape[3] == 3 else "grayscale"
        self.run = run if run is None or isinstance(run, Run) else open_run(run)
        blank = np.asarray(self.model(np.zeros((1, *shape[1:]), np.float32), training=False))
        if blank.shape != (1, len(self.class_names)):
            raise DigitError(
                f"the model has outputs of shape {blank.shape[1:]} for {len(self.class_names)} class names: there must be one "
                "output a class."
            )
        if blank.min() < 0 or not np.isclose(blank.sum(), 1, atol=1e-2):
            raise DigitError("the model's outputs are not probabilities: end it with a softmax activation.")
        self.selective: SelectiveClassifier | None = None
        self._extractor: keras.Model | None = None

    @classmethod
    def load(cls, path: Run | str | os.PathLike[str], class_names: Sequence[str] | None = None) -> Self:
        """Return the classifier of a run's folder or of a saved ``.keras`` file; no code in the file is run.

        Parameters
        ----------
        path : Run or path-like
            A run, its folder, what `save` wrote, or a model file.
        class_names : sequence of str, optional
            Needed for a model file that has no ``training.json`` beside it.

        Raises
        ------
        DigitError
            If there is no network, it is damaged, or the run has been split otherwise since.
        """
        place = path.folder if isinstance(path, Run) else resolve(path)
        if not place.exists():
            raise DigitError(f"{display_path(place)!r} doesn't exist: give a run's folder or a .keras file.")
        file = place / "best_model.keras" if place.is_dir() else place
        run, own = Run(file.parent), file.name == "best_model.keras"
        run.require(file.name)
        if own:
            check_split(run)
        names = class_names
        if names is None and (run / "training.json").exists():
            names = run.read_json("training.json")["class_names"]
        if names is None and (run / "source.json").exists():
            names = run.read_json("source.json")["class_names"]
        if names is None:
            raise DigitError(f"the class names of {display_path(file)} are unknown: give class_names=[…].")
        rescale = 1.0
        if not (run / "training.json").exists() and (run / "recipe.json").exists():  # version 1 trained on 0 to 1
            rescale = run.read_json("recipe.json").get("augmentation", {}).get("rescale") or 1.0
        known = run if own and (run / "split.csv").exists() else None
        loaded = cls(_load_model(file), names, rescale=rescale, run=known)
        loaded._folder = run.folder
        loaded.selective = SelectiveClassifier.load(run.folder) if own else None
        return loaded

    _folder: Path | None = None

    def __repr__(self) -> str:
        """Say what it is in one line."""
        (height, width), state = self.image_size, "calibrated" if self.selective else "not calibrated"
        return f"<Classifier {self.model.name}: {len(self.class_names)} classes, {height} × {width} {self.color_mode}, {state}>"

    def predict(self, source: Any, top: int = 3) -> pd.DataFrame:
        """Predict the classes of images.

        Parameters
        ----------
        source
            A path, folder, zip archive, pattern or list of paths; a PIL image; an array of shape (n, h, w), (n, h, w, 1 or
            3), (h, w) or (h, w, 1 or 3), uint8 or float from 0 to 1. Other sizes and colours are converted.
        top : int
            How many classes to return for each image, the most likely first.

        Returns
        -------
        pandas.DataFrame
            ``filename`` (of an array the index), ``label``, ``confidence`` (0 to 1, NaN if unreadable), ``reason`` (why a
            file can't be read, else empty), once calibrated ``accepted`` (bool), then ``label_2``, ``confidence_2`` …

        Raises
        ------
        DigitError
            If there is no such source, or an array is of another dtype, range or rank.
        """
        return pd.concat(self.predict_batches(source, top), ignore_index=True)

    def predict_batches(self, source: Any, top: int = 3) -> Iterator[pd.DataFrame]:
        """Yield the rows of `predict` for 1,024 images at a time, while the next files are being decoded."""
        names, total, decoded = self._read(source)
        done = 0
        for batch in _in_batches(progress(decoded, total, "Predicting")):
            table = self.predict_decoded(batch, top)
            table.insert(0, "filename", names[done : done + len(batch)])
            yield table
            done += len(batch)

    def predict_decoded(self, decoded: Sequence[Decoded], top: int = 3) -> pd.DataFrame:
        """Return the columns of `predict` but ``filename`` for images that were decoded elsewhere, in one step."""
        good = np.array([one.image is not None for one in decoded], bool)
        names = np.full((len(decoded), top), "", dtype=object)
        shares = np.full((len(decoded), top), np.nan)
        accepted = np.zeros(len(decoded), dtype=bool)
        if good.any():
            probabilities, features = self._outputs(self._pixels([one.image for one in decoded if one.image is not None]))
            if self.selective:
                accepted[good] = self.selective.judge(probabilities, features)["accepted"]
                probabilities = apply_temperature(probabilities, self.selective.temperature)
            best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
            names[good, : best.shape[1]] = np.array(self.class_names, dtype=object)[best]
            shares[good, : best.shape[1]] = np.take_along_axis(probabilities, best, axis=1)
        table = pd.DataFrame(
            {"label": names[:, 0], "confidence": shares[:, 0], "reason": [one.reason for one in decoded]}
        )
        if self.selective:
            table["accepted"] = accepted
        for place in range(1, top):
            table[f"label_{place + 1}"], table[f"confidence_{place + 1}"] = names[:, place], shares[:, place]
        return table

    def predict_proba(self, images: Any) -> np.ndarray:
        """Return the softmax output for what `predict` takes, and for generators and data sets.

        Returns
        -------
        numpy.ndarray
            float32, shape (n, classes), not calibrated; NaN for files that can't be read.
        """
        if _is_generator(images):
            return np.concatenate([self._outputs(self._checked_batch(_inputs(one)))[0] for one in _batches_of(images)])
        _, _, decoded = self._read(images)
        parts = [np.empty((0, len(self.class_names)), np.float32)]
        for batch in _in_batches(decoded):
            rows = np.full((len(batch), len(self.class_names)), np.nan, np.float32)
            good = [number for number, one in enumerate(batch) if one.image is not None]
            if good:
                rows[good] = self._outputs(self._pixels([one.image for one in batch if one.image is not None]))[0]
            parts.append(rows)
        return np.concatenate(parts)

    def judge(self, images: Any) -> pd.DataFrame:
        """Return ``predicted`` (class names) and the table of `SelectiveClassifier.judge` for an array of images.

        Raises
        ------
        DigitError
            If it is not calibrated.
        """
        if self.selective is None:
            raise DigitError("this classifier is not calibrated: call calibrate() first, or run notebook 06.")
        _, _, decoded = self._read(images)
        tables = []
        for batch in _in_batches(decoded):
            probabilities, features = self._outputs(self._pixels([one.image for one in batch if one.image is not None]))
            table = self.selective.judge(probabilities, features)
            table.insert(0, "predicted", np.array(self.class_names, object)[probabilities.argmax(axis=1)])
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def evaluate(self, data: Any = "test") -> Evaluation:
        """Return metrics with 95 % intervals and the predictions on labelled images.

        Parameters
        ----------
        data
            "train", "validation" or "test" of its run; arrays ``(images, labels)``; an `ImageBatches` that does not
            shuffle, a `PyDataset` or `tf.data.Dataset` with labels. Labels are one-hot, integers, or class names.
        """
        probabilities, features, labels, filenames = self._answers(data)
        names = np.array(self.class_names, dtype=object)
        predicted = probabilities.argmax(axis=1)
        table = pd.DataFrame(
            {
                "filename": filenames, "true": names[labels], "predicted": names[predicted],
                "confidence": probabilities.max(axis=1).astype(float), "correct": predicted == labels,
            }
        )  # fmt: skip
        low, high = wilson_interval(int(table["correct"].sum()), len(table))
        metrics: dict[str, Any] = {
            "images": len(table), "loss": self._loss(probabilities, labels),
            "accuracy": float(table["correct"].mean()), "accuracy_low": low, "accuracy_high": high,
        }  # fmt: skip
        if self.selective:
            table = table.assign(**self.selective.judge(probabilities, features))
            right = table.loc[table["accepted"], "correct"]
            low, high = wilson_interval(int(right.sum()), len(right))
            metrics |= {
                "coverage": float(table["accepted"].mean()), "accepted_accuracy": float(right.mean()),
                "accepted_accuracy_low": low, "accepted_accuracy_high": high,
            }  # fmt: skip
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
            As of `evaluate`. The detector is learned from training images and drawn characters; temperature, limits and
            threshold are chosen on the validation images.
        target_accuracy : float
            Share of the accepted predictions that should be right, between 0 and 1.
        seed : int
            Of what is drawn and chosen at random.
        """
        check_target(target_accuracy)
        outliers = self._fit_outliers(train, seed)
        self.selective = SelectiveClassifier(1.0, 0.0, target_accuracy, outliers)
        probabilities, features, labels, _ = self._answers(validation)
        predicted, temperature = probabilities.argmax(axis=1), fit_temperature(probabilities, labels)
        if outliers is not None and features is not None:
            outliers = outliers.with_limits(features, predicted)
        judged = SelectiveClassifier(temperature, 0.0, target_accuracy, outliers).judge(probabilities, features)
        inside = judged["in_distribution"].to_numpy()
        threshold = threshold_for(judged["confidence"].to_numpy()[inside], (predicted == labels)[inside], target_accuracy)
        self.selective = SelectiveClassifier(temperature, threshold, target_accuracy, outliers)
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
        if method not in ("auto", "grad_cam", "occlusion"):
            raise DigitError(f"method is {method!r}: it must be 'auto', 'grad_cam' or 'occlusion'.")
        decoded = list(islice(self._read(image)[2], 2))
        if len(decoded) != 1 or decoded[0].image is None:
            raise DigitError(f"explain needs one image: {decoded[0].reason if len(decoded) == 1 else 'not several'}.")
        if method == "auto":
            method = "grad_cam" if has_convolution(self.model) else "occlusion"
        maps = {"grad_cam": grad_cam, "occlusion": occlusion}
        return maps[method](self.model, self._pixels([decoded[0].image]))[0]

    def export(self, format: str = "onnx", folder: str | os.PathLike[str] | None = None) -> Path:
        """Write the network in another format, compare the answers with Keras's, and return the file.

        Parameters
        ----------
        format : {"onnx", "litert", "html"}
        folder : path-like, optional
            ``export/`` in the run by default, or in the current folder without a run.
        """
        from digitlib.export.formats import FORMATS, export_network

        place = resolve(folder) if folder else (self.run / "export" if self.run else resolve("export"))
        path = place / FORMATS.get(format, "")
        if self.run and (self.run / "split.csv").exists():
            test = self._set("test")
            chosen = np.linspace(0, test.samples - 1, min(COMPARED, test.samples)).round().astype(int)
            images = self._pixels(list(test.originals(chosen)))
        else:
            images = np.random.default_rng(0).integers(0, 256, (100, *self.model.input_shape[1:])).astype(np.float32)
        export_network(self.model, format, path, images)
        return path

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``best_model.keras``, ``training.json`` and, if calibrated, the calibration; return the folder.

        `load` reads them again.
        """
        place = resolve(folder)
        make_folder(place)
        with atomic(place / "best_model.keras") as temporary:
            self.model.save(temporary)
        write_json(place / "training.json", self.record)
        for name in FILES:
            (place / name).unlink(missing_ok=True)
        if self.selective:
            self.selective.save(place)
        return place

    @property
    def record(self) -> dict[str, Any]:
        """What is known of the training: ``training.json`` of its run, else what the model itself tells."""
        if self._folder and (self._folder / "training.json").exists():
            return dict(Run(self._folder).read_json("training.json"))
        compiled = {
            name: keras.saving.serialize_keras_object(getattr(self.model, name))
            for name in ("optimizer", "loss")
            if self.model.compiled
        }
        return {
            "network": self.model.name, "parameters": self.model.count_params(), "class_names": self.class_names,
            "image_size": list(self.image_size), "color_mode": self.color_mode, **compiled, "recipe": None,
            "versions": {name: version(name) for name in ("keras", "tensorflow", "numpy")},
        }  # fmt: skip

    def model_card(self) -> str:
        """Return a model card in Markdown, made from what really trained and was measured."""
        from digitlib.export.model_card import card_text

        measured = self.run is not None and (self.run / "metrics.json").exists()
        return card_text(self.record, dict(self.run.read_json("metrics.json")) if self.run and measured else None, self.class_names)

    def _read(self, source: Any) -> tuple[list[str], int, Iterator[Decoded]]:
        """Return names, number and decoded images of what `predict` takes."""
        if isinstance(source, str | os.PathLike):
            folder, names = find_inputs(source)
            return names, len(names), self._read_files([str(folder / name) for name in names])
        if isinstance(source, Image.Image):
            source = [source]
        if isinstance(source, list | tuple) and source:
            if all(isinstance(one, str | os.PathLike) for one in source):
                return [os.fspath(one) for one in source], len(source), self._read_files([str(resolve(one)) for one in source])
            if all(isinstance(one, Image.Image) for one in source):
                return [str(n) for n in range(len(source))], len(source), (_from_pil(one, self.color_mode) for one in source)
        images = _as_uint8(source)
        return [str(n) for n in range(len(images))], len(images), (Decoded(one, "", 0, "") for one in images)

    def _read_files(self, paths: list[str]) -> Iterator[Decoded]:
        return read_files(paths, self.color_mode, self.image_size, min(self.image_size))

    def _pixels(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return images as the network takes them, resized by the same code that training uses: float32, 0 to 255."""
        shape = self.model.input_shape[1:]
        if all(image.shape == shape for image in images):
            return np.stack(images).astype(np.float32)
        ready = [_fitted(image, shape) for image in images]
        pixels = np.empty((len(ready), *shape), np.float32)
        sizes = [image.shape for image in ready]
        for size in set(sizes):
            rows = [number for number, one in enumerate(sizes) if one == size]
            stack = np.stack([ready[number] for number in rows])
            nothing = pd.DataFrame({"filename": "", "class": "?"}, index=range(len(rows)))
            pixels[rows] = ImageBatches(
                stack, np.arange(len(rows)), nothing, ["?"], image_size=self.image_size, color_mode=self.color_mode,
                batch_size=len(rows), class_mode=None, shuffle=False,
            )[0][0]  # fmt: skip
        return pixels

    def _outputs(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return probabilities and, where there is an `OutlierDetector`, the features it needs."""
        if not (self.selective and self.selective.outliers):
            return np.asarray(self.model.predict_on_batch(pixels)), None
        self._extractor = self._extractor or feature_extractor(self.model)
        assert self._extractor is not None
        probabilities, *features = self._extractor.predict_on_batch(pixels)
        return np.asarray(probabilities), np.concatenate(features, axis=1)

    def _labelled(self, data: Any) -> tuple[Iterable[tuple[np.ndarray, np.ndarray]], Sequence[str] | None]:
        """Return batches of pixels and labels (int) of what `evaluate` takes, and the file names where there are any."""
        if isinstance(data, str):
            data = self._set(data)
        if _is_generator(data):
            if isinstance(data, ImageBatches):
                if data.shuffle:
                    raise DigitError("the generator shuffles, so its rows can't be told apart: give one with shuffle=False.")
                if list(data.class_indices) != self.class_names:
                    raise DigitError(
                        f"the generator's classes are {', '.join(data.class_indices)}, the network's {', '.join(self.class_names)}: "
                        "they must be the same, in the same order."
                    )
            batches = ((self._checked_batch(_inputs(one)), self._as_labels(_targets(one))) for one in _batches_of(data))
            return batches, getattr(data, "filenames", None)
        if not isinstance(data, list | tuple) or len(data) != 2 or len(data[0]) != len(data[1]):
            raise DigitError("labelled images must be 'train', 'validation' or 'test', (images, labels), or a generator.")
        images, labels = _as_uint8(data[0]), self._as_labels(np.asarray(data[1]))
        starts = range(0, len(images), BATCH)
        return ((self._pixels(images[at : at + BATCH]), labels[at : at + BATCH]) for at in starts), None

    def _answers(self, data: Any) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, Sequence[str]]:
        """Return probabilities, features, labels (int) and file names of labelled images."""
        batches, filenames = self._labelled(data)
        rows = [(*self._outputs(pixels), labels) for pixels, labels in batches]
        if not rows:
            raise DigitError("there are no images to evaluate: give at least one.")
        probabilities, features, labels = zip(*rows, strict=True)
        together = None if features[0] is None else np.concatenate(features)
        number = sum(map(len, labels))
        return np.concatenate(probabilities), together, np.concatenate(labels), filenames or [str(n) for n in range(number)]

    def _checked_batch(self, pixels: Any) -> np.ndarray:
        """Return a generator's batch as float32, 0 to 255; one in 0 to 1 is multiplied by 255."""
        array = np.asarray(pixels, np.float32)
        array = array[..., None] if array.ndim == 3 else array
        if array.shape[1:] != self.model.input_shape[1:]:
            raise DigitError(f"the generator gives images of shape {array.shape[1:]}, the network takes {self.model.input_shape[1:]}.")
        least, most = float(array.min(initial=0)), float(array.max(initial=0))
        if not (least >= 0 and most <= 255.5):
            raise DigitError(f"the generator's pixels go from {least:g} to {most:g}: they must be 0 to 255, or 0 to 1.")
        return array * 255 if most <= 1 else array

    def _as_labels(self, labels: np.ndarray) -> np.ndarray:
        """Return one-hot, integer or named labels as int, shape (n,)."""
        found = np.asarray(labels)
        if found.ndim == 2:
            found = found.argmax(axis=1) if found.shape[1] > 1 else found[:, 0]
        if found.dtype.kind in "UO":
            found = pd.Index(self.class_names).get_indexer(found)
        found = found.astype(int)
        if len(found) and not (found.min() >= 0 and found.max() < len(self.class_names)):
            raise DigitError(f"labels must be class names, or integers from 0 to {len(self.class_names) - 1}.")
        return found

    def _loss(self, probabilities: np.ndarray, labels: np.ndarray) -> float:
        """Return the mean loss as `model.evaluate` has it, or cross-entropy where the model is not compiled."""
        loss = keras.losses.get(getattr(self.model, "loss", None) or "categorical_crossentropy")
        sparse = "sparse" in getattr(loss, "name", getattr(loss, "__name__", ""))
        true = labels if sparse else np.eye(len(self.class_names), dtype=np.float32)[labels]
        return float(np.mean(keras.ops.convert_to_numpy(loss(true, probabilities))))

    def _fit_outliers(self, train: Any, seed: int) -> OutlierDetector | None:
        """Return a detector from training images, characters of the classes, and others; None, and why, if impossible."""
        self._extractor = feature_extractor(self.model)
        lacking = None
        if self._extractor is None:
            lacking = "no layer of this network can be seen"
        elif isinstance(train, str) and self.run is None:
            lacking = "there are no training images (give train=)"
        if lacking:
            warnings.warn(f"{lacking}: abstention goes by confidence alone, not by features.", stacklevel=3)
            return None
        random = np.random.default_rng(seed)
        if isinstance(train, str):
            train = self._set(train)
        if isinstance(train, ImageBatches):  # as stored, whether it augments or not
            chosen = np.sort(random.permutation(train.samples)[:KNOWN])
            cuts = [chosen[at : at + BATCH] for at in range(0, len(chosen), BATCH)]
            batches: Iterable[Any] = ((self._pixels(list(train.originals(cut))), train.classes[cut]) for cut in cuts)
        else:
            batches, _ = self._labelled(train)
        rows = [(self._features(pixels), labels, rims_are_light(pixels)) for pixels, labels in batches]
        known, labels = (np.concatenate(column)[: 2 * KNOWN] for column in list(zip(*rows, strict=True))[:2])
        own = "".join(name for name in self.class_names if len(name) == 1)
        fonts = [font(name) for name in ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono")]
        drawn = draw_characters(own or " ", fonts, DRAWN if own else 1, random)
        other = draw_characters("".join(sorted(set(OTHER_SCRIPTS) - set(own))), fonts[:1], OTHER, random)
        if rows[0][2]:
            drawn, other = 255 - drawn, 255 - other
        written = [self._features(self._pixels(list(one))) for one in (drawn, other)]
        near = self._extractor.outputs[1].shape[1]
        members = np.eye(len(self.class_names))[labels]
        return OutlierDetector.fit(known, members, written[0][: DRAWN * bool(own)], written[1], near, seed)

    def _features(self, pixels: np.ndarray) -> np.ndarray:
        assert self._extractor is not None
        return np.concatenate(self._extractor.predict(pixels, batch_size=256, verbose=0)[1:], axis=1)

    def _set(self, name: str) -> ImageBatches:
        """Return the training, validation or test set of the run."""
        if self.run is None:
            raise DigitError(f"this classifier belongs to no run, so there is no {name!r} set: give arrays or a generator.")
        size, mode = self.image_size, self.color_mode
        return generator_from_split(self.run, name, image_size=size, color_mode=mode, batch_size=256, shuffle=False)


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
    try:
        return keras.models.load_model(path, safe_mode=True)
    except Exception as error:  # zip, h5py, json and keras each raise their own
        reason = str(error).strip().splitlines()[0][:150] if str(error).strip() else type(error).__name__
        raise DigitError(f"{display_path(path)} can't be loaded as a Keras model ({reason}). Train again with notebook 05.") from error


def _as_uint8(source: Any) -> np.ndarray:
    """Return images as uint8, shape (n, height, width, 1 or 3), or refuse what could be taken for something else."""
    try:
        array = np.asarray(source)
    except ValueError as error:
        raise DigitError("the images must be one array of equal sizes, or a list of paths or PIL images.") from error
    if array.dtype.kind == "f":
        least, most = float(array.min(initial=0)), float(array.max(initial=0))
        if not (least >= 0 and most <= 1):  # NaN fails both
            raise DigitError(
                f"float images must be between 0 and 1, these go from {least:g} to {most:g}. Give uint8, or divide 0 to 255 by 255."
            )
        array = np.round(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise DigitError(f"images of dtype {array.dtype} can't be read: give uint8 (0 to 255) or float (0 to 1).")
    shape = array.shape
    if array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3)):
        array = array.reshape(1, *shape[:2], -1)
    elif array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape[1:]:
        raise DigitError(f"images have shape {shape}: it must be (n, height, width), (n, height, width, 1 or 3) or one image of these.")
    return array


def _from_pil(image: Image.Image, color_mode: Literal["grayscale", "rgb"]) -> Decoded:
    """Return a PIL image as one from a file would be."""
    data = io.BytesIO()
    try:
        ImageOps.exif_transpose(image).save(data, "TIFF")  # takes every mode of Pillow without loss
        return Decoded(decode(data.getvalue(), color_mode), "", 0, "")
    except (Unreadable, OSError) as error:
        return Decoded(None, "", 0, str(error))


def _fitted(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return an image in the network's colours and, if it is larger, size: as `digitlib.data.decoding.decode` does it."""
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    picture = picture.convert("L" if shape[2] == 1 else "RGB")
    if max(picture.size) > min(shape[:2]) and picture.size != shape[1::-1]:
        picture = picture.resize(shape[1::-1], Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(picture.height, picture.width, -1)


def _in_batches(decoded: Iterator[Decoded]) -> Iterator[list[Decoded]]:
    """Yield images 1,024 at a time, and one empty batch if there are none."""
    yield list(islice(decoded, BATCH))
    while batch := list(islice(decoded, BATCH)):
        yield batch


def _is_generator(data: Any) -> bool:
    return isinstance(data, keras.utils.PyDataset) or hasattr(data, "element_spec")


def _batches_of(data: Any) -> Iterable[Any]:
    return (data[number] for number in range(len(data))) if isinstance(data, keras.utils.PyDataset) else data


def _inputs(batch: Any) -> Any:
    return batch[0] if isinstance(batch, list | tuple) else batch


def _targets(batch: Any) -> np.ndarray:
    if not isinstance(batch, list | tuple) or len(batch) < 2:
        raise DigitError("the generator gives no labels: give one with images and labels.")
    return np.asarray(batch[1])
