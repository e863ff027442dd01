"""How good a trained network is, on images that had no part in making it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn.metrics

from digitlib.data.split import read_split
from digitlib.errors import DigitError, is_whole
from digitlib.evaluation.statistics import wilson_interval
from digitlib.files import display_path, write_json
from digitlib.progress import progress
from digitlib.run import Run, best_epoch, check_split, read_history
from digitlib.training.backend import keras
from digitlib.training.generators import ImageBatches
from digitlib.training.recipes import Recipe
from digitlib.training.train import eval_generator, train_val_generators


def load_best_model(run: Run) -> keras.Model:
    """Return the network that a run has kept: of its best epoch, or of its last, as its recipe says.

    Parameters
    ----------
    run : Run
        A run that notebook 05 has trained.

    Returns
    -------
    keras.Model
        Ready to predict, computing in float32.

    Raises
    ------
    DigitError
        If notebook 05 has not trained one, the run has been split otherwise since, or the file is damaged or holds code
        of its own.
    """
    run.require("best_model.keras")
    check_split(run)
    return load_model(run / "best_model.keras")


def load_model(path: Path) -> keras.Model:
    """Return the network in a ``.keras`` file, without running any code that it may hold.

    Raises
    ------
    DigitError
        If it is no such file, cut short, or only loads by running code.
    """
    if path.suffix != ".keras":  # Keras would read other formats too, some of which run code
        raise DigitError(
            f"{display_path(path)} is no .keras file: give a run's folder or its best_model.keras."
        )
    try:
        return keras.models.load_model(path, safe_mode=True)
    except Exception as error:  # zip, h5py, json and keras each raise their own
        reason = str(error).strip().splitlines()[0][:150] if str(error).strip() else type(error).__name__
        raise DigitError(
            f"{display_path(path)} can't be loaded as a Keras model ({reason}): train again with notebook 05."
        ) from error


def predict_generator(model: keras.Model, generator: ImageBatches) -> pd.DataFrame:
    """Return what a network says of each image of an unshuffled generator.

    Parameters
    ----------
    model : keras.Model
        As from `load_best_model`.
    generator : ImageBatches
        As from `digitlib.training.train.eval_generator`.

    Returns
    -------
    pandas.DataFrame
        ``filename``, ``true`` (class name), ``predicted`` (class name),
        ``confidence`` (probability of the predicted class), ``correct`` (bool).

    Raises
    ------
    DigitError
        If the generator shuffles: its rows could not be told apart.
    """
    if generator.shuffle:
        raise DigitError(
            "predict_generator needs a generator with shuffle=False, so that rows keep their file names."
        )
    names = np.array(list(generator.class_indices))
    probabilities = model.predict(generator, verbose=0)
    table = pd.DataFrame(
        {
            "filename": generator.filenames,
            "true": names[generator.classes],
            "predicted": names[probabilities.argmax(axis=1)],
            "confidence": probabilities.max(axis=1).astype(float),
        }
    )
    return table.assign(correct=table["true"] == table["predicted"])


def answers_of(model: keras.Model, generator: ImageBatches, what: str) -> np.ndarray:
    """Return a network's probabilities of all images of a generator, where many networks are asked for little each.

    ``model.predict`` would compile each of them anew, which takes longer than its answers, and TensorFlow would warn.

    Parameters
    ----------
    model : keras.Model
        Trained.
    generator : ImageBatches
        Unshuffled.
    what : str
        What is going on, for the bar.

    Returns
    -------
    numpy.ndarray
        float32, shape (images, classes), in the order of ``generator.filenames``.
    """
    places = progress(range(len(generator)), len(generator), what, "step")
    return np.concatenate([np.asarray(model(generator[place][0], training=False)) for place in places])


def confusion_matrix(predictions: pd.DataFrame, class_names: list[str]) -> pd.DataFrame:
    """Return counts of true classes (rows) against predicted ones (columns).

    Parameters
    ----------
    predictions : pandas.DataFrame
        As from `predict_generator`.
    class_names : list of str
        All classes, in order.

    Returns
    -------
    pandas.DataFrame
        int64, a row and a column for each of `class_names`.
    """
    counts = sklearn.metrics.confusion_matrix(
        predictions["true"], predictions["predicted"], labels=class_names
    )
    return pd.DataFrame(
        counts, index=pd.Index(class_names, name="true"), columns=pd.Index(class_names, name="predicted")
    )


def classification_report(predictions: pd.DataFrame, class_names: list[str]) -> pd.DataFrame:
    """Return precision, recall and F1 of each class, with 95 % intervals.

    Parameters
    ----------
    predictions : pandas.DataFrame
        As from `predict_generator`.
    class_names : list of str
        All classes, in order.

    Returns
    -------
    pandas.DataFrame
        ``class``, ``images``, and ``precision``, ``recall`` and ``f1`` with their 95 % intervals, such as
        ``recall_low`` and ``recall_high``; shares from 0 to 1. Precision and recall are shares of images, with
        Wilson's interval (0 to 1 where there is no image). F1 is 2J / (1 + J), where J, the share of right answers
        among the images that are of the class or were named so, has Wilson's interval ("Wilson indirect" in
        K. F. Y. Lam et al., 2023, https://arxiv.org/abs/2309.14621).
    """
    counts = confusion_matrix(predictions, class_names).to_numpy()
    right, true, named = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    table = pd.DataFrame({"class": class_names, "images": true})
    for name, total in (("precision", named), ("recall", true), ("f1", true + named - right)):
        bounds = [wilson_interval(int(k), int(n)) for k, n in zip(right, total, strict=True)]
        shares = np.column_stack([right / np.maximum(total, 1), np.array(bounds)])
        table[[name, f"{name}_low", f"{name}_high"]] = 2 * shares / (1 + shares) if name == "f1" else shares
    return table


def top_losses(predictions: pd.DataFrame, n: int = 12) -> pd.DataFrame:
    """Return the wrong predictions that the network was surest of.

    Parameters
    ----------
    predictions : pandas.DataFrame
        As from `predict_generator`.
    n : int
        How many at most.

    Returns
    -------
    pandas.DataFrame
        Rows of `predictions`, the surest first.
    """
    return predictions[~predictions["correct"]].nlargest(n, "confidence").reset_index(drop=True)


def training_accuracy(model: keras.Model, run: Run, recipe: Recipe) -> pd.DataFrame:
    """Return accuracy and loss on the training images, augmented and as they are.

    The classic notebook's "train accuracy" was measured on augmented images:
    lower than on the same images as they are, and no measure of overfitting.

    Parameters
    ----------
    model : keras.Model
        As from `load_best_model`.
    run : Run
        The run that trained it.
    recipe : Recipe
        What it was trained with.

    Returns
    -------
    pandas.DataFrame
        Index "augmented" and "as they are"; ``accuracy`` (0 to 1), ``loss``.
    """
    augmented, _ = train_val_generators(run, recipe)
    rows = {"augmented": augmented, "as they are": eval_generator(run, recipe, recipe.train_on)}
    results = {
        name: model.evaluate(generator, verbose=0, return_dict=True) for name, generator in rows.items()
    }
    return pd.DataFrame(results).T[["accuracy", "loss"]]


def save_metrics(
    run: Run, recipe: Recipe, model: keras.Model, test: dict[str, float], predictions: pd.DataFrame
) -> dict[str, Any]:
    """Write ``metrics.json``: what a run did and how well. That of an ensemble stays: it has no history of its own.

    Parameters
    ----------
    run, recipe, model
        The run, what it was trained with, and its best network.
    test : dict of str to float
        ``accuracy`` and ``loss`` as from ``model.evaluate(..., return_dict=True)``.
    predictions : pandas.DataFrame
        The test images, as from `predict_generator`.

    Returns
    -------
    dict
        The content, with a 95 % interval of the test accuracy.
    """
    if recipe.model == "ensemble":
        return run.read_json("metrics.json")
    history, parts = read_history(run), read_split(run)["part"].value_counts()
    chosen = best_epoch(history, recipe.keep)
    low, high = wilson_interval(int(predictions["correct"].sum()), len(predictions))
    metrics = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "data": str(run.read_json("source.json")["data"]),
        "n_train": int(parts[list(recipe.train_on)].sum()),
        "n_validation": int(parts[list(recipe.validate_on)].sum()),
        "n_test": len(predictions),
        "parameters": model.count_params(),
        "epochs": len(history),
        "fit_seconds": float(history["seconds"].iloc[-1]),
        "best_epoch": chosen,
        "validation_accuracy": float(history.set_index("epoch").loc[chosen, "val_accuracy"]),
        "test_accuracy": float(predictions["correct"].mean()),
        "test_loss": float(test["loss"]),
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "test_chose_the_epoch": recipe.test_chooses,
    }
    write_json(run / "metrics.json", metrics)
    return metrics


def most_confused(predictions: pd.DataFrame, n: int = 4) -> pd.DataFrame:
    """Return the pairs of classes that are taken for each other most often.

    Parameters
    ----------
    predictions : pandas.DataFrame
        ``true``, ``predicted`` and ``correct``, as from `digitlib.evaluation.metrics.predict_generator`.
    n : int
        At most so many pairs.

    Returns
    -------
    pandas.DataFrame
        ``first`` and ``second`` (class names), ``first_as_second`` and ``second_as_first`` (images), ``images`` (both
        together); most images first. Pairs without any are left out.
    """
    wrong = predictions[~predictions["correct"]]
    order = {name: place for place, name in enumerate(pd.unique(predictions["true"].sort_values()))}
    rows: dict[tuple[str, str], list[int]] = {}
    for true, predicted in zip(wrong["true"], wrong["predicted"], strict=True):
        forward = order.get(true, -1) < order.get(predicted, len(order))
        pair = (true, predicted) if forward else (predicted, true)
        rows.setdefault(pair, [0, 0])[0 if forward else 1] += 1
    table = pd.DataFrame(
        [(*pair, *counts, sum(counts)) for pair, counts in rows.items()],
        columns=["first", "second", "first_as_second", "second_as_first", "images"],
    )
    return table.sort_values("images", ascending=False, kind="stable").head(n).reset_index(drop=True)


def mistaken_for(predictions: pd.DataFrame, true: str, predicted: str, n: int = 4) -> pd.DataFrame:
    """Return up to `n` images of class `true` that were named `predicted`, the surest first.

    Parameters
    ----------
    predictions : pandas.DataFrame
        As from `digitlib.evaluation.metrics.predict_generator`.
    true : str
        The class that they are of.
    predicted : str
        The class that they were taken for.
    n : int
        How many at most.

    Returns
    -------
    pandas.DataFrame
        Rows of `predictions`; none if it never happened.
    """
    wanted = (predictions["true"] == true) & (predictions["predicted"] == predicted)
    return predictions[wanted].nlargest(n, "confidence").reset_index(drop=True)


def accuracy_by_confidence(predictions: pd.DataFrame, parts: int = 10) -> pd.DataFrame:
    """Return the share of right answers in parts of equally many images, from least to most sure.

    Parameters
    ----------
    predictions : pandas.DataFrame
        With ``confidence`` and ``correct``.
    parts : int
        How many; from 1 on.

    Returns
    -------
    pandas.DataFrame
        ``from_confidence`` and ``to_confidence``, ``images``, ``wrong``, ``accuracy``.

    Raises
    ------
    DigitError
        If `parts` is no whole number from 1 on.
    """
    if not is_whole(parts) or parts < 1:
        raise DigitError(f"parts is {parts!r}: give a whole number from 1 on.")
    ordered = predictions.sort_values("confidence", kind="stable").reset_index(drop=True)
    part = np.arange(len(ordered)) * parts // max(1, len(ordered))
    return (
        ordered.groupby(part)
        .agg(
            from_confidence=("confidence", "min"),
            to_confidence=("confidence", "max"),
            images=("correct", "size"),
            wrong=("correct", lambda right: int((~right).sum())),
            accuracy=("correct", "mean"),
        )
        .reset_index(drop=True)
    )
