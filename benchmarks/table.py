"""The results as tables: benchmarks/results/README.md, and the figures in README and docs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pandas as pd

from benchmarks.common import RESULTS

TOP = Path(__file__).parents[1]
Figures = dict[str, Any]

ROWS: list[tuple[str, str, str, str]] = [
    # program, figure, what it says, aim
    ("training", "target times faster than classic", "folder to 95.24 % test accuracy: times faster", "≥ 300"),
    ("training", "fast test_accuracy mean", "`fast`: mean test accuracy", "≥ 99.4 %"),
    ("training", "fast times faster than classic", "`fast`: times faster, folder to result", "≥ 25"),
    ("training", "accurate test_accuracy mean", "`accurate`: mean test accuracy", "≥ 99.6 %"),
    ("training", "accurate times faster than classic", "`accurate`: times faster, folder to result", "≥ 5"),
    ("generators", "28x28x1 ours_batch_1024 ratio", "images a second at 28×28×1, times ImageDataGenerator's", "≥ 150"),
    ("generators", "28x28x1 ours_batch_32 ratio", "the same in batches of 32", ""),
    ("generators", "28x28x1 preprocessing_layers ratio", "the same by Keras's preprocessing layers", ""),
    ("generators", "128x128x3 ours_batch_256 ratio", "images a second at 128×128×3, times ImageDataGenerator's", "≥ 15"),
    ("steps", "ours share of classic", "a step of the recipe `classic`, share of the classic pipeline's", "≤ 0.5"),
    ("steps", "ours_float32 share of classic", "the same in float32, on processors without bfloat16", ""),
    ("steps", "net_alone share of classic", "the same without making any images: the network alone", ""),
    ("steps", "ours share of net_alone", "a step of the recipe `classic`, share of the network's own", ""),
    ("prediction", "times faster", "files to predictions.csv: times as fast as one image at a time", "≥ 300"),
    ("keras_example", "times faster", "to the Keras example's accuracy on MNIST's own split: times faster", "≥ 3"),
    ("series", "import digitlib", "`import digitlib`, seconds", "≤ 0.5"),
    ("series", "series seconds", "notebooks 1 to 7 on `sample`, seconds", ""),
    ("calibration", "calibration error after", "calibration error after temperature scaling", "≤ 0.3 %"),
    ("calibration", "coverage", "coverage at the threshold for 99.9 % accuracy", "≥ 97 %"),
    ("calibration", "accuracy of accepted", "accuracy of the accepted predictions", "≥ 99.85 %"),
    ("calibration", "blanks rejected", "blanks rejected", "≥ 95 %"),
    ("calibration", "noise rejected", "noise rejected", "≥ 95 %"),
    ("calibration", "letters rejected", "letters rejected", "≥ 95 %"),
    ("calibration", "drawn digits rejected", "digits in a font, which it was not trained on: rejected", ""),
    ("labels", "recall", "label errors injected into 1 %: recall", "≥ 90 %"),
    ("labels", "precision", "label errors injected into 1 %: precision", "≥ 80 %"),
    ("pages", "digits read right", "composed photos: digits read right", "≥ 97 %"),
    ("pages", "boxes right", "composed photos: digits found", ""),
    ("ensemble", "test_accuracy", "ensemble of five `accurate`: test accuracy", "≥ 99.7 %"),
    ("bulk", "two workers times one", "a million images predicted: two workers, times one", "≥ 1.7"),
    ("bulk", "one worker images a second", "the same: images a second by one single-thread worker", ""),
    ("sweep", "seconds a run besides training", "a sweep's run: seconds besides its training", ""),
    ("sweep", "seconds a run besides training, as notebooks", "the same as notebooks", ""),
]  # fmt: skip

README_ROWS: list[tuple[str, str, str, str, str]] = [
    # program, figure, what README says, how it writes the figure, what the reader knows to compare it with
    ("training", "fast test_accuracy mean", "Test accuracy, recipe `fast`", "{}", "classic notebook: 95.24 %"),
    ("training", "accurate test_accuracy mean", "Test accuracy, recipe `accurate`", "{}", "classic notebook: 95.24 %"),
    ("training", "target times faster than classic", "From folder to 95.24 % test accuracy", "{} × as fast", "classic pipeline"),
    ("prediction", "times faster", "28,000 files to a table of predictions", "{} × as fast", "predicting one image at a time"),
    ("calibration", "accuracy of accepted", "Accuracy of accepted predictions", "{}", "{test_accuracy} of all predictions"),
]  # fmt: skip

PERCENT = re.compile("accuracy|right|rejected|coverage|recall|precision|calibration")
"""Figures that are written as percentages."""


def load() -> dict[str, Figures]:
    """Return the figures of every program that has been run, by its name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def text(figure: str, about: Figures) -> str:
    """Return a figure as people write it, with its standard deviation where that was measured."""
    value, spread = about[figure], about.get(f"{figure} sd")
    if PERCENT.search(figure):
        return f"{100 * value:.2f}{'' if spread is None else f' ± {100 * spread:.2f}'} %"
    return f"{value:,.0f}" if value >= 20 else f"{value:.3g}"


def missed(value: float, aim: str) -> str:
    """Return a word behind a figure that does not reach its aim, for example ``≥ 99.7 %``; nothing behind others."""
    if not aim:
        return ""
    sign, bound = aim.split()[:2]
    least = float(bound) / (100 if aim.endswith("%") else 1)
    return "" if (value >= least if sign == "≥" else value <= least) else " (missed)"


def header(about: Figures) -> str:
    """Return on what machine, with what data, versions and seed."""
    form = "full" if about["full"] else "quick"
    data = f"data `{about['data']}`, first seed {about['seed']}, {form} form, {about['date']}"
    return f"{machine(about)}; {data}"


