"""Batches of images that go straight into `model.fit`, `model.evaluate` and `model.predict`."""

from __future__ import annotations

import base64
import html
import io
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from natsort import natsorted

from digitlib.data.cache import key_of, pixels_for, read_images
from digitlib.data.decoding import as_pil
from digitlib.data.sources import find_images
from digitlib.data.split import pixels_of, read_split
from digitlib.errors import DigitError, as_size, is_whole
from digitlib.files import StrPath, display_path
from digitlib.run import Run, open_run
from digitlib.training.augmentation import Augmentation, affine_maps, resample, sample_parameters, scale_parameters
from digitlib.training.backend import keras
from digitlib.training.recipes import Recipe

ColorMode = Literal["grayscale", "rgb"]
ClassMode = Literal["categorical", "sparse", "binary"] | None
Step = Callable[[np.ndarray], Any]
CHOICES = {"color_mode": ("grayscale", "rgb"), "class_mode": ("categorical", "sparse", "binary", None)}
CHOICES["resize"] = ("squeeze", "pad", "crop")

BLOCK_IMAGES, BLOCK_BYTES, KEPT_BYTES = 1024, 2**25, 2**27
"""Batches are made together, up to this many images and bytes; of an epoch up to so many bytes all of them are kept."""

_ONE_AT_A_TIME = threading.Lock()
"""Two threads ask for batches, see `ImageBatches`."""

COOLDOWN_STRENGTH = 0.4
"""Strength of the transforms in the cooldown epochs; chosen on validation data, see benchmarks/."""


