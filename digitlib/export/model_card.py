"""A model card: what a network was made of, how good it is, and what it is not for."""

from __future__ import annotations

import re
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from digitlib import __version__
from digitlib.data.split import PARTS, class_names_of, read_split
from digitlib.files import atomic
from digitlib.run import Run
from digitlib.training.recipes import Recipe, load_recipe

LIBRARIES = ("keras", "tensorflow", "numpy")


def facts(run: Run) -> dict[str, str]:
    """Return what a person should know who sees only the network's answers.

    Returns
    -------
    dict of str to str
        Data (the folder's name, never its path), classes, recipe, test accuracy with its 95 % interval.

    Raises
    ------
    DigitError
        If the run has no data or recipe yet.
    """
    counts = read_split(run)["part"].value_counts()
    rows = {
        "Classes": ", ".join(class_names_of(run)),
        "Data": f"{data_name(run)}: {int(counts.sum()):,} images, {counts.get('train', 0):,} of them for training",
        "Recipe": load_recipe(run).name,
        "Trained": trained_on(run),
    }
    if not (run / "metrics.json").exists():
        return rows | {"Test accuracy": "not measured: run notebook 06"}
    metrics = run.read_json("metrics.json")
    return rows | {"Test accuracy": _warned(metrics)}


def data_name(run: Run) -> str:
    """Return the name of a run's source: where it lies on somebody's disk is nobody else's business."""
    data = str(run.read_json("source.json")["data"])
    # Either separator: a run may have been made on another system.
    return data.replace("\\", "/").rstrip("/").rpartition("/")[2] or "unnamed"


def trained_on(run: Run) -> str:
    """Return the day on which the network of a run was written, here, such as ``2026-03-01``."""
    run.require("best_model.keras")
    return f"{datetime.fromtimestamp((run / 'best_model.keras').stat().st_mtime):%Y-%m-%d}"


def with_interval(metrics: dict[str, Any]) -> str:
    """Return the test accuracy as text with its 95 % interval and the number of images."""
    accuracy, low, high = (metrics[f"test_accuracy{end}"] for end in ("", "_low", "_high"))
    return f"{accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}, n = {metrics['n_test']:,})"


def _warned(metrics: dict[str, Any]) -> str:
    """Return the test accuracy as text, with a warning where the test images chose the epoch."""
    chosen = "; too high, since the best epoch was chosen on these images"
    return with_interval(metrics) + (chosen if metrics["test_chose_the_epoch"] else "")


def model_card(run: Run) -> Path:
    """Write ``model_card.md`` beside a run's network.

    The headings are those of M. Mitchell et al., "Model Cards for Model Reporting" (2019), as far as they apply.

    Parameters
    ----------
    run : Run
        Trained by notebook 05; with notebook 06 done, its results are told too.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    DigitError
        If the run has no network yet.
    """
    run.require("split.csv", "recipe.json", "best_model.keras")
    recipe = load_recipe(run)
    parts = [
        f"# A network that names {_what(class_names_of(run))}",
        _intended(run),
        _data(run),
        _recipe(recipe),
    ]
    parts += [_results(run, recipe), _limits(recipe), _versions(run)]
    with atomic(run / "model_card.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8", errors="replace")
    return run / "model_card.md"


def _what(class_names: list[str]) -> str:
    return "handwritten digits" if all(name.isdigit() for name in class_names) else "handwritten characters"


def markdown_text(text: str) -> str:
    """Return `text` so that nothing in it is read as Markdown or HTML: names of classes and folders may hold anything."""
    return re.sub(r"[\\`*{}\[\]<>|$&#\n]|(?<![^\W_])_|_(?![^\W_])", lambda found: f"&#{ord(found[0])};", text)


def _table(rows: dict[str, Any], head: tuple[str, str]) -> str:
    lines = [f"| {markdown_text(str(name))} | {markdown_text(str(value))} |" for name, value in rows.items()]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|:---|:---|", *lines])


def _intended(run: Run) -> str:
    classes = markdown_text(", ".join(class_names_of(run)))
    return (
        "## What it is for\n\n"
        f"Naming pictures of single characters, each one of: {classes}. It is meant for learning and for experiments."
    )


