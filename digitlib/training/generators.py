"""Batches of images that go straight into `model.fit`, `model.evaluate` and `model.predict`."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
import pandas as pd

from digitlib.data.cache import key_of, pixels_for, read_images
from digitlib.data.sources import find_images
from digitlib.data.split import class_names_of, pixels_of, read_split
from digitlib.errors import DigitError, as_size, is_whole
from digitlib.files import display_path
from digitlib.run import Run
from digitlib.training.augmentation import (
    Augmentation,
    maps_of,
    resample,
    sample_parameters,
    scale_parameters,
)
from digitlib.training.backend import keras

ColorMode = Literal["grayscale", "rgb"]
CALM = 0.4
"""Strength of the transforms in the calm last epochs; chosen on validation data, see benchmarks/."""

BLOCK_IMAGES, BLOCK_BYTES = 1024, 2**25
"""Batches are made some at a time, up to this many images and bytes: what a call costs is paid once for all of them."""

ClassMode = Literal["categorical", "sparse", "binary"] | None


class ImageBatches(keras.utils.PyDataset):
    """Images of a data set in batches, augmented anew in every epoch.

    Parameters
    ----------
    images : numpy.ndarray
        uint8, shape (m, height, width, 1 or 3): the decoded images.
    rows : numpy.ndarray
        int, shape (n,): which of `images` belong to the data set, in order.
    files : pandas.DataFrame
        ``filename`` and ``class`` of these n images.
    class_names : list of str
        All classes; their order gives the labels.
    image_size : tuple of int
        (height, width) of the batches.
    color_mode : {"grayscale", "rgb"}
        One channel or three.
    batch_size : int
        Images a batch; the last one may be smaller.
    class_mode : {"categorical", "sparse", "binary", None}
        One-hot labels, integer labels, 0.0 or 1.0, or no labels.
    shuffle : bool
        Another order in every epoch.
    seed : int
        Order and augmentation depend on it, the epoch and the batch's number
        alone, not on timing or threads.
    interpolation : {"bilinear", "nearest"}
        How values between pixels are found.
    cooldown_from : int, optional
        From this epoch on (counted from 0) transforms have 0.4 of their
        strength, so that the last weights fit images as they are.
    **augmentation
        Settings of `digitlib.training.augmentation.Augmentation`, named as in `ImageDataGenerator`.

    Attributes
    ----------
    class_indices : dict of str to int
        Label of each class.
    filenames : list of str
        In the order of the data set.
    classes : numpy.ndarray
        int32, shape (n,): label of each image.
    samples : int
        Number of images, n.
    """

    def __init__(
        self,
        images: np.ndarray,
        rows: np.ndarray,
        files: pd.DataFrame,
        class_names: list[str],
        *,
        image_size: tuple[int, int] = (28, 28),
        color_mode: ColorMode = "grayscale",
        batch_size: int = 32,
        class_mode: ClassMode = "categorical",
        shuffle: bool = True,
        seed: int = 0,
        interpolation: Literal["bilinear", "nearest"] = "bilinear",
        cooldown_from: int | None = None,
        **augmentation: Any,
    ) -> None:
        super().__init__()
        _check(color_mode, batch_size, class_mode, len(class_names))
        _check_draws(seed, interpolation)
        self.augmentation = Augmentation.named(augmentation)
        self.image_size = as_size(image_size)
        self.color_mode, self.batch_size = color_mode, batch_size
        self.class_mode, self.shuffle, self.seed = class_mode, shuffle, seed
        self.interpolation, self.cooldown_from = interpolation, cooldown_from
        self.class_indices = {name: label for label, name in enumerate(class_names)}
        self.filenames = files["filename"].tolist()
        self.classes = files["class"].map(self.class_indices).to_numpy(np.int32)
        self.samples = len(self.classes)
        self.epoch, self._next, self._first, self._begun = 0, 0, 0, False
        self._images, self._rows = images, rows
        self._order = self._ordered()
        fitting = min(BLOCK_IMAGES, BLOCK_BYTES // (4 * int(np.prod(self.image_shape))))
        self._batches_a_block = max(1, fitting // batch_size)
        self._made: tuple[tuple[int, int], np.ndarray, np.ndarray | None] | None = None

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray] | tuple[np.ndarray]:
        index = range(len(self))[index]
        pixels, labels = self._batch(*divmod(index, self._batches_a_block), in_order=index == self._next)
        self._next = index + 1
        return (pixels,) if labels is None else (pixels, labels)

    def on_epoch_begin(self) -> None:
        """Take note that Keras begins an epoch."""
        self._begun = True

    def on_epoch_end(self) -> None:
        """Go to the next epoch: another order, other transforms.

        Keras calls this once before a training as well. No epoch has begun then, and the generator goes to its first one,
        so that two trainings with one generator see the same images.
        """
        self._go_to(self.epoch + 1 if self._begun else self._first)

    def start_at(self, epoch: int) -> None:
        """Go to an epoch, counted from 0, which a training then begins with: its images are those that it has in any."""
        self._first = epoch
        self._go_to(epoch)

    def _go_to(self, epoch: int) -> None:
        self.epoch, self._next, self._begun = epoch, 0, False
        self._order = self._ordered()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one image as the network sees it."""
        return (*self.image_size, 1 if self.color_mode == "grayscale" else 3)

    def originals(self, chosen: np.ndarray) -> np.ndarray:
        """Return images of the data set by their place in `filenames`, as stored: uint8, one channel where all are equal."""
        pixels = np.asarray(self._images[self._rows[chosen]])
        return _luminance(pixels) if self.color_mode == "grayscale" and pixels.shape[-1] == 3 else pixels

    def _ordered(self) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.samples)
        return np.random.default_rng((self.seed, self.epoch)).permutation(self.samples)

    def vary(self, pixels: np.ndarray, index: int) -> np.ndarray:
        """Return images as the network sees them: rescaled, augmented and resized in one resampling.

        Parameters
        ----------
        pixels : numpy.ndarray
            uint8, shape (n, height, width, channels), as from `originals`.
        index : int
            With the seed and the epoch it decides the transforms.

        Returns
        -------
        numpy.ndarray
            float32, shape (n, height, width, channels), the last three as in `image_shape`.
        """
        return self._looked_up(pixels, self._maps(len(pixels), index, pixels.shape))

    def _batch(self, block: int, place: int, in_order: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Return one batch, by its block and its place in there.

        Batches asked for in order are made a block at a time. Out of order
        (as Keras asks unless told ``shuffle=False``) each is made by itself, with the same result.
        """
        size = self._batches_a_block * self.batch_size
        chosen = self._order[block * size : (block + 1) * size]
        batch = slice(place * self.batch_size, (place + 1) * self.batch_size)
        if self._made is None or self._made[0] != (self.epoch, block):
            maps = self._maps(len(chosen), block, self._images.shape)
            if not in_order or place:
                pixels = self.originals(chosen[batch])
                return self._looked_up(pixels, None if maps is None else maps[batch]), self._labels(
                    chosen[batch]
                )
            pixels = self._looked_up(self.originals(chosen), maps)
            self._made = (self.epoch, block), pixels, self._labels(chosen)
        _, pixels, labels = self._made
        return pixels[batch], None if labels is None else labels[batch]

    def _maps(self, n: int, index: int, shape: tuple[int, ...]) -> np.ndarray | None:
        """Return the transforms of `n` stored images of some shape, None if they stay as they are."""
        setting, stored_size = self.augmentation, (shape[1], shape[2])
        if not setting.moves() and stored_size == self.image_size:
            return None
        parameters = sample_parameters(
            setting, n, self.image_size, np.random.default_rng((self.seed, self.epoch, index))
        )
        if self.cooldown_from is not None and self.epoch >= self.cooldown_from:
            parameters = scale_parameters(parameters, CALM)
        return maps_of(parameters, self.image_size, stored_size)

    def _looked_up(self, pixels: np.ndarray, maps: np.ndarray | None) -> np.ndarray:
        """Return stored images transformed and rescaled, with as many channels as the network sees."""
        setting = self.augmentation
        scale = 1.0 if setting.rescale is None else setting.rescale
        if maps is None:
            plain = pixels.astype(np.float32) * np.float32(scale)
            return plain if plain.shape[-1] == self.image_shape[-1] else np.repeat(plain, 3, axis=-1)
        return resample(
            pixels,
            np.arange(len(pixels)),
            maps,
            self.image_shape,
            fill_mode=setting.fill_mode,
            cval=setting.cval,
            scale=scale,
            interpolation=self.interpolation,
        )

    def _labels(self, chosen: np.ndarray) -> np.ndarray | None:
        labels = self.classes[chosen]
        if self.class_mode == "categorical":
            return np.eye(len(self.class_indices), dtype=np.float32)[labels]
        if self.class_mode == "binary":
            return labels.astype(np.float32)
        return labels if self.class_mode == "sparse" else None


def generator_from_split(run: Run, parts: str | tuple[str, ...], **options: Any) -> ImageBatches:
    """Return the images of one or more parts of a run's split.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.
    parts : str or tuple of str
        "train", "validation", "test", or several of them together.
    **options
        See `ImageBatches`.

    Returns
    -------
    ImageBatches
        In the order of the split unless it shuffles.

    Raises
    ------
    DigitError
        If the run has no split yet, or a setting is unknown.
    """
    manifest = read_split(run)
    wanted = (parts,) if isinstance(parts, str) else tuple(parts)
    there = sorted(manifest["part"].unique())
    for part in wanted or [parts]:
        if part not in there:
            raise DigitError(f"the split has no part {part!r}: choose from {', '.join(there)}.")
    files = manifest[manifest["part"].isin(wanted)]
    image_size = as_size(options.get("image_size", (28, 28)))
    # The whole manifest is asked for, so that all parts share one entry of the cache.
    images, rows = pixels_of(run, manifest, image_size)
    return ImageBatches(images, rows[files.index], files, class_names_of(run), **options)


def generator_from_directory(folder: str | os.PathLike[str], **options: Any) -> ImageBatches:
    """Return the images of a folder whose sub-folders are the classes, such as a run's TRAIN/.

    Files that are no images are left out.

    Parameters
    ----------
    folder : str or path-like
        See `digitlib.data.sources.find_images`.
    **options
        See `ImageBatches`.

    Returns
    -------
    ImageBatches
        In natural order of the files unless it shuffles.

    Raises
    ------
    DigitError
        If there is no such folder, or nothing usable in it.
    """
    source, image_size = find_images(folder), as_size(options.get("image_size", (28, 28)))
    paths = [str(source.root / name) for name in source.files["filename"]]
    reading = read_images(paths, image_size)
    files = source.files.drop(index=list(reading.rejected)).assign(
        sha256=lambda kept: [reading.sha256[i] for i in kept.index]
    )
    if files.empty:
        raise DigitError(f"folder {display_path(source.root)!r} holds no file that can be read as an image.")
    usable = [paths[index] for index in files.index]
    # The entry that was just written is named by all files, those that were left out among them.
    images, rows = pixels_for(lambda: usable, files["sha256"].tolist(), image_size, key_of(reading.sha256))
    return ImageBatches(images, rows, files.reset_index(drop=True), source.class_names, **options)


def _luminance(pixels: np.ndarray) -> np.ndarray:
    """Return grey values of RGB pixels, weighted as in Pillow's ``convert("L")`` (ITU-R 601-2)."""
    red, green, blue = np.moveaxis(pixels.astype(np.uint32), -1, 0)
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)[..., None]


def _check(color_mode: str, batch_size: int, class_mode: ClassMode, n_classes: int) -> None:
    if color_mode not in ("grayscale", "rgb"):
        raise DigitError(f"color_mode is {color_mode!r}: choose 'grayscale' or 'rgb'.")
    if not is_whole(batch_size) or batch_size < 1:
        raise DigitError(f"batch_size is {batch_size!r}: give a whole number from 1 on.")
    if class_mode not in ("categorical", "sparse", "binary", None):
        raise DigitError(f"class_mode is {class_mode!r}: choose 'categorical', 'sparse', 'binary' or None.")
    if class_mode == "binary" and n_classes != 2:
        raise DigitError(
            f"class_mode 'binary' takes two classes, not {n_classes}: choose 'categorical' or 'sparse'."
        )


def _check_draws(seed: int, interpolation: str) -> None:
    if not is_whole(seed) or seed < 0:
        raise DigitError(f"seed is {seed!r}: give a whole number from 0 on.")
    if interpolation not in ("bilinear", "nearest"):
        raise DigitError(f"interpolation is {interpolation!r}: choose 'bilinear' or 'nearest'.")
