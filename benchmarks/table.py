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
    ("training", "target times faster than classic", "folder to 95.24 % test accuracy: times faster", "≥ 450"),
    ("training", "fast test_accuracy mean", "`fast`: mean test accuracy", "≥ 99.5 %"),
    ("training", "fast times faster than classic", "`fast`: times faster, folder to result", "≥ 100"),
    ("training", "accurate test_accuracy mean", "`accurate`: mean test accuracy", "≥ 99.66 %"),
    ("training", "accurate times faster than classic", "`accurate`: times faster, folder to result", "≥ 12"),
    ("generators", "28x28x1 ours_batch_1024 ratio", "images a second at 28×28×1, times ImageDataGenerator's", "≥ 150"),
    ("generators", "28x28x1 ours_batch_32 ratio", "the same in batches of 32", ""),
    ("generators", "28x28x1 preprocessing_layers ratio", "the same by Keras's preprocessing layers", ""),
    ("generators", "128x128x3 ours_batch_256 ratio", "images a second at 128×128×3, times ImageDataGenerator's", "≥ 15"),
    ("steps", "ours share of classic", "a step of the recipe `classic`, share of the classic pipeline's", "≤ 0.5"),
    ("steps", "ours_float32 share of classic", "the same in float32, on processors without bfloat16", ""),
    ("steps", "net_alone share of classic", "the same without making any images: the network alone", ""),
    ("steps", "ours share of net_alone", "a step of the recipe `classic`, share of the network's own", ""),
    ("steps", "share not in steps", "share of a fit of `fast` that is not spent in steps", "≤ 4 %"),
    ("prediction", "times faster", "files to predictions.csv: times as fast as one image at a time", "≥ 300"),
    ("peers", "times faster", "to the Keras example's accuracy on MNIST's own split: times faster", "≥ 8"),
    ("peers", "99 %: times faster than torch", "to 99 % there: times faster than one epoch in PyTorch", "≥ 1"),
    ("peers", "step bfloat16: times torch's", "a step with its images, times PyTorch's, in bfloat16", "≤ 1.1"),
    ("peers", "step float32: times torch's", "the same in float32", "≤ 1.0"),
    ("peers", "ONNX Runtime's time to predict, times ours", "ONNX Runtime's time to predict arrays, times ours", ""),
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
    ("training", "accurate development errors", "`accurate`: errors on 28,000 images, other draws", "≤ 93"),
    ("training", "accurate development errors after refit", "after `refit`, first draw", "≤ 85"),
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

PERCENT = re.compile("accuracy|not in steps|right|rejected|coverage|recall|precision|calibration")
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
    """Return the trials, fewest development errors first, with their mean over the seeds."""
    means = pd.read_csv(RESULTS / "trials.csv").groupby("trial", sort=False).agg(
        seeds=("seed", "size"), epochs=("epochs", "first"), val=("val_accuracy", "mean"), loss=("val_cross_entropy", "mean"),
        errors=("dev_errors", "mean"),
    )  # fmt: skip
    lines = [
        "| Trial | Seeds | Epochs | Validation accuracy | Cross-entropy | Dev. errors |",
        "|:---" + "|---:" * 5 + "|",
    ]
    for name, row in means.sort_values("errors", kind="stable").iterrows():
        figures = (
            f"{row['seeds']:.0f} | {row['epochs']:.0f} | {row['val']:.2%} | {row['loss']:.4f} | {row['errors']:.0f}"
        )
        lines.append(f"| {name} | {figures} |")
    return "\n".join(lines)


def story_table(about: Figures) -> str:
    """Return the seconds of each change after the other, and how many times as fast it is as the one before and the first."""
    lines = ["| Change | Seconds for 1,000 images | Times the row before | Times the first |", "|:---|---:|---:|---:|"]
    rows = list(about["seconds for 1,000 images"].items())
    for (what, seconds), (_, before) in zip(rows, [rows[0], *rows], strict=False):
        lines.append(f"| {what} | {seconds:.3g} | {before / seconds:.2f} | {rows[0][1] / seconds:.3g} |")
    share, with_one = (f"{100 * about[f'share not in steps{end}']:.1f} %" for end in ("", ", one worker"))
    waits = f"Of a fit of `fast` {share} is not spent in steps; with one worker it is {with_one}."
    return "\n".join([*lines, "", f"{waits} {header(about)}."])


def development_table(about: Figures) -> str:
    """Return the errors of `accurate` on the development images of each draw, before and after the refit."""
    if "draw" not in about["accurate runs"][0]:
        return "Not measured yet with these recipes."
    lines = ["| Draw | Seed | Test accuracy | Errors | Errors after refit |", "|:---|---:|---:|---:|---:|"]
    for seed, row in enumerate(about["accurate runs"], start=about["seed"]):
        before, refit = row.get("development errors", ""), row.get("development errors after refit", "")
        lines.append(f"| {row['draw']} | {seed} | {row['test_accuracy']:.2%} | {before} | {refit} |")
    mean = about.get("accurate development errors")
    lines.append(f"| mean | | {about['accurate test_accuracy mean']:.2%} | {'' if mean is None else round(mean)} | |")
    return "\n".join([*lines, "", f"28,000 images a draw. {header(about)}."])


def filled(page: str, name: str, content: str) -> str:
    """Return a page with what stands between its two comments `name` replaced."""
    first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, rest = page.split(first)
    return f"{before}{first}\n\n{content}\n\n{last}{rest.split(last)[1]}"


def pages(results: dict[str, Figures]) -> dict[Path, str]:
    """Return every page that holds figures, with the figures of `results` in it."""
    parts = {
        "README.md": {"results": short_table(results), "notebooks": notebooks_table()},
        "docs/performance.md": {
            "story": story_table(results["steps"]), "trials": trials_table(),
            "development": development_table(results["training"]),
        },
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
