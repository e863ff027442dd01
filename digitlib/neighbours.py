"""A second look at what networks are unsure of: which training images are nearest, where both may be bent a little."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from digitlib.backend import keras, tensorflow
from digitlib.generators import ImageBatches

ops = keras.ops

SIDE = 28
"""Pixels a side that pictures are compared at."""

WARP = 2
"""How many pixels aside a pixel may have been bent, at that size; in thumbnails, half as many."""

MOST = 60_000
"""Training images that are remembered at most: as many as MNIST has."""

SOBEL = np.outer([1, 2, 1], [-1, 0, 1]).astype(np.float32) / 4
"""Slope of grey across a picture; down it, the same lying."""


@keras.saving.register_keras_serializable("digitlib")
class Neighbours(keras.layers.Layer):
    """Has answers that are not sure weighed anew by the training images that are nearest.

    A network has to put all that it has learnt into its weights; here the training images are asked themselves, of which
    some may be by the same hand. They err on other images than networks do. Of the likeliest classes of an unsure image,
    what they had together is divided anew: by their probabilities, and by how near the nearest images of each are.

    Near is meant in the image distortion model (D. Keysers and others, "Deformation models for image recognition", 2007,
    https://doi.org/10.1109/TPAMI.2007.1153), with the ranges given there: each pixel of a training image may stand up to
    two pixels aside, and is compared with its eight neighbours, in the slopes of grey (Sobel). Only the most promising
    are compared so: those that are nearest in thumbnails of half the side, first pixel by pixel, then bent.

    Parameters
    ----------
    number : int
        Training images.
    limit : float
        Answers below this probability are unsure.
    classes : int
        How many of the likeliest classes are compared.
    glances, candidates : int
        How many images of each are compared as thumbnails, and how many of these in full.
    nearest : int
        Over how many of these the distance of a class is the mean.
    weight : float
        What a class loses that is twice as far as the nearest one, in logarithmic probability.
    scale : float
        Brings pixels as the network takes them to 0 to 255.
    **options
        Of any Keras layer.

    Notes
    -----
    The settings were chosen on MNIST's images outside the split, see docs/performance.md.
    """

    def __init__(
        self, number: int, limit: float = 0.86, classes: int = 2, glances: int = 1000, candidates: int = 100,
        nearest: int = 2, weight: float = 4.0, scale: float = 255.0, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        self.settings: dict[str, Any] = {
            "number": number, "limit": limit, "classes": classes, "glances": glances, "candidates": candidates,
            "nearest": nearest, "weight": weight, "scale": scale,
        }  # fmt: skip
        self.supports_jit = False  # XLA wants to know beforehand how many answers are unsure

    def build(self, *_: Any) -> None:
        """Make room for the training images, their thumbnails and their classes."""
        number = self.settings["number"]

        def room(name: str, *shape: int, dtype: str = "uint8") -> Any:
            return self.add_weight((number, *shape), "zeros", dtype, trainable=False, name=name)

        self.pictures = room("pictures", SIDE, SIDE)
        self.thumbnails = room("thumbnails", SIDE // 2, SIDE // 2)
        self.labels = room("labels", dtype="int32")
        self.built = True

    def remember(self, images: Iterable[np.ndarray], labels: np.ndarray) -> None:
        """Keep the training images.

        Parameters
        ----------
        images : iterable of numpy.ndarray
            float, each of shape (n, height, width, channels), as the network takes them; together `number`.
        labels : numpy.ndarray
            int, shape (number,): the place of each one's class.
        """
        if not self.built:
            self.build()
        pictures = np.concatenate([np.asarray(self._pictures_of(some)) for some in images])
        self.pictures.assign(np.rint(pictures).astype(np.uint8))
        self.thumbnails.assign(np.rint(np.asarray(_thumbnails(pictures))).astype(np.uint8))
        self.labels.assign(labels)

    def call(self, images: keras.KerasTensor, said: keras.KerasTensor) -> keras.KerasTensor:
        """Return the probabilities, those of unsure images weighed anew."""
        unsure = ops.nonzero(ops.max(said, axis=-1) < self.settings["limit"])[0]
        pictures = self._pictures_of(ops.take(images, unsure, axis=0))
        small, known = (
            ops.reshape(some, (-1, (SIDE // 2) ** 2))
            for some in (_thumbnails(pictures), ops.cast(self.thumbnails, "float32"))
        )
        # The square of a picture's own grey is the same for all, and left out.
        far = ops.sum(known * known, axis=1) - 2 * ops.matmul(small, ops.transpose(known))
        weighed = tensorflow.map_fn(  # Keras's own can't do with none in eager mode
            self._weighed,
            (pictures, far, ops.take(said, unsure, axis=0)),
            fn_output_signature=tensorflow.TensorSpec(said.shape[1:], said.dtype),
        )
        return ops.scatter_update(said, unsure[:, None], weighed)

    def _weighed(self, given: tuple[Any, Any, Any]) -> Any:
        """Weigh one image's probabilities anew."""
        picture, far, said = given
        before, classes = ops.top_k(said, self.settings["classes"])
        others = ops.where(self.labels[None] == ops.cast(classes, "int32")[:, None], far[None], np.inf)
        places = ops.top_k(-others, self.settings["glances"])[1]
        apart = _apart(_thumbnails(picture[None]), self.thumbnails, places, WARP // 2)
        nearer = ops.top_k(-apart, self.settings["candidates"])[1]
        apart = _apart(picture[None], self.pictures, ops.take_along_axis(places, nearer, axis=1), WARP)
        apart = -ops.mean(ops.top_k(-apart, self.settings["nearest"])[0], axis=1)
        further = apart / (ops.min(apart) + 1e-6) - 1
        shares = ops.softmax(ops.log(before + 1e-9) - self.settings["weight"] * further)
        return ops.scatter_update(said, classes[:, None], shares * ops.sum(before))

    def _pictures_of(self, images: Any) -> Any:
        """Return images as grey pictures, 0 to 255, shape (n, SIDE, SIDE)."""
        grey = ops.mean(ops.cast(images, "float32"), axis=-1, keepdims=True) * self.settings["scale"]
        if tuple(grey.shape[1:3]) != (SIDE, SIDE):
            grey = ops.image.resize(grey, (SIDE, SIDE), antialias=True)
        return grey[..., 0]

    def compute_output_spec(self, images: keras.KerasTensor, said: keras.KerasTensor) -> keras.KerasTensor:
        """Return what comes out: the shape of what goes in."""
        return keras.KerasTensor(said.shape, said.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return what `keras.saving` writes."""
        return {**super().get_config(), **self.settings}


def neighbours_from(train: ImageBatches) -> Neighbours:
    """Return the layer with the images of a generator, `MOST` of them by chance where there are more.

    Parameters
    ----------
    train : ImageBatches
        Not augmented, as from `digitlib.training.plain_generator`; of the training part, or what is measured on the
        others is too good.

    Returns
    -------
    Neighbours
        For `digitlib.joining.join_networks`.
    """
    chosen = np.sort(np.random.default_rng(0).permutation(train.samples)[:MOST])
    labels = train.classes[chosen]
    fewest = int(np.bincount(labels, minlength=len(train.class_indices)).min())
    layer = Neighbours(
        len(chosen), glances=min(1000, fewest), candidates=min(100, fewest), nearest=min(2, fewest),
        scale=1 / (train.augmentation.rescale or 1), name="neighbours",
    )  # fmt: skip
    some = np.array_split(chosen, len(chosen) // 1024 + 1)
    layer.remember((train.vary(train.originals(part), 0) for part in some), labels)
    return layer


def _thumbnails(pictures: Any) -> Any:
    """Return pictures of half the side."""
    return ops.average_pool(pictures[..., None], 2)[..., 0]


def _apart(picture: Any, known: Any, places: Any, warp: int) -> Any:
    """Return how far a picture is from those of `known` at `places`, in the shape of these."""
    asked = ops.cast(ops.take(known, ops.reshape(places, (-1,)), axis=0), "float32")
    return ops.reshape(bent_distances(picture, asked, warp), places.shape)


def bent_distances(one: Any, many: Any, warp: int = WARP) -> Any:
    """Return how far one picture is from many under the image distortion model, shape (n,)."""
    wide, slopes = one.shape[1] + 2, _slopes(many, warp)
    here = _slopes(one, warp)[:, warp : warp + wide, warp : warp + wide]
    least = None
    for down in range(2 * warp + 1):
        for across in range(2 * warp + 1):
            off = ops.square(slopes[:, down : down + wide, across : across + wide] - here)
            off = ops.average_pool(ops.sum(off, axis=-1, keepdims=True), 3, 1)
            least = off if least is None else ops.minimum(least, off)
    return ops.mean(least, axis=(1, 2, 3))


def _slopes(pictures: Any, warp: int) -> Any:
    """Return the slopes of grey across and down, also of a margin as wide as what is looked up there."""
    margin = warp + 2
    framed = ops.pad(pictures, ((0, 0), (margin, margin), (margin, margin)))
    return ops.conv(framed[..., None], np.stack([SOBEL, SOBEL.T], axis=-1)[:, :, None], padding="valid")
