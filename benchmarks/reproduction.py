"""The classic notebook's result beside that of the recipe `classic`: figures of docs/reproduction.md, and its plot."""

from __future__ import annotations

from pathlib import Path

import click
import joblib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import MaxNLocator, PercentFormatter

from benchmarks.table import filled
from digitlib import Run, load_recipe, open_run, read_history
from digitlib.evaluation import training_accuracy
from digitlib.plots import BLUE, ORANGE, use_style
from digitlib.training.backend import policy_of

DOCS = Path(__file__).parents[1] / "docs"

ORIGINAL = [0.8069, 0.8474, 0.8915, 0.8849, 0.9047, 0.9237, 0.9210, 0.9246, 0.9475, 0.9524]
"""Validation accuracy by epoch as the classic notebook printed it."""


def kept_row(run: Run) -> dict[str, object]:
    """Return what the network that a run kept is worth."""
    metrics = run.read_json("metrics.json")
    training = training_accuracy(run)
    return {
        "Seed": metrics["seed"],
        "Best epoch": metrics["best_epoch"],
        "As training saw it": f"{read_history(run)['val_accuracy'].max():.2%}",
        "The kept network, in float32": f"{metrics['test_accuracy']:.2%}",
        "95 % interval": f"{metrics['test_accuracy_low']:.2%} to {metrics['test_accuracy_high']:.2%}",
        "Training images, augmented": f"{training.loc['augmented', 'accuracy']:.4f}",
        "Training images as stored": f"{training.loc['as stored', 'accuracy']:.4f}",
    }


def epoch_table(ours: pd.DataFrame, augmented: pd.DataFrame) -> pd.DataFrame:
    """Return the original's accuracy beside ours, a row an epoch; both have a column a run."""
    table = pd.DataFrame({"Original": ORIGINAL[: len(ours)], "Ours": ours.mean(axis=1), "Lowest": ours.min(axis=1)})
    table["Highest"], table["Ours, training (augmented, with dropout)"] = (ours.max(axis=1), augmented.mean(axis=1))
    return table.map("{:.2%}".format).rename_axis("Epoch").reset_index()


def plot(ours: pd.DataFrame) -> None:
    """Plot accuracy by epoch: the original's, and each of our runs."""
    use_style()
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    axes.plot(range(1, len(ORIGINAL) + 1), ORIGINAL, "s--", color=ORANGE, label="classic notebook, as printed")
    for alpha, (seed, values) in zip((1, 0.6, 0.35), ours.items(), strict=False):
        axes.plot(values, "o-", color=BLUE, markersize=3, alpha=alpha, label=f"recipe classic, seed {seed}")
    axes.set(xlabel="epoch", ylabel="accuracy on the test set", title="The classic result, repeated")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    figure.savefig(DOCS / "reproduction.png", dpi=100)


@click.command()
@click.argument("run_dirs", nargs=-1, required=True)
def main(run_dirs: tuple[str, ...]) -> None:
    """Compare RUN_DIRS, up to three made with the recipe `classic`, with the original."""
    runs = [open_run(name) for name in run_dirs]
    histories = {load_recipe(run).seed: read_history(run).set_index("epoch") for run in runs}
    ours, augmented = (
        pd.DataFrame({seed: history[column] for seed, history in histories.items()})
        for column in ("val_accuracy", "accuracy")
    )
    seconds = ", ".join(f"{run.read_json('metrics.json')['fit_seconds']:,.0f}" for run in runs)
    precision = policy_of(load_recipe(runs[0]).precision)
    said = f"Fit took {seconds} s, in {precision}, on {joblib.cpu_count()} cores."
    content = "\n\n".join([as_lines(epoch_table(ours, augmented)), as_lines(pd.DataFrame(map(kept_row, runs))), said])
    page = (DOCS / "reproduction.md").read_text(encoding="utf-8")
    (DOCS / "reproduction.md").write_text(filled(page, "comparison", content), encoding="utf-8")
    plot(ours)


def as_lines(table: pd.DataFrame) -> str:
    """Return a table in Markdown."""
    rows = [table.columns, ["---:"] * len(table.columns), *table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


if __name__ == "__main__":
    main()
