"""Labels that are likely wrong, and label noise injected to measure how many of them are found."""

from __future__ import annotations

import numpy as np
import pandas as pd

from digitlib.errors import needs, require

CERTAIN = 0.01
"""A label of lower quality is listed in any case; chosen with label noise of other seeds than those reported."""


def find_label_issues(manifest: pd.DataFrame, probabilities: np.ndarray, class_names: list[str]) -> pd.DataFrame:
    """Return the images whose label is likely wrong, by confident learning.

    How many there are is estimated by counting images that are predicted as another class than their label's with at
    least the confidence that is usual for that class; so many with the lowest quality are returned
    (`cleanlab.filter.find_label_issues` with ``filter_by="low_self_confidence"``; Northcutt, Jiang and Chuang, 2021,
    https://arxiv.org/abs/1911.00068), and all others with a quality below 0.01, since the estimate is a little too low.

    Parameters
    ----------
    manifest : pandas.DataFrame
        ``filename``, ``class`` and ``part``.
    probabilities : numpy.ndarray
        ``cross_validate(…).probabilities``: shape (n, classes), a row an image of the manifest.

    Returns
    -------
    pandas.DataFrame
        ``filename``; ``label`` as given; ``likely_label``; ``quality`` of the given label, which is its probability
        (0 to 0.5); ``part``. The worst comes first.

    Examples
    --------
    >>> done = cross_validate("runs/mine", get_recipe("fast"))  # doctest: +SKIP
    >>> find_label_issues(read_split("runs/mine"), done.probabilities, class_names)  # doctest: +SKIP
    """
    with needs("find_label_issues"):
        from cleanlab.filter import find_label_issues as find
        from cleanlab.rank import get_label_quality_scores

    given = manifest["class"].map({name: label for label, name in enumerate(class_names)}).to_numpy()
    likely = probabilities.argmax(axis=1)
    # One job: cleanlab's own processes would be forks of one in which TensorFlow's threads run.
    estimated = find(given, probabilities, filter_by="low_self_confidence", n_jobs=1)
    quality = get_label_quality_scores(given, probabilities, method="self_confidence")
    table = manifest[["filename", "class", "part"]].rename(columns={"class": "label"})
    table.insert(2, "likely_label", np.array(class_names, dtype=object)[likely])
    table.insert(3, "quality", quality)
    found = (estimated | (quality < CERTAIN)) & (likely != given)
    return table[found].sort_values("quality", kind="stable").reset_index(drop=True)


def inject_label_noise(manifest: pd.DataFrame, share: float = 0.01, seed: int = 0) -> pd.DataFrame:
    """Return a manifest with wrong labels put in on purpose; the files stay as they are.

    Parameters
    ----------
    manifest : pandas.DataFrame
        With ``class``.
    share : float
        Of all images, above 0 and below 0.5; which ones, and which class each gets, is drawn with equal chances.

    Returns
    -------
    pandas.DataFrame
        The manifest with ``class`` changed, and ``planted`` (bool).

    Examples
    --------
    >>> clean = pd.DataFrame({"class": list("ab") * 50})
    >>> int(inject_label_noise(clean, 0.1)["planted"].sum())
    10
    """
    require("share", share, 0 < share < 0.5, "above 0 and below 0.5, for example 0.01")
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
    planted, issues : pandas.DataFrame
        From `inject_label_noise`, and from `find_label_issues` with that manifest.
    known : pandas.DataFrame, optional
        From `find_label_issues` with the manifest as it was: what is flagged there as well, and was not planted, doesn't
        count. Without it, labels that were wrong before count against the precision.

    Returns
    -------
    dict
        ``planted``; ``flagged``, the issues in all; ``found``, the planted ones among them; ``recall`` and
        ``precision``, 0 to 1.

    Examples
    --------
    >>> planted = pd.DataFrame({"filename": ["1.png", "2.png", "3.png"], "planted": [True, True, False]})
    >>> label_noise_scores(planted, issues=pd.DataFrame({"filename": ["1.png", "3.png"]}))
    {'planted': 2, 'flagged': 2, 'found': 1, 'recall': 0.5, 'precision': 0.5}
    """
    wrong = planted.loc[planted["planted"], "filename"]
    if known is not None:
        issues = issues[~issues["filename"].isin(known["filename"]) | issues["filename"].isin(wrong)]
    found = int(issues["filename"].isin(wrong).sum())
    return {
        "planted": len(wrong), "flagged": len(issues), "found": found,
        "recall": found / max(len(wrong), 1), "precision": found / max(len(issues), 1),
    }  # fmt: skip
