"""A model card: what a network was made of, how good it is, and what it is not for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import pandas as pd

from digitlib import __version__
from digitlib.data.corrections import corrections_text

TOLD = (
    "network", "parameters", "image_size", "color_mode", "resize", "recipe", "optimizer", "loss", "checkpoint", "seed",
    "augmentation", "augment",
)  # fmt: skip
"""Entries of ``training.json`` that the card shows."""


def card_text(
    record: Mapping[str, Any],
    metrics: Mapping[str, Any] | None,
    class_names: Sequence[str],
    counts: pd.DataFrame | None = None,
    source: Mapping[str, Any] | None = None,
) -> str:
    """Return a model card in Markdown, made from what trained and what was measured.

    The headings are those of M. Mitchell et al., "Model Cards for Model Reporting" (2019), as far as they apply.

    Parameters
    ----------
    record : mapping
        ``training.json``: the network, optimizer, loss and settings that really trained; what is missing is left out.
    metrics : mapping, optional
        ``metrics.json``.
    counts : pandas.DataFrame, optional
        Images per class (rows) and set (columns), as from `digitlib.data.class_counts.split_counts`.
    source : mapping, optional
        ``source.json``: where the images come from and how they were split.

    Examples
    --------
    >>> card_text({"network": "mlp"}, None, ["cat", "dog"]).splitlines()[0]
    '# mlp: a network that classifies images into 2 classes'
    """
    digits = are_digits(class_names)
    what = "images of single handwritten digits" if digits else "images"
    classes = escape(", ".join(map(str, class_names)))
    versions = ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items())
    written = f"This card was written on {date.today()} by digitlib {__version__}."
    parts = [
        f"# {escape(record['network'])}: a network that classifies "
        + (what if digits else f"images into {len(class_names)} classes"),
        f"## What it is for\n\nClassifying {what}, each as one of: {classes}. It is meant for learning and for experiments.",
        _data(metrics, counts, source),
        "## Network and training\n\n" + _table(_training(record).items(), ("Setting", "Value")),
        _results(metrics),
        "## Limits\n\n" + "\n".join(f"- {line}" for line in _limits(record, digits)),
        "## Versions\n\n" + (f"Trained with {versions}. " if versions else "") + written,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def page_facts(
    record: Mapping[str, Any], metrics: Mapping[str, Any] | None, class_names: Sequence[str]
) -> dict[str, str]:
    """Return what somebody should know who sees only the network's predictions; of the data the name, never the path.

    Examples
    --------
    >>> page_facts({"network": "mlp"}, None, ["0", "1"])
    {'Classes': '0, 1', 'Network': 'mlp', 'Test accuracy': 'not measured: run notebook 06'}
    """
    rows = {"Classes": ", ".join(map(str, class_names)), "Network": str(record["network"])}
    if record.get("recipe"):
        rows["Recipe"] = str(record["recipe"])
    if metrics is None:
        return rows | {"Test accuracy": "not measured: run notebook 06"}
    data = f"{_base_name(metrics['data'])}: {metrics['n_train']:,} images for training"
    return rows | {"Data": data, "Test accuracy": accuracy_text(metrics)}


def are_digits(class_names: Iterable[str]) -> bool:
    """Say whether all classes are digits.

    Examples
    --------
    >>> are_digits(["0", "7"]), are_digits(["cat"])
    (True, False)
    """
    return set(map(str, class_names)) <= set("0123456789")


def accuracy_text(metrics: Mapping[str, Any]) -> str:
    """Return the test accuracy with its 95 % interval, and a warning where the test images chose the epoch.

    Examples
    --------
    >>> accuracy_text({"test_accuracy": 0.9, "test_accuracy_low": 0.8, "test_accuracy_high": 0.95, "n_test": 50})
    '90.00% (95 % interval 80.00% to 95.00%, n = 50)'
    """
    accuracy, low, high = (metrics[f"test_accuracy{end}"] for end in ("", "_low", "_high"))
    warning = "; too high, since the best epoch was chosen on these images"
    text = f"{accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}, n = {metrics['n_test']:,})"
    before = "; of the network before, which had not seen the test images" if metrics.get("refit") else ""
    return text + (warning if metrics.get("test_chose_the_epoch") else "") + before


def escape(text: str) -> str:
    """Return `text` so that nothing in it is read as Markdown or HTML: names of classes and folders may hold anything.

    Examples
    --------
    >>> escape("<b>")
    '&#60;b&#62;'
    """
    return re.sub(r"[\\`*{}\[\]<>|$&#\n]|(?<![^\W_])_|_(?![^\W_])", lambda found: f"&#{ord(found[0])};", str(text))


def _base_name(data: Any) -> str:
    """Return the last part of a path of any system: where data lie on somebody's disk is nobody else's business."""
    return str(data).replace("\\", "/").rstrip("/").rpartition("/")[2] or "unnamed"


def _table(rows: Iterable[Iterable[Any]], head: Sequence[str], align: str = ":---") -> str:
    lines = [head, [":---", *[align] * (len(head) - 1)], *(map(escape, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _data(metrics: Mapping[str, Any] | None, counts: pd.DataFrame | None, source: Mapping[str, Any] | None) -> str:
    known = source or metrics
    if known is None:
        return ""
    lines = [f"Source: {escape(_base_name(known['data']))}."]
    if source is not None:
        how = "at random within each class" if source["assign"] == "random" else "by each image's content"
        lines[0] += (
            f" Split {how}, seed {source['seed']}: {source['test_size']:.0%} for the test set, "
            f"{source['validation_size']:.0%} of the rest for validation, unless the source has a test set of its own."
        )
        if corrected := corrections_text(dict(source)):
            lines.append(f"Corrected by hand: {escape(corrected)}.")
    if counts is not None:
        head = ["Class", *map(str, counts.columns)]
        rows = ([name, *(f"{n:,}" for n in row)] for name, *row in counts.itertuples())
        lines.append(_table(rows, head, "---:"))
    return "## Data\n\n" + "\n\n".join(lines)


def _training(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of the record as text, those that are known and set."""
    rows = {name: record.get(name) for name in TOLD} | (record.get("fit") or {})
    return {name.replace("_", " "): _short(value) for name, value in rows.items() if value is not None}