def machine(about: Figures) -> str:
    """Return on what machine, with what versions."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, {versions}"


def table(results: dict[str, Figures]) -> str:
    """Return all figures with their aims as Markdown, and each program's circumstances below."""
    lines = ["| What | Figure | Aim | Program |", "|:---|---:|---:|:---|"]
    for program, figure, what, aim in ROWS:
        if (value := results.get(program, {}).get(figure)) is not None:
            quick = "" if results[program]["full"] else ", quick"
            shown = text(figure, results[program]) + missed(value, aim)
            lines.append(f"| {what} | {shown} | {aim} | `{program}`{quick} |")
    return "\n".join([*lines, "", *(f"- `{name}`: {header(about)}" for name, about in results.items())])


def short_table(results: dict[str, Figures]) -> str:
    """Return what README shows: some of the figures beside what a reader knows."""
    lines = ["| Measured | digitlib | Compare with |", "|:---|---:|:---|"]
    for program, figure, what, form, baseline in README_ROWS:
        if (about := results.get(program, {})).get(figure) is not None:
            known = {"test_accuracy": text("test_accuracy", about)} if "{" in baseline else {}
            lines.append(f"| {what} | {form.format(text(figure, about))} | {baseline.format(**known)} |")
    return "\n".join(lines)


def notebooks_table() -> str:
    """Return the notebooks with what one learns in them, as notebooks/README.md has it."""
    lines = ["| Notebook | What you do |", "|:---|:---|"]
    listed = (TOP / "notebooks" / "README.md").read_text(encoding="utf-8")
    for title, name, what in re.findall(r"^\| \[(.*?)\]\((.*?)\) \| (.*?) \|", listed, re.MULTILINE):
        lines.append(f"| [{title}](notebooks/{name}) | {what} |")
    return "\n".join(lines)


def trials_table() -> str:
    """Return the trials, best first, with mean and spread over their seeds."""
    means = pd.read_csv(RESULTS / "trials.csv").groupby("trial", sort=False).agg(
        seeds=("seed", "size"), epochs=("epochs", "first"), mean=("val_accuracy", "mean"), sd=("val_accuracy", "std"),
        loss=("val_cross_entropy", "mean"), dev=("dev_accuracy", "mean"), best=("dev_best_accuracy", "mean"),
    )  # fmt: skip
    columns = ("Seeds", "Epochs", "Validation accuracy", "Cross-entropy", "Dev. accuracy", "Its best epoch")
    lines = [f"| Trial | {' | '.join(columns)} |", "|:---" + "|---:" * len(columns) + "|"]
    best_first = means.sort_values("mean", ascending=False, kind="stable", key=lambda mean: mean.round(6))
    for name, row in best_first.iterrows():
        spread = f" ± {row['sd']:.2%}" if row["seeds"] > 1 else ""
        dev, best = ("" if pd.isna(row[name]) else f"{row[name]:.2%}" for name in ("dev", "best"))
        lines.append(
            f"| {name} | {row['seeds']:.0f} | {row['epochs']:.0f} | {row['mean']:.2%}{spread} | {row['loss']:.4f} "
            f"| {dev} | {best} |"
        )
    return "\n".join(lines)


def ensemble_table(about: Figures) -> str:
    """Return what each member, and all together, got wrong of the development images, and right of the test set."""
    lines = ["| | Errors on the development images | Test accuracy |", "|:---|---:|---:|"]
    wrong = about.get("development wrong, members", [""] * len(about["members"]))
    for name, errors, accuracy in zip(about["members"], wrong, about["test_accuracy of members"], strict=True):
        lines.append(f"| {name} | {errors} | {accuracy:.2%} |")
    low, high = about["test_accuracy_low"], about["test_accuracy_high"]
    lines.append(
        f"| ensemble | {about.get('development wrong, joined', '')} "
        f"| {about['test_accuracy']:.2%} ({low:.2%} to {high:.2%}) |"
    )
    return "\n".join(
        [
            *lines,
            "",
            f"{about.get('development images', 0):,} development and {about['n_test']:,} test images. Of the test images, "
            f"{about['only_ensemble']} are right by the ensemble alone and {about['only_best_member']} by "
            f"{about['members'][about['best_member']]}, alone, the best on the validation set (p = {about['p_value']:.2g}). "
            f"{header(about)}.",
        ]
    )


def filled(page: str, name: str, content: str) -> str:
    """Return a page with what stands between its two comments `name` replaced."""
    first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, rest = page.split(first)
    return f"{before}{first}\n\n{content}\n\n{last}{rest.split(last)[1]}"


def pages(results: dict[str, Figures]) -> dict[Path, str]:
    """Return every page that holds figures, with the figures of `results` in it."""
    parts = {
        "README.md": {"results": short_table(results), "notebooks": notebooks_table()},
        "docs/performance.md": {"trials": trials_table(), "ensemble": ensemble_table(results["ensemble"])},
        "benchmarks/results/README.md": {"table": table(results)},
    }  # fmt: skip
    found = {}
    for name, contents in parts.items():
        found[TOP / name] = (TOP / name).read_text(encoding="utf-8")
        for mark, content in contents.items():
            found[TOP / name] = filled(found[TOP / name], mark, content)
    return found


@click.command()
def main() -> None:
    """Print the table of all results, and bring the pages that hold figures up to date: README and some in docs/."""
    results = load()
    for path, content in pages(results).items():
        path.write_text(content, encoding="utf-8")
    click.echo(table(results))


if __name__ == "__main__":
    main()
