"""Name pictures in MNIST's form, whichever ink the network has learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from digitlib.data.decoding import read_files, rims_are_light
from digitlib.data.split import paths_of, read_split
from digitlib.run import Run

if TYPE_CHECKING:
    from digitlib.training.backend import keras
    from digitlib.training.recipes import Recipe


def name_pictures(
    model: keras.Model,
    recipe: Recipe,
    class_names: list[str],
    pictures: np.ndarray,
    *,
    dark_on_light: bool = False,
) -> pd.DataFrame:
    """Return how likely each class is for pictures in MNIST's form.

    Parameters
    ----------
    model, recipe, class_names
        As from `digitlib.pipeline.predict_folder.open_model`.
    pictures : numpy.ndarray
        uint8, shape (n, 28, 28): ink is 255, as `digitlib.handwriting.mnist_format.to_mnist_format` makes them.
    dark_on_light : bool
        Whether the network has learnt dark ink on light paper; the pictures are inverted then.

    Returns
    -------
    pandas.DataFrame
        A row a picture, a column a class; shares from 0 to 1.
    """
    from digitlib.training.train import as_batches

    shown = 255 - pictures if dark_on_light else pictures
    batches = as_batches(shown[..., None], recipe)
    parts = [model.predict_on_batch(batches[place][0]) for place in range(len(batches))]
    likely = np.concatenate(parts) if parts else np.empty((0, len(class_names)))
    return pd.DataFrame(likely, columns=class_names).astype(float)


def dark_on_light(run: Run, n: int = 100) -> bool:
    """Say whether a run's images are dark ink on light paper, by the rims of some of them.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.
    n : int
        How many of its images to look at, or all if there are fewer.

    Returns
    -------
    bool
        False as well if none of the images is there any more: MNIST is light on dark.
    """
    manifest = read_split(run)
    some = manifest.iloc[np.linspace(0, len(manifest) - 1, min(n, len(manifest)), dtype=int)]
    images = [done.image for done in read_files(paths_of(run, some), "grayscale") if done.image is not None]
    return bool(images) and rims_are_light(images)
