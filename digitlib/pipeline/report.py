"""One HTML page of a run that needs nothing but a browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbconvert import HTMLExporter
from traitlets.config import Config

from digitlib.export.model_card import accuracy_text as with_interval, escape as markdown_text
from digitlib.files import atomic
from digitlib.run import Run

LABELS = {
    "data": "Data",
    "recipe": "Recipe",
    "seed": "Seed",
    "n_train": "Training images",
    "n_validation": "Validation images",
    "n_test": "Test images",
    "parameters": "Parameters of the network",
    "epochs": "Epochs",
    "best_epoch": "Epoch kept",
    "fit_seconds": "Time to fit",
    "validation_accuracy": "Validation accuracy",
    "test_accuracy": "Test accuracy",
    "test_loss": "Test loss",
}


def results_table(run: Run) -> pd.DataFrame:
    """Return the results of a run as text, a row each.

    Parameters
    ----------
    run : Run
        A run that notebook 06 has evaluated.

    Returns
    -------
    pandas.DataFrame
        ``result`` and ``value``.
    """
    metrics = run.read_json("metrics.json")
    rows = {label: _text(name, metrics) for name, label in LABELS.items()}
    if metrics["test_chose_the_epoch"]:
        rows["Beware"] = "the best epoch was chosen on the test images: the test accuracy is too high"
    if (run / "predictions.csv").exists():
        rows["Images named"] = f"{len(run.read_table('predictions.csv')):,}"
    return pd.DataFrame({"result": list(rows), "value": list(rows.values())})


def _text(name: str, metrics: dict[str, Any]) -> str:
    value = metrics[name]
    if value is None:  # of an ensemble
        return "none"
    if name == "test_accuracy":
        return with_interval(metrics)
    if name == "validation_accuracy":
        return f"{value:.2%}"
    if name == "fit_seconds":
        return f"{value:.0f} s"
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) and name != "seed" else str(value)


def write_report(run: Run, notebooks: list[Path]) -> Path:
    """Join executed notebooks, without their code, to ``report.html``.

    Parameters
    ----------
    run : Run
        Where to.
    notebooks : list of pathlib.Path
        In order.

    Returns
    -------
    pathlib.Path
        The page; pictures and styles are inside, nothing is loaded from a network.
    """
    joined = nbformat.v4.new_notebook(metadata={"title": f"Report of {run}"})
    joined.cells.append(nbformat.v4.new_markdown_cell(_opening(run)))
    for path in notebooks:
        joined.cells.extend(nbformat.read(path, as_version=4).cells)
    for number, cell in enumerate(joined.cells):
        cell["id"] = f"cell-{number}"  # the notebooks' own ids may repeat
    page, _ = HTMLExporter(config=_settings()).from_notebook_node(joined)
    # nbconvert's scripts would fetch mermaid and others from a network; the page needs none.
    page = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
    with atomic(run / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
    return run / "report.html"


def _opening(run: Run) -> str:
    """Return the first section: the results at a glance."""
    if not (run / "metrics.json").exists():
        return f"# Report of {markdown_text(str(run))}\n\nNotebook 06 has not evaluated this run yet."
    rows = results_table(run).map(markdown_text)
    lines = [f"| {result} | {value} |" for result, value in rows.itertuples(index=False)]
    return "\n".join(
        [f"# Report of {markdown_text(str(run))}", "", "| Result | Value |", "|:---|:---|", *lines]
    )


def _settings() -> Config:
    settings = Config()
    exporter = settings.HTMLExporter
    exporter.embed_images = True
    exporter.exclude_input = True
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    exporter.exclude_anchor_links = True
    for name in ("mathjax_url", "require_js_url", "jquery_url", "widget_renderer_url"):
        setattr(exporter, name, "")
    return settings
