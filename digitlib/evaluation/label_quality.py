"""Labels that are likely wrong, and wrong ones planted on purpose to see whether they are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from digitlib.errors import DigitError
from digitlib.files import write_table
from digitlib.run import Run
from digitlib.training.recipes import Recipe, get_recipe

EPOCHS, STEPS = 6, 450
"""Networks that judge labels train at least so long: the recipe `tiny` by itself stops far earlier."""

SURELY_WRONG = 0.01
"""Quality below which a label is named in any case; chosen with planted labels of other seeds than those reported."""


def label_recipe(recipe: str = "tiny", *, epochs: int | None = None, seed: int = 42) -> Recipe:
    """Return a recipe as it is used to judge labels.

    Label smoothing is left out: it pulls the probabilities together by which
    right and wrong labels are told apart.

    Parameters
    ----------
    recipe : str
        Name of one of `digitlib.training.recipes.RECIPES`.
    epochs : int, optional
        By default as many as the recipe has, but no less than 6, and 450 steps.
    seed : int
        Of the folds, weights and batches.

    Returns
    -------
    Recipe
        To train with on each part of the images in turn.

    Raises
    ------
    DigitError
        If there is no such recipe.

    Examples
    --------
    >>> label_recipe().scaled_to(3_600).epochs
    8
    """
    settings = get_recipe(recipe, epochs=epochs, seed=seed, label_smoothing=0.0)
    if epochs is not None:
        return settings
    return replace(settings, epochs=max(settings.epochs, EPOCHS), min_steps=max(settings.min_steps, STEPS))


def find_label_issues(
    manifest: pd.DataFrame, probabilities: np.ndarray, class_names: list[str]
) -> pd.DataFrame:
    """Return the images whose label is likely wrong, by confident learning.

    How many there are is estimated by counting images that are named another
    class than their label's with at least the confidence that is usual for
    that class; so many with the lowest quality are returned
    (`cleanlab.filter.find_label_issues` with ``filter_by="low_self_confidence"``;
    Northcutt, Jiang and Chuang, 2021, https://arxiv.org/abs/1911.00068), and
    all others with a quality below 0.01, since the estimate is a little too low.

    Parameters
    ----------
    manifest : pandas.DataFrame
        ``filename``, ``class`` and ``part``.
    probabilities : numpy.ndarray
        As from `digitlib.evaluation.cross_validation.held_out_probabilities`: shape (n, classes), a row an image of the manifest.
    class_names : list of str
        In the order of the columns of `probabilities`.

    Returns
    -------
    pandas.DataFrame
        ``filename``; ``label`` as given; ``likely_label``; ``quality`` of the
        given label, which is its probability by the networks, from 0 to 0.5
        (`cleanlab.rank.get_label_quality_scores`, self-confidence); ``part``.
        The worst comes first.
    """
    from cleanlab.filter import find_label_issues as find
    from cleanlab.rank import get_label_quality_scores

    given = manifest["class"].map({name: label for label, name in enumerate(class_names)}).to_numpy()
    likely = probabilities.argmax(axis=1)
    # One job: cleanlab's own processes would be forks of one in which TensorFlow's threads run.
    estimated = find(given, probabilities, filter_by="low_self_confidence", n_jobs=1)
    quality = get_label_quality_scores(given, probabilities, method="self_confidence")
    found = (estimated | (quality < SURELY_WRONG)) & (likely != given)
    table = pd.DataFrame(
        {
            "filename": manifest["filename"].array,
            "label": manifest["class"].array,
            "likely_label": np.array(class_names, dtype=object)[likely],
            "quality": quality,
            "part": manifest["part"].array,
        }
    )
    return table[found].sort_values("quality", kind="stable").reset_index(drop=True)


def inject_label_noise(manifest: pd.DataFrame, share: float = 0.01, seed: int = 0) -> pd.DataFrame:
    """Return a manifest in which some labels are wrong on purpose; the files stay as they are.

    Parameters
    ----------
    manifest : pandas.DataFrame
        With ``class``.
    share : float
        Of all images, above 0 and below 0.5. They are drawn with equal chances, and so is the class that each gets.
    seed : int
        Decides which.

    Returns
    -------
    pandas.DataFrame
        The manifest with ``class`` changed, and ``planted`` (bool).

    Raises
    ------
    DigitError
        If the share can't be.
    """
    if not 0 < share < 0.5:
        raise DigitError(
            f"share is {share!r}: give a share of wrong labels above 0 and below 0.5, such as 0.01."
        )
    rng = np.random.default_rng(seed)
    classes, names = manifest["class"].to_numpy(object, copy=True), manifest["class"].unique()
    chosen = rng.choice(len(manifest), max(1, round(share * len(manifest))), replace=False)
    for place in chosen:
        classes[place] = rng.choice(names[names != classes[place]])
    return manifest.assign(**{"class": classes, "planted": np.isin(np.arange(len(manifest)), chosen)})


def label_noise_scores(
    planted: pd.DataFrame, issues: pd.DataFrame, known: pd.DataFrame | None = None
) -> dict[str, int | float]:
    """Return how many of the planted wrong labels were found.

    Parameters
    ----------
    planted : pandas.DataFrame
        As from `inject_label_noise`.
    issues : pandas.DataFrame
        As from `find_label_issues` with that manifest.
    known : pandas.DataFrame, optional
        As from `find_label_issues` with the manifest as it was: what is named there as well, and was not planted, counts
        for nothing.

    Returns
    -------
    dict
        ``planted``; ``named``, the issues in all; ``found``, the planted ones
        among them; ``recall`` and ``precision``, 0 to 1. Without `known`, labels that were wrong
        before count against the precision.
    """
    wrong = planted.loc[planted["planted"], "filename"]
    if known is not None:
        before = issues["filename"].isin(known["filename"]) & ~issues["filename"].isin(wrong)
        issues = issues[~before]
    found = int(issues["filename"].isin(wrong).sum())
    return {
        "planted": len(wrong),
        "named": len(issues),
        "found": found,
        "recall": found / max(len(wrong), 1),
        "precision": found / max(len(issues), 1),
    }


def save_label_issues(run: Run, issues: pd.DataFrame) -> None:
    """Write ``label_issues.csv`` into a run.

    Parameters
    ----------
    run : Run
        Where to write.
    issues : pandas.DataFrame
        As from `find_label_issues`.
    """
    write_table(run / "label_issues.csv", issues.round({"quality": 6}))