def _short(value: Any) -> str:
    """Return a setting as text: of a Keras object the class and what differs from nothing."""
    if isinstance(value, Mapping) and "config" in value:
        settings = value["config"]
        return f"{value.get('class_name', '')} ({_short(settings)})" if isinstance(settings, Mapping) else str(settings)
    if isinstance(value, Mapping):
        kept = {name: one for name, one in value.items() if one and name not in ("name", "reduction", "axis", "dtype")}
        return ", ".join(f"{name} {_short(one)}" for name, one in kept.items()) or "none"
    if isinstance(value, list | tuple):
        return " × ".join(map(_short, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _results(metrics: Mapping[str, Any] | None) -> str:
    if metrics is None:
        return "## Results\n\nNot measured yet: run notebook 06, then write this card again."
    best, accuracy = metrics["best_epoch"], metrics["validation_accuracy"]
    chosen = f" (n = {metrics['n_validation']:,})" if metrics.get("n_validation") else ""
    rows = {
        "Test accuracy": accuracy_text(metrics), "Test loss": f"{metrics['test_loss']:.4f}",
        "Validation accuracy": "not measured" if accuracy is None else f"{accuracy:.2%}{chosen}",
        "Parameters": f"{metrics['parameters']:,}",
        "Epoch kept": f"{best} of {metrics['epochs']}",
    }  # fmt: skip
    return (
        "## Results\n\n"
        + _table(rows.items(), ("Result", "Value"))
        + "\n\nThe interval is Wilson's: the true accuracies that this many "
        "correct predictions are compatible with. It says nothing of images that are unlike the test images."
    )


def _limits(record: Mapping[str, Any], digits: bool) -> list[str]:
    lines = ["It predicts one of its classes for every image, also for one that shows none of them."]
    if digits:
        lines.append(
            "It was trained on single digits, centred, in the style of its source. Digits that touch, other scripts and other "
            "ways of scanning were not measured."
        )
        augmentation = record.get("augmentation") or {}
        if augmentation.get("horizontal_flip") or augmentation.get("vertical_flip"):
            lines.append("It was trained on mirrored images, which teach it digits that do not exist.")
    return [
        *lines,
        "A confidence is not the probability of being right until it has been calibrated on data like yours.",
        "It is not for decisions about people or money without a person who checks them.",
    ]
