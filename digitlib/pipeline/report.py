"""HTML pages that need nothing but a browser: the report of a run, and the images a network is least confident of."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from digitlib.data.corrections import corrections_text
from digitlib.data.decoding import as_pil, read_file, read_files
from digitlib.data.split import SEVERAL_CLASSES, paths_of
from digitlib.errors import needs
from digitlib.export.model_card import accuracy_text
from digitlib.files import StrPath, atomic, make_folder, resolve
from digitlib.plots import plot_confusion, plot_history, plot_predictions, plot_top_losses
from digitlib.plots.style import alt_text, figure_of, key_of, png_of
from digitlib.run import Run, open_run, read_history

LABELS = {
    "data": "Data", "recipe": "Recipe", "seed": "Seed", "n_train": "Training images", "n_validation": "Validation images",
    "n_test": "Test images", "parameters": "Parameters of the network", "epochs": "Epochs", "best_epoch": "Epoch kept",
    "fit_seconds": "Time to fit", "validation_accuracy": "Validation accuracy", "test_accuracy": "Test accuracy",
    "test_loss": "Test loss",
}  # fmt: skip

FORMS = dict.fromkeys(("data", "recipe", "seed"), "{}") | {
    "fit_seconds": "{:.0f} s", "validation_accuracy": "{:.2%}", "test_loss": "{:.4f}",
}  # fmt: skip

LONGEST = 112
"""Pixels of an image's longer side in a gallery; larger ones are scaled down, so that the page stays light."""


def results_table(run: Run | StrPath) -> pd.DataFrame:
    """Return ``metrics.json`` of a run as text: ``result`` and ``value``, a row each.

    Examples
    --------
    >>> results_table("runs/default")  # doctest: +SKIP
    """
    run = open_run(run)
    metrics = run.read_json("metrics.json")
    rows = {
        label: "none" if metrics[name] is None else FORMS.get(name, "{:,}").format(metrics[name])
        for name, label in LABELS.items()
    }
    rows["Test accuracy"] = accuracy_text(metrics)
    if "balanced_accuracy" in metrics:
        rows["Majority-class baseline"] = (
            f"{metrics['majority_baseline']:.2%}, the accuracy of predicting one class always"
        )
        lowest = f"the lowest is {metrics['lowest_recall']:.2%}, of {metrics['lowest_recall_class']}"
        rows["Balanced accuracy"] = f"{metrics['balanced_accuracy']:.2%}, the mean recall of all classes; {lowest}"
    corrected = corrections_text(run.read_json("source.json")) if (run / "source.json").exists() else ""
    if corrected:
        rows["Corrections by hand"] = corrected
    rejected = run.read_table("rejected.csv") if (run / "rejected.csv").exists() else pd.DataFrame({"reason": []})
    torn = rejected[rejected["reason"].astype(str).str.startswith(SEVERAL_CLASSES)]
    if len(torn):
        rows["Files with two labels"] = f"{len(torn)}, left out: {', '.join(torn['filename'].head(4))}"
    if (run / "predictions.csv").exists():
        rows["Images predicted"] = f"{len(run.read_table('predictions.csv')):,}"
    return pd.DataFrame({"result": list(rows), "value": list(rows.values())})


def write_report(run: Run | StrPath, notebooks: Iterable[StrPath]) -> Path:
    """Write ``report.html`` of a run, with links to its executed notebooks as HTML, and return its path.

    It shows the results, training, confusion matrix, errors and predictions. Figures and styles are inside; nothing is
    loaded from a network.

    Examples
    --------
    >>> write_report("runs/default", ["runs/default/notebooks/06_evaluation.ipynb"])  # doctest: +SKIP
    """
    run = open_run(run)
    measured, figures = (run / "metrics.json").exists(), []
    with plt.style.context("digitlib.plots.style"):
        for title, figure in report_figures(run) if measured else ():
            figures.append({"title": title, "alt": alt_text(figure), "png": png_of(figure), "key": key_of(figure)})
            plt.close(figure)
    lead = f"Test accuracy {accuracy_text(run.read_json('metrics.json'))}." if measured else ""
    _write_page(
        run / "report.html", f"Report of {run}", figures=figures,
        notes=[lead or "Notebook 06 has not evaluated this run yet."],
        results=results_table(run).itertuples(index=False) if measured else (),
        links=_write_notebooks(run, [Path(path) for path in notebooks]),
    )  # fmt: skip
    return run / "report.html"


def report_figures(run: Run) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of an evaluated run, as far as its results and images are there, each with a heading."""
    metrics = run.read_json("metrics.json")
    history = read_history(run) if (run / "history.csv").exists() else pd.DataFrame({"epoch": []})
    if "val_accuracy" in history and metrics["best_epoch"] in history["epoch"].to_list():
        part = "test" if metrics.get("test_chose_the_epoch") else "validation"
        yield "Training", plot_history(history, metrics["best_epoch"], part)
    if (run / "test_predictions.csv").exists():
        table, names = run.read_table("test_predictions.csv", confidence=float), run.class_names
        counts = pd.crosstab(table["true"], table["predicted"]).reindex(index=names, columns=names, fill_value=0)
        yield "Confusion matrix", figure_of(plot_confusion(counts))
        wrong = table[table["true"] != table["predicted"]].nlargest(12, "confidence").merge(run.split, on="filename")
        wrong, images = _readable(wrong, paths_of(run, wrong))
        if images:
            yield "The most confident errors", plot_top_losses(wrong, images)
    if (run / "predictions.csv").exists():
        table = run.read_table("predictions.csv")
        table = table[table["label"] != ""].head(20).astype({"confidence": float})
        folder = resolve(run.read_json("source.json")["unlabelled"] or ".")
        table, images = _readable(table, [str(folder / name) for name in table["filename"]])
        if images:
            yield "Predictions", plot_predictions(table, images)


def _readable(table: pd.DataFrame, paths: Sequence[str]) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Return the rows whose images are still there, and these images."""
    images = [one.image for one in read_files(paths)]
    return table[[image is not None for image in images]], [image for image in images if image is not None]