def _data(run: Run) -> str:
    manifest, about = read_split(run), run.read_json("source.json")
    counts = pd.crosstab(manifest["class"], manifest["part"]).reindex(
        index=class_names_of(run), columns=list(PARTS), fill_value=0
    )
    rows = [
        f"| {markdown_text(str(name))} | " + " | ".join(f"{n:,}" for n in row) + " |"
        for name, *row in counts.itertuples()
    ]
    total = "| all | " + " | ".join(f"{n:,}" for n in counts.sum()) + " |"
    table = "\n".join(["| Class | Train | Validation | Test |", "|:---|---:|---:|---:|", *rows, total])
    how = "by chance within each class" if about["assign"] == "random" else "by each image's content"
    rejected = len(run.read_table("rejected.csv")) if (run / "rejected.csv").exists() else 0
    return (
        f"## Data\n\nSource: {markdown_text(data_name(run))}. Split {how}, seed {about['seed']}: "
        f"{about['test_size']:.0%} for the test, {about['validation_size']:.0%} of the rest for validation, unless the "
        f"source came with a test part of its own. {rejected:,} files were left out (unreadable, or repeated in a later "
        f"part).\n\n{table}"
    )


def _recipe(recipe: Recipe) -> str:
    shown = {
        "recipe": recipe.name, "network": recipe.model,
        "input": f"{recipe.image_size[0]} × {recipe.image_size[1]}, {recipe.color_mode}", "epochs": recipe.epochs,
        "batch size": recipe.batch_size, "learning rate": f"{recipe.learning_rate:g}, {recipe.schedule}",
        "weight decay": f"{recipe.weight_decay:g}", "label smoothing": f"{recipe.label_smoothing:g}", "seed": recipe.seed,
        "trained on": ", ".join(recipe.train_on), "epoch that is kept": recipe.kept_epoch,
        "augmentation": ", ".join(f"{name} {_short(value)}" for name, value in recipe.augmentation.items()),
    }  # fmt: skip
    return "## Recipe\n\n" + _table(shown, ("Setting", "Value"))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _results(run: Run, recipe: Recipe) -> str:
    if not (run / "metrics.json").exists():
        return "## Results\n\nNot measured yet: run notebook 06, then write this card again."
    metrics = run.read_json("metrics.json")
    best, validation = (
        metrics["best_epoch"],
        "not measured: no image outside the test part is new to all members",
    )
    if metrics["validation_accuracy"] is not None:
        chosen = "the best epoch was" if best else "the members' best epochs were"
        what = "" if recipe.keep == "last" else f"; {chosen} chosen by it"
        validation = f"{metrics['validation_accuracy']:.2%} (n = {metrics['n_validation']:,}{what})"
    shown = {
        "Test accuracy": _warned(metrics), "Test loss": f"{metrics['test_loss']:.4f}",
        "Validation accuracy": validation, "Parameters": f"{metrics['parameters']:,}",
        "Epoch kept": f"{best} of {metrics['epochs']}" if best else f"each member's own; {metrics['epochs']} in all",
    }  # fmt: skip
    return (
        "## Results\n\n"
        + _table(shown, ("Result", "Value"))
        + "\n\nThe interval is Wilson's: how far chance alone could "
        "move the number with so many images. It says nothing of pictures that are unlike the test images."
    )


def _limits(recipe: Recipe) -> str:
    flips = recipe.augmentation.get("horizontal_flip") or recipe.augmentation.get("vertical_flip")
    lines = [
        "It answers with one of its classes whatever it is shown: blanks, letters, noise and photos get a name as well.",
        "It has seen single characters, centred, in the style of its source. Digits that touch, other scripts and other "
        "ways of scanning were not measured.",
        "A confidence is no probability of being right until it has been calibrated on data like yours.",
        "It is not for decisions about people or money without a person who checks: cheques, forms, votes, medicine.",
    ]
    lines += ["It was trained on mirrored images, which teach it digits that do not exist."] if flips else []
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _versions(run: Run) -> str:
    libraries = ", ".join([f"digitlib {__version__}", *(f"{name} {version(name)}" for name in LIBRARIES)])
    today = f"{datetime.now():%Y-%m-%d}"
    return f"## Versions\n\nTrained on {trained_on(run)}; this card was written on {today} with {libraries}."
