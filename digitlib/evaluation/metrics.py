"""How good a trained network is on images that had no part in its training: metrics.json, and tables of predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import sklearn.metrics

from digitlib.evaluation.classifier import Classifier, Evaluation
from digitlib.evaluation.statistics import wilson_interval
from digitlib.files import write_json, write_table
from digitlib.run import Run, best_epoch, open_run, read_history
from digitlib.training.generators import generator_from_split, image_form
from digitlib.training.recipes import Recipe, load_recipe


def evaluate_run(run: Run | str, evaluation: Evaluation | None = None) -> dict[str, Any]:
    """Write ``metrics.json``, what a run did and how well, and return it; ``test_predictions.csv`` has each test image.

    Parameters
    ----------
    run : Run or path-like
        Trained by notebook 05.
    evaluation : Evaluation, optional
        Of its test set, where that has been done already.

    Examples
    --------
    >>> evaluate_run("runs/mine")["test_accuracy"]  # doctest: +SKIP
    """
    run = open_run(run)
    clf = Classifier.load(run)
    record, recipe = clf.record, _recipe_of(clf)
    evaluation = evaluation or clf.evaluate("test")
    measured, true = evaluation.metrics, evaluation.predictions["true"]
    recall = evaluation.predictions["correct"].groupby(true).mean()
    history, sizes = read_history(run), run.split["part"].value_counts()
    chosen = best_epoch(history, record["checkpoint"])
    metrics = {
        "recipe": record["recipe"] or record["network"], "seed": record["seed"],
        "data": str(run.read_json("source.json")["data"]),
        "n_train": int(sizes[list(recipe.train_on) if recipe else ["train"]].sum()),
        "n_validation": int(sizes[list(recipe.validate_on) if recipe else ["validation"]].sum()),
        "n_test": measured["images"], "parameters": record["parameters"], "epochs": len(history),
        "fit_seconds": float(history["seconds"].iloc[-1]), "best_epoch": chosen,
        "validation_accuracy": history.set_index("epoch").get("val_accuracy", pd.Series()).dropna().get(chosen),
        **{f"test_{name}": measured[name] for name in ("accuracy", "loss", "accuracy_low", "accuracy_high")},
        "balanced_accuracy": float(recall.mean()), "lowest_recall": float(recall.min()),
        "lowest_recall_class": recall.idxmin(), "majority_baseline": float(true.value_counts(normalize=True).max()),
        "test_chose_the_epoch": bool(recipe and recipe.test_chooses), "made_from": run.hashes(),
    }  # fmt: skip
    columns = ["filename", "true", "predicted", "confidence"]
    write_table(run / "test_predictions.csv", evaluation.predictions[columns])
    write_json(run / "metrics.json", metrics)
    return metrics


def training_accuracy(run: Run | str) -> pd.DataFrame:
    """Return accuracy and loss on the training images, augmented and as stored.

    The classic notebook's "train accuracy" was measured on augmented images: lower than on the same images as stored,
    and so no measure of overfitting.

    Returns
    -------
    pandas.DataFrame
        Index "augmented" and "as stored"; ``accuracy`` (0 to 1), ``loss``.

    Examples
    --------
    >>> training_accuracy("runs/mine")["accuracy"]  # doctest: +SKIP
    """
    clf = Classifier.load(run)
    assert clf.run is not None
    recipe, augmentation = _recipe_of(clf), clf.record["augmentation"] or {}
    shared = {**image_form(clf), "batch_size": 256, "shuffle": False}
    parts = recipe.train_on if recipe else ("train",)
    rows = {
        name: clf.evaluate(generator_from_split(clf.run, parts, **shared, **options)).metrics
        for name, options in (("augmented", augmentation), ("as stored", {}))
    }
    return pd.DataFrame(rows).T[["accuracy", "loss"]].astype(float)


def _recipe_of(clf: Classifier) -> Recipe | None:
    """Return the recipe that trained a network, None for one of the user's own."""
    return load_recipe(clf.run) if clf.run is not None and clf.record["recipe"] else None