class ImageBatches(keras.utils.PyDataset):
    """Labelled images in batches, augmented differently in every epoch.

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
    batch_size : int
        Images a batch; the last one may be smaller.
    class_mode : {"categorical", "sparse", "binary", None}
        One-hot labels, integer labels, 0.0 or 1.0, or no labels.
    shuffle : bool
        Another order in every epoch.
    seed : int
        The order and the transforms depend on it and the epoch alone: not on timing, threads, or the order in which
        batches are asked for.
    least_steps : int
        Batches that an epoch has at least; with few images, each is in it several times, augmented differently.
    cooldown_from : int, optional
        From this epoch on (counted from 0) transforms have 0.4 of their strength, so that the last weights fit images
        as they are.
    class_weight : {"none", "balanced"}
        "balanced" gives batches a third array, the weight of each image, with which all classes count alike.
    resize : {"squeeze", "pad", "crop"}
        How `images` of another aspect ratio were brought to that of `image_size` when they were decoded.
    augment : callable, keras.layers.Layer, or sequence of these
        Applied in order to each batch after the transforms: each takes float32, shape (n, height, width, channels), 0 to
        255, and returns the same shape and range. The random numbers of Keras's layers depend on `seed`, the epoch and
        the batch alone, whatever seed a layer has; a function draws its own.
    **augmentation
        Settings of `digitlib.training.augmentation.Augmentation`, named as in `ImageDataGenerator`.

    Attributes
    ----------
    class_names : list of str
        In the order of the labels.
    class_indices : dict of str to int
        Label of each class.
    filenames : list of str
        In the order of the data set.
    classes : numpy.ndarray
        int32, shape (n,): label of each image.
    samples : int
        Number of images, n.

    Examples
    --------
    >>> batches = ImageBatches.from_array(np.zeros((5, 28, 28), np.uint8), [0, 1, 1, 0, 1], batch_size=2)
    >>> len(batches), batches[0][0].shape, batches.class_names
    (3, (2, 28, 28, 1), ['0', '1'])
    """

    _order: np.ndarray
    _maps: np.ndarray | None
    _next: int

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
        least_steps: int = 0,
        cooldown_from: int | None = None,
        class_weight: Literal["none", "balanced"] = "none",
        resize: str = "squeeze",
        augment: Step | Sequence[Step] = (),
        **augmentation: Any,
    ) -> None:
        # By two workers Keras turns off the autotuning of tf.data, whose thread `fit`, `evaluate` and `predict` would wait for
        # at the beginning of an epoch: 3 to 5 s in every second one.
        super().__init__(workers=2)
        for name, choice in (("color_mode", color_mode), ("class_mode", class_mode), ("resize", resize)):
            if choice not in CHOICES[name]:
                raise DigitError(f"{name} is {choice!r}: choose one of {', '.join(map(repr, CHOICES[name]))}.")
        for name, whole, least in (("batch_size", batch_size, 1), ("seed", seed, 0)):
            if not is_whole(whole) or whole < least:
                raise DigitError(f"{name} is {whole!r}: it must be an integer ≥ {least}.")
        if class_mode == "binary" and len(class_names) != 2:
            raise DigitError(
                f"class_mode 'binary' takes two classes, not {len(class_names)}: choose 'categorical' or 'sparse'."
            )
        self.augmentation = Augmentation.from_options(augmentation)
        self.image_size = as_size(image_size)
        self.color_mode, self.batch_size = color_mode, batch_size
        self.class_mode, self.shuffle, self.seed = class_mode, shuffle, seed
        self.cooldown_from, self.least_steps = cooldown_from, least_steps
        self.class_weight, self.resize = class_weight, resize
        self.class_names = list(class_names)
        self.class_indices = {name: label for label, name in enumerate(class_names)}
        self.filenames = files["filename"].tolist()
        self.classes = files["class"].map(self.class_indices).to_numpy(np.int32)
        self.samples = len(self.classes)
        self._weights = None
        if class_weight == "balanced":  # as in scikit-learn, the mean over all images is 1
            counts = np.bincount(self.classes, minlength=len(class_names))
            self._weights = (self.samples / (np.count_nonzero(counts) * np.maximum(counts, 1))).astype(np.float32)
        self._images, self._rows = images, rows
        self.steps = tuple(augment) if isinstance(augment, list | tuple) else (augment,)
        self.start_at(0)
        if self.steps and self.samples:  # a step that doesn't fit is refused here, not within a training
            self.augment(self.originals(np.arange(min(self.samples, self.batch_size))), 0)

    @classmethod
    def from_array(
        cls, images: np.ndarray, labels: Any = None, class_names: list[str] | None = None, **options: Any
    ) -> ImageBatches:
        """Return images in memory as batches, as they are and in order unless `options` say otherwise.

        Parameters
        ----------
        images : numpy.ndarray
            uint8, shape (n, height, width) or (n, height, width, 1 or 3).
        labels : sequence, optional
            A class name, or its place in `class_names`, for each image; without labels batches hold images alone.
        class_names : list of str, optional
            All classes; by default those of `labels`, in natural order.
        **options
            See `ImageBatches`; size and colours are by default those of `images`.

        Examples
        --------
        >>> ImageBatches.from_array(np.zeros((5, 8, 8, 3), np.uint8))[0][0].shape
        (5, 8, 8, 3)
        """
        pixels = np.asarray(images)
        pixels = pixels[..., None] if pixels.ndim == 3 else pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] not in (1, 3):
            raise DigitError(
                f"images are {pixels.dtype} of shape {np.shape(images)}: they must be uint8 of shape (n, height, width) "
                "or (n, height, width, 1 or 3)."
            )
        classes = ["?"] * len(pixels) if labels is None else list(labels)
        if len(classes) != len(pixels):
            raise DigitError(f"there are {len(pixels)} images and {len(classes)} labels: give one label an image.")
        if class_names:
            classes = [class_names[int(label)] if is_whole(label) else label for label in classes]
        names = [str(number) for number in range(len(pixels))]
        defaults = {
            "image_size": pixels.shape[1:3],
            "color_mode": "grayscale" if pixels.shape[-1] == 1 else "rgb",
            "class_mode": None if labels is None else "categorical",
            "shuffle": False,
        }
        files = pd.DataFrame({"filename": names, "class": [str(name) for name in classes]})
        class_names = class_names or natsorted(files["class"].unique())
        return cls(pixels, np.arange(len(pixels)), files, class_names, **(defaults | options))

    def __len__(self) -> int:
        return max(-(-self.samples // self.batch_size), self.least_steps)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        index = range(len(self))[index]
        with _ONE_AT_A_TIME:
            images = self._images_of(index)
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        labels = self.classes[chosen]
        if self.class_mode is None:
            return (images,)
        weights = () if self._weights is None else (self._weights[labels],)
        if self.class_mode == "categorical":
            return images, np.eye(len(self.class_names), dtype=np.float32)[labels], *weights
        return images, labels.astype(np.float32) if self.class_mode == "binary" else labels, *weights

    def _images_of(self, index: int) -> np.ndarray:
        """Return the images of a batch, made together with those of the batches around it: what a call costs is paid once.

        Which batch is asked for when makes no difference to its images. Of an epoch too large to be kept, batches that are
        asked for out of order are made one by one.
        """
        size, one_image = self.batch_size, 4 * int(np.prod(self.image_shape))
        together = max(1, min(BLOCK_IMAGES, BLOCK_BYTES // one_image) // size)
        (block, place), in_order = divmod(index, together), index == self._next
        kept, self._next = len(self._order) * one_image <= KEPT_BYTES, index + 1
        if block not in self._blocks:
            if not kept:
                self._blocks.clear()
                if place or not in_order:
                    return self._made(index * size, size)
            self._blocks[block] = self._made(block * together * size, together * size), set()
        images, served = self._blocks[block]
        served.add(place)
        if len(served) * size >= len(images):
            del self._blocks[block]
        return images[place * size : (place + 1) * size]

    def _made(self, start: int, n: int) -> np.ndarray:
        """Return the next `n` images of this epoch's order from `start` on."""
        chosen = self._order[start : start + n]
        if self._maps is None:  # the transforms of the whole epoch, whose numbers do not depend on who asks first
            self._maps = self._draw(len(self._order), 0)
        return self._resampled(self.originals(chosen), self._maps[start : start + n], start // self.batch_size)

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
        self.epoch, self._begun = epoch, False
        self._maps, self._next = None, 0
        self._blocks: dict[int, tuple[np.ndarray, set[int]]] = {}
        rng, rounds = np.random.default_rng((self.seed, epoch)), -(-len(self) * self.batch_size // max(1, self.samples))
        orders = [rng.permutation(self.samples) if self.shuffle else np.arange(self.samples) for _ in range(rounds)]
        self._order = np.concatenate(orders)[: max(self.samples, self.least_steps * self.batch_size)]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one image as the network sees it."""
        return (*self.image_size, 1 if self.color_mode == "grayscale" else 3)

    def originals(self, chosen: np.ndarray) -> np.ndarray:
        """Return images of the data set by their place in `filenames`, as stored: uint8, one channel where all are equal."""
        pixels = np.asarray(self._images[self._rows[chosen]])
        if self.color_mode == "rgb" or pixels.shape[-1] == 1:
            return pixels
        red, green, blue = np.moveaxis(
            pixels.astype(np.uint32), -1, 0
        )  # weights of Pillow's convert("L") (ITU-R 601-2)
        return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)[..., None]

    def augment(self, pixels: np.ndarray, index: int) -> np.ndarray:
        """Return images as the network sees them: augmented, resized and rescaled in one resampling.

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
        return self._resampled(pixels, self._draw(len(pixels), index), index)

    def _draw(self, n: int, index: int) -> np.ndarray:
        """Return the affine maps of `n` images, float32, shape (n, 2, 3)."""
        rng = np.random.default_rng((self.seed, self.epoch, index))
        parameters = sample_parameters(self.augmentation, n, self.image_size, rng)
        if self.cooldown_from is not None and self.epoch >= self.cooldown_from:
            parameters = scale_parameters(parameters, COOLDOWN_STRENGTH)
        return affine_maps(parameters, self.image_size, self._images.shape[1:3])

    def _resampled(self, pixels: np.ndarray, maps: np.ndarray, index: int) -> np.ndarray:
        """Return images through their maps, and batch by batch, the first of which is `index`, through `augment`."""
        scale = 1.0 if self.augmentation.rescale is None else self.augmentation.rescale
        images = self._looked_up(pixels, maps, 1.0 if self.steps else scale)
        for number, start in enumerate(range(0, len(images) if self.steps else 0, self.batch_size), index):
            batch, rng = (
                images[start : start + self.batch_size],
                np.random.default_rng((self.seed, self.epoch, number, 1)),
            )
            for step in self.steps:
                batch[:] = _apply_step(step, batch, rng)
            batch *= scale
        return images

    def _looked_up(self, pixels: np.ndarray, maps: np.ndarray, scale: float) -> np.ndarray:
        setting, (*size, channels) = self.augmentation, self.image_shape
        if not setting.changes_places and pixels.shape[1:3] == tuple(size):
            plain = pixels.astype(np.float32) * np.float32(scale)
            return plain if plain.shape[-1] == channels else np.repeat(plain, 3, axis=-1)
        return resample(pixels, maps, self.image_shape, fill_mode=setting.fill_mode, cval=setting.cval, scale=scale)

    def _repr_html_(self) -> str:
        """Show classes, counts and the first images in a notebook."""
        counts = np.bincount(self.classes, minlength=len(self.class_names))
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.class_names[:SHOWN])
        cells = "".join(f"<td>{count:,}</td>" for count in counts[:SHOWN])
        more = f"<p>and {len(counts) - SHOWN} more classes</p>" if len(counts) > SHOWN else ""
        images = "".join(map(_thumbnail, self.originals(np.arange(min(SHOWN, self.samples)))))
        shape = " × ".join(map(str, self.image_shape))
        return (
            f"<p>{self.samples:,} images of {shape} pixels in {len(self)} batches of {self.batch_size}</p>"
            f"<table><tr>{head}</tr><tr>{cells}</tr></table>{more}<p>{images}</p>"
        )


def _apply_step(step: Step, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a batch as a step of `augment` makes it; a Keras layer's random numbers come from `rng`."""
    name, before, options = getattr(step, "__name__", type(step).__name__), images.max(), {}
    if isinstance(step, keras.layers.Layer):
        options = {"training": True}
        for state in (variable for variable in step.variables if variable.name == "seed_generator_state"):
            state.assign(rng.integers(2**32, size=2, dtype=np.uint32))
    elif not callable(step):
        raise DigitError(f"augment is {step!r}: it must be a function of images or a Keras layer, or a list of them.")
    pixels = np.asarray(step(images, **options))
    if pixels.shape != images.shape or not np.can_cast(pixels.dtype, np.float32, "same_kind") or pixels.dtype == bool:
        told = f"{pixels.dtype} of shape {pixels.shape}: it must return numbers of the shape it takes, here {images.shape}."
        raise DigitError(f"augment: {name} returned {told}")
    if not (pixels.min() >= -0.01 and pixels.max() <= 255.01) or before > 1 >= pixels.max() > 0:
        told = f"{pixels.min():g} to {pixels.max():g}: they must be 0 to 255; use np.clip, or a layer's value_range."
        raise DigitError(f"augment: {name} returned pixels from {told}")
    return pixels


SHOWN = 12
"""Classes and images that the HTML repr of a generator shows."""


def _thumbnail(pixels: np.ndarray) -> str:
    """Return one image, uint8, as an HTML element that holds it as PNG."""
    image = as_pil(pixels)
    image.thumbnail((64, 64))
    file = io.BytesIO()
    image.save(file, "PNG")
    return f'<img src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}" alt="" height="48">'


def generator_from_split(run: Run | str, sets: str | tuple[str, ...], **options: Any) -> ImageBatches:
    """Return the images of one or more sets of a run's split: "train", "validation", "test", or several together.

    See `ImageBatches` for `options`. The images are in the order of the split unless they are shuffled.

    Examples
    --------
    >>> generator_from_split("runs/default", "test", shuffle=False).samples  # doctest: +SKIP
    1000
    """
    run = open_run(run)
    manifest = read_split(run)
    wanted = (sets,) if isinstance(sets, str) else tuple(sets)
    there = sorted(manifest["part"].unique())
    for name in wanted or [sets]:
        if name not in there:
            raise DigitError(f"the split has no {name!r} set: choose from {', '.join(there)}.")
    files = manifest[manifest["part"].isin(wanted)]
    # All sets are asked for, so that they share one entry of the cache.
    size, resize = as_size(options.get("image_size", (28, 28))), options.get("resize", "squeeze")
    images, rows = pixels_of(run, manifest, size, resize)
    return ImageBatches(images, rows[files.index], files, run.class_names, **options)


def generator_from_directory(folder: StrPath, **options: Any) -> ImageBatches:
    """Return the images of a folder whose sub-folders are the classes, such as a run's TRAIN/.

    See `ImageBatches` for `options`. Images are in natural order of their files unless shuffled; files that are not
    images are left out.

    Examples
    --------
    >>> generator_from_directory("runs/default/TEST").class_names  # doctest: +SKIP
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']
    """
    source, image_size = find_images(folder), as_size(options.get("image_size", (28, 28)))
    resize = options.get("resize", "squeeze")
    paths = [str(source.root / name) for name in source.files["filename"]]
    reading = read_images(paths, image_size, resize)
    files = source.files.drop(index=list(reading.rejected)).assign(
        sha256=lambda kept: [reading.sha256[i] for i in kept.index]
    )
    if files.empty:
        raise DigitError(f"folder {display_path(source.root)!r} holds no file that can be read as an image.")
    usable = [paths[index] for index in files.index]
    # The entry that was just written is named by all files, those that were left out among them.
    images, rows = pixels_for(lambda: usable, files["sha256"].tolist(), image_size, key_of(reading.sha256), resize)
    return ImageBatches(images, rows, files.reset_index(drop=True), source.class_names, **options)


def eval_generator(run: Run | str, spec: Any, sets: str | tuple[str, ...]) -> ImageBatches:
    """Return sets of the split for evaluation: not augmented, in the order of the split.

    Parameters
    ----------
    run : Run or path
        A run that has its split.
    spec : Recipe or Classifier
        Gives size and colours.
    sets : str or tuple of str
        "train", "validation" or "test", or several of them.

    Examples
    --------
    >>> eval_generator("runs/default", get_recipe("fast"), "test").samples  # doctest: +SKIP
    1000
    """
    height, width = spec.image_size
    batch_size = min(max(2**18 // (height * width), 32), 256)
    return generator_from_split(run, sets, **image_form(spec), batch_size=batch_size, shuffle=False)


def image_form(spec: Any) -> dict[str, Any]:
    """Return the options of `ImageBatches` by which a Recipe or Classifier has its images."""
    return {name: getattr(spec, name) for name in ("image_size", "color_mode", "resize")}


def train_val_generators(run: Run | str, recipe: Recipe, augment: Any = ()) -> tuple[ImageBatches, ImageBatches]:
    """Return the generators that a recipe trains on and chooses its best epoch by.

    The first is shuffled and augmented, by `augment` of `ImageBatches` as well; the second is neither.

    Examples
    --------
    >>> train, validation = train_val_generators("runs/default", get_recipe("fast"))  # doctest: +SKIP
    """
    train = generator_from_split(run, recipe.train_on, augment=augment, **train_options(recipe))
    return train, eval_generator(run, recipe, recipe.validate_on)


def train_options(recipe: Recipe) -> dict[str, Any]:
    """Return the arguments with which `ImageBatches` makes what a recipe trains on."""
    names = ("batch_size", "seed", "least_steps", "cooldown_from", "class_weight")
    return image_form(recipe) | {name: getattr(recipe, name) for name in names} | dict(recipe.augmentation)
