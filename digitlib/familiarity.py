"""How much a picture is like what a network was trained on, by what the network's own layers make of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields, replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from digitlib.backend import keras
from digitlib.errors import DigitError
from digitlib.generators import ImageBatches

UNFAMILIAR = 0.002
"""Share of validation images that each limit declines; chosen on these and on other scripts in another font."""

FARTHEST = 10.0
"""Standard deviations beyond which a feature counts no more: pictures unlike any other can give any number."""


def observer_of(model: keras.Model) -> keras.Model:
    """Return a model that gives the network's probabilities and what each of its convolutions saw.

    Parameters
    ----------
    model : keras.Model
        A network in one row of layers, as those of `digitlib.models`, or several side by side, as of
        `digitlib.joining.join_networks`.

    Returns
    -------
    keras.Model
        From images to probabilities, shape (n, classes), and features, shape (n, d): mean and maximum over the
        picture of every channel behind each ReLU.

    Raises
    ------
    DigitError
        If the network has no convolution.
    """
    maps = [layer.output for layer in model.layers if _gives_map(layer)]
    if not maps:
        raise DigitError("this network has no convolution with ReLU, which familiarity is measured by.")
    means = [keras.ops.mean(one, axis=(1, 2)) for one in maps]
    maxima = [keras.ops.max(one, axis=(1, 2)) for one in maps]
    features = keras.ops.concatenate([keras.ops.cast(one, "float32") for one in means + maxima], axis=1)
    return keras.Model(model.inputs, [model.outputs[0], features])


def observe(observer: keras.Model, batches: ImageBatches) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and features of the images of an unshuffled generator, float32."""
    probabilities, features = observer.predict(batches, verbose=0)
    return np.asarray(probabilities), np.asarray(features)


@dataclass(frozen=True)
class Familiarity:
    """Two measures of how far a picture is from the training images, and the limit of each.

    The first is the Mahalanobis distance to the mean of the predicted class (after K. Lee et al., 2018,
    https://arxiv.org/abs/1807.03888), which finds what is unlike any writing. The second is a network of one hidden
    layer that has learned to tell the training images from written characters of other scripts (after D. Hendrycks
    et al., 2019, https://arxiv.org/abs/1812.04606), which finds what was written, but is none of the classes.

    Attributes
    ----------
    centre, scale : numpy.ndarray
        Mean and standard deviation of each feature, shape (d,).
    means, whitening : numpy.ndarray
        Mean of each class in the first half of the features, shape (classes, d / 2), and the matrix that makes their
        scatter even in all directions, shape (d / 2, d / 2).
    hidden, hidden_bias, output, output_bias : numpy.ndarray
        Weights of the one hidden layer, shapes (d, h), (h,), (h, 1), (1,).
    limits : numpy.ndarray
        Largest distance and smallest likeness of what is familiar, shape (2,).
    """

    centre: np.ndarray
    scale: np.ndarray
    means: np.ndarray
    whitening: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    output: np.ndarray
    output_bias: np.ndarray
    limits: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all of it as plain float32 arrays, to be written."""
        return {field.name: np.asarray(getattr(self, field.name), np.float32) for field in fields(self)}

    def distance(self, features: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return the Mahalanobis distance to the mean of each image's predicted class, shape (n,)."""
        means = self._scaled(features)[:, : self.means.shape[1]]
        return np.linalg.norm((means - self.means[predicted]) @ self.whitening, axis=1)

    def likeness(self, features: np.ndarray) -> np.ndarray:
        """Return the log-odds that an image is one of the classes and no other character, shape (n,)."""
        inner = np.maximum(self._scaled(features) @ self.hidden + self.hidden_bias, 0)
        return (inner @ self.output + self.output_bias)[:, 0]

    def familiar(self, features: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return whether each image is within both limits: bool, shape (n,)."""
        return (self.distance(features, predicted) <= self.limits[0]) & (
            self.likeness(features) >= self.limits[1]
        )

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        return np.clip((features - self.centre) / self.scale, -FARTHEST, FARTHEST)


def fit_familiarity(
    known: np.ndarray, labels: np.ndarray, drawn: np.ndarray, other: np.ndarray, n_classes: int, seed: int = 0
) -> Familiarity:
    """Learn from features what is familiar, without limits yet; see `with_limits`.

    Parameters
    ----------
    known, labels : numpy.ndarray
        Features of training images, shape (n, d), and their classes, int, shape (n,).
    drawn, other : numpy.ndarray
        Features of the classes' own characters and of others, drawn by the same pen, shapes (m, d) and (k, d): so that
        it is not how they were drawn that tells them apart.
    n_classes : int
        Number of classes.
    seed : int
        Of the hidden layer's first weights.

    Returns
    -------
    Familiarity
    """
    centre, scale, half = known.mean(axis=0), known.std(axis=0) + 1e-3, known.shape[1] // 2
    scaled = np.clip((np.concatenate([known, drawn, other]) - centre) / scale, -FARTHEST, FARTHEST)
    near = scaled[: len(known), :half]
    members = np.eye(n_classes)[labels]
    means = members.T @ near / np.maximum(members.sum(axis=0)[:, None], 1)
    scatter = np.cov(near - means[labels], rowvar=False)
    scatter += (1e-2 * np.trace(scatter) / half + 1e-6) * np.eye(
        half
    )  # few images leave directions without any
    answers = np.arange(len(scaled)) < len(known) + len(drawn)
    learner = MLPClassifier((64,), alpha=1e-2, early_stopping=True, max_iter=40, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 40 rounds are enough for what it is for
        learner.fit(scaled, answers)
    (hidden, output), (hidden_bias, output_bias) = learner.coefs_, learner.intercepts_
    return Familiarity(
        centre, scale, means, np.linalg.cholesky(np.linalg.inv(scatter)), hidden, hidden_bias, output, output_bias,
        limits=np.array([np.inf, -np.inf]),
    )  # fmt: skip


def with_limits(familiarity: Familiarity, features: np.ndarray, predicted: np.ndarray) -> Familiarity:
    """Return it with limits that each decline the share `UNFAMILIAR` of these validation images; of a few, none.

    Parameters
    ----------
    familiarity : Familiarity
        As from `fit_familiarity`.
    features, predicted : numpy.ndarray
        Of validation images: shape (n, d), and the predicted classes, int, shape (n,).
    """
    # Rounded to float32 as when it is stored: at a limit the rounding decides.
    kept = Familiarity(**familiarity.arrays())
    farthest = np.quantile(kept.distance(features, predicted), 1 - UNFAMILIAR, method="higher")
    least = np.quantile(kept.likeness(features), UNFAMILIAR, method="lower")
    return replace(kept, limits=np.array([farthest, least], np.float32))


def _gives_map(layer: keras.layers.Layer) -> bool:
    """Say whether a layer gives the picture that a convolution makes of its input, negative values cut off."""
    if isinstance(layer, keras.layers.Conv2D):
        return layer.activation is keras.activations.relu
    return isinstance(layer, keras.layers.ReLU) and len(layer.output.shape) == 4