def confusion_matrix(predictions: pd.DataFrame, class_names: list[str]) -> pd.DataFrame:
    """Return counts of true classes (rows) against predicted ones (columns).

    Parameters
    ----------
    predictions : pandas.DataFrame
        ``true`` and ``predicted``, as in `Evaluation`.

    Examples
    --------
    >>> table = pd.DataFrame({"true": ["a", "a", "b"], "predicted": ["a", "b", "b"]})
    >>> confusion_matrix(table, ["a", "b"]).to_numpy().tolist()
    [[1, 1], [0, 1]]
    """
    counts = sklearn.metrics.confusion_matrix(predictions["true"], predictions["predicted"], labels=class_names)
    rows, columns = pd.Index(class_names, name="true"), pd.Index(class_names, name="predicted")
    return pd.DataFrame(counts, index=rows, columns=columns)


def classification_report(predictions: pd.DataFrame, class_names: list[str]) -> pd.DataFrame:
    """Return precision, recall and F1 of each class (0 to 1), with 95 % intervals.

    Precision and recall are shares of images, with Wilson's interval (0 to 1 where there is no image). F1 is
    2J / (1 + J), where J is the share of correct predictions among the images that are of the class or were predicted
    as such, and has Wilson's interval ("Wilson indirect" in K. F. Y. Lam et al., 2023, https://arxiv.org/abs/2309.14621).

    Returns
    -------
    pandas.DataFrame
        ``class``, ``images``, and ``precision``, ``recall`` and ``f1``, each followed by its ``…_low`` and ``…_high``.

    Examples
    --------
    >>> table = pd.DataFrame({"true": ["3", "8"], "predicted": ["3", "3"]})
    >>> classification_report(table, ["3", "8"])["recall"].tolist()
    [1.0, 0.0]
    """
    counts = confusion_matrix(predictions, class_names).to_numpy()
    right, true, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    table = pd.DataFrame({"class": class_names, "images": true})
    for name, total in (("precision", predicted), ("recall", true), ("f1", true + predicted - right)):
        bounds = [wilson_interval(int(k), int(n)) for k, n in zip(right, total, strict=True)]
        shares = np.column_stack([right / np.maximum(total, 1), np.array(bounds)])
        table[[name, f"{name}_low", f"{name}_high"]] = 2 * shares / (1 + shares) if name == "f1" else shares
    return table


def top_losses(predictions: pd.DataFrame, n: int = 12) -> pd.DataFrame:
    """Return the most confident errors, as rows of `predictions` with their places as index.

    Examples
    --------
    >>> table = pd.DataFrame({"confidence": [0.9, 0.99, 0.8], "correct": [False, True, False]})
    >>> top_losses(table, 1).index.tolist()
    [0]
    """
    return predictions[~predictions["correct"]].nlargest(n, "confidence")


def most_confused(predictions: pd.DataFrame, n: int = 4) -> pd.DataFrame:
    """Return the `n` pairs of classes that are most often confused with each other.

    Returns
    -------
    pandas.DataFrame
        ``first`` and ``second`` (class names), ``first_as_second`` and ``second_as_first`` (images), ``images`` (both
        together), most images first.

    Examples
    --------
    >>> table = pd.DataFrame({"true": list("384"), "predicted": list("834"), "correct": [False, False, True]})
    >>> most_confused(table)[["first", "second", "images"]].to_numpy().tolist()
    [['3', '8', 2]]
    """
    wrong = predictions.loc[~predictions["correct"], ["true", "predicted"]]
    first, second = wrong.min(axis=1), wrong.max(axis=1)
    pairs = pd.DataFrame({"first": first, "second": second, "first_as_second": wrong["true"] == first})
    pairs["second_as_first"], pairs["images"] = ~pairs["first_as_second"], 1
    table = pairs.groupby(["first", "second"], sort=False).sum().astype(int).reset_index()
    return table.sort_values("images", ascending=False, kind="stable").head(n).reset_index(drop=True)