def _write_notebooks(run: Run, notebooks: Sequence[Path]) -> list[tuple[str, str]]:
    """Write executed notebooks as HTML into ``notebooks/`` of a run; return address (from the run's folder) and title of each."""
    if not notebooks:
        return []
    with needs("the notebooks of a report"):
        import nbformat
        from nbconvert import HTMLExporter
        from traitlets.config import Config

    names = ("embed_images", "exclude_input_prompt", "exclude_output_prompt", "exclude_anchor_links")
    exporter = HTMLExporter(template_name="basic", config=Config(HTMLExporter=dict.fromkeys(names, True)))
    known, links = {path.name for path in notebooks}, []

    def kept(link: re.Match[str]) -> str:
        """Return a link to another of these notebooks, to a place on the page or to the web, or else only its text."""
        address = html.unescape(link[2])
        if unquote(address) in known:
            return f'<a{link[1]}href="{link[2].removesuffix("ipynb")}html"{link[3]}</a>'
        return link[0] if re.match(r"#|https?:|mailto:", address) else link[3].partition(">")[2]

    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        title = next(iter(re.findall(r"^# (.+)", notebook.cells[0].source)), path.stem) if notebook.cells else path.stem
        # The page needs none of the scripts in them, and its policy forbids them.
        body = re.sub(r"<script\b.*?</script>", "", exporter.from_notebook_node(notebook)[0], flags=re.DOTALL)
        body = re.sub(r'<a\b([^>]*?)href="([^"]*)"(.*?)</a>', kept, body, flags=re.DOTALL)
        page = run / "notebooks" / f"{path.stem}.html"
        make_folder(page.parent)
        _write_page(page, title, section=body)
        links.append((f"notebooks/{quote(page.name)}", title))
    return links


def write_gallery(
    path: StrPath, folder: StrPath, predictions: pd.DataFrame, limit: int = 200, counts: Mapping[str, int] | None = None
) -> None:
    """Write a page of the images with the lowest confidence, and of the files that could not be read.

    Parameters
    ----------
    folder : path-like
        What the file names are relative to.
    predictions : pandas.DataFrame
        As from `Classifier.predict`.
    limit : int
        How many images, and how many unreadable files.
    counts : mapping, optional
        ``images`` and ``unreadable`` of all predictions, where the table holds only `least_confident` ones.

    Examples
    --------
    >>> write_gallery("page.html", "scans", clf.predict("scans"))  # doctest: +SKIP
    """
    table = least_confident(predictions, limit)
    unreadable = table["reason"] != ""
    bad = (predictions["reason"] != "").sum()
    total, failed = (counts["images"], counts["unreadable"]) if counts else (len(predictions), bad)
    shown = len(table) - unreadable.sum()
    which = "all are shown" if shown == total - failed else f"these are the {shown:,} with the lowest confidence"
    notes = [f"{total - failed:,} images classified; {which}, lowest first."]
    if failed:
        notes.append(f"{failed:,} files could not be read; {unreadable.sum():,} of them are listed at the end.")
    cards = [
        {"filename": row["filename"], "png": thumbnail(Path(folder) / row["filename"]), "classes": _classes(row)}
        for row in table[~unreadable].to_dict("records")
    ]
    rows = table.loc[unreadable, ["filename", "reason"]].itertuples(index=False)
    _write_page(Path(path), "Images the network is least confident of", notes=notes, cards=cards, unreadable=rows)


def least_confident(predictions: pd.DataFrame, limit: int = 200) -> pd.DataFrame:
    """Return the `limit` predictions of the lowest confidence, lowest first, then as many unreadable files.

    Examples
    --------
    >>> least_confident(clf.predict("scans"), 10)  # doctest: +SKIP
    """
    unreadable = predictions["reason"] != ""
    return pd.concat([predictions[~unreadable].nsmallest(limit, "confidence"), predictions[unreadable].head(limit)])


def _write_page(path: Path, title: str, **content: Any) -> None:
    with needs("an HTML page"):
        from jinja2 import Environment, FileSystemLoader

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, trim_blocks=True
    )
    page = templates.get_template("page.html").render(title=title, **content)
    with atomic(path) as temporary:
        # Names may hold bytes that are not UTF-8.
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def _classes(row: dict[Any, Any]) -> list[tuple[str, float]]:
    """Return the predicted classes with their confidences, as many as there are."""
    names = [(f"label{end}", f"confidence{end}") for end in ("", "_2", "_3")]
    return [(row[label], row[share]) for label, share in names if row.get(label)]


def thumbnail(path: Path) -> str:
    """Return an image in base64, decoded and encoded again; nothing if it can't be read any more."""
    image = read_file(path).image
    if image is None:
        return ""
    picture = as_pil(image)
    picture.thumbnail((LONGEST, LONGEST))
    store = io.BytesIO()
    picture.save(store, "PNG")
    return base64.b64encode(store.getvalue()).decode("ascii")
