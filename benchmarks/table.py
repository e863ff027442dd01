"""The results as tables: benchmarks/results/README.md, which the figures in README and docs are taken from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pandas as pd

from benchmarks.common import RESULTS
from benchmarks.scale_table import bulk_table, cost_table, reach_table, runs_table

TOP = Path(__file__).parents[1]
Figures = dict[str, Any]
WRITTEN = (
    "`make bench DATA=FOLDER` writes them in quick form, `make bench-full DATA=FOLDER MNIST=mnist.npz` with all seeds and sizes: "
    "over those that stand here and in README and docs, so do it in a clone. Rows of the quick form are marked."
)

BATCHES = "Images a second: in batches of 1,024 (at 128×128×3: 256), ImageDataGenerator's in its own 32"

ROWS: list[tuple[str, str, str, str, str]] = [
    # program, figure, what it says, aim, hoped for
    ("training", "target times faster than classic", "folder to 95.24 % on the test images: times faster", "≥ 300", "≥ 1,000"),
    ("training", "fast test_accuracy mean", "`fast`: mean test accuracy", "≥ 99.4 %", "≥ 99.6 %"),
    ("training", "fast times faster than classic", "`fast`: times faster, folder to result", "≥ 25", ""),
    ("training", "accurate test_accuracy mean", "`accurate`: mean test accuracy", "≥ 99.6 %", "≥ 99.75 %"),
    ("training", "accurate times faster than classic", "`accurate`: times faster, folder to result", "≥ 5", ""),
    ("generators", "28x28x1 ours_batch_1024 ratio", "images a second at 28×28×1, times ImageDataGenerator's", "≥ 150", "≥ 300"),
    ("generators", "28x28x1 ours_batch_32 ratio", "the same in batches of 32", "", ""),
    ("generators", "28x28x1 preprocessing_layers ratio", "the same by Keras's preprocessing layers", "", ""),
    ("generators", "128x128x3 ours_batch_256 ratio", "images a second at 128×128×3, times ImageDataGenerator's", "≥ 15", "≥ 40"),
    ("steps", "ours share of classic", "a step of the recipe `seed`, share of the classic pipeline's", "≤ 0.5", ""),
    ("steps", "ours_float32 share of classic", "the same in float32, on processors without bfloat16", "", ""),
    ("steps", "net_alone share of classic", "the same without making any images: the net alone", "", ""),
    ("steps", "ours share of net_alone", "a step of the recipe `seed`, share of the net's own", "", "≤ 1"),
    ("prediction", "times faster", "files to predictions.csv: times the classic way's speed", "≥ 300", "≥ 1,000"),
    ("keras_example", "times faster", "to the Keras example's accuracy, on MNIST's own split: times faster", "≥ 3", "≥ 10"),
    ("growth", "decode time an image, largest to the one before", "decode: time an image, largest over next", "≤ 1.2", "≤ 1"),
    ("growth", "epoch time an image, largest to the one before", "epoch: time an image, largest over next", "≤ 1.2", "≤ 1"),
    ("growth", "predict time an image, largest to the one before", "predict: time an image, largest over next", "≤ 1.2", "≤ 1"),
    ("growth", "epoch peak bytes a further image", "epoch: bytes of memory a further image", "≤ 1,000", "≤ 100"),
    ("growth", "predict peak bytes a further image", "predict: bytes of memory a further image", "≤ 1,000", "≤ 100"),
    ("overhead", "import digitlib", "`import digitlib`, seconds", "≤ 0.5", "≤ 0.1"),
    ("overhead", "series against imports and fit", "series on `sample` against its imports and fit", "≤ 1.5", "≤ 1.2"),
    ("trust", "calibration error after", "calibration error after temperature", "≤ 0.5 %", ""),
    ("trust", "coverage", "answered, at the threshold for 99.9 % right", "≥ 97 %", ""),
    ("trust", "accuracy of answers", "right among these", "≥ 99.9 %", ""),
    ("trust", "blanks declined", "blanks declined", "≥ 95 %", ""),
    ("trust", "noise declined", "noise declined", "≥ 95 %", ""),
    ("trust", "letters declined", "letters declined", "≥ 95 %", ""),
    ("trust", "drawn digits declined", "digits drawn in a font, which it has not learnt: declined", "", ""),
    ("labels", "recall", "planted wrong labels: found", "≥ 90 %", ""),
    ("labels", "precision", "planted wrong labels: share of those named", "≥ 80 %", ""),
    ("pages", "digits read right", "composed photos: digits read right", "≥ 97 %", ""),
    ("ensemble", "test_accuracy", "five members of `accurate` joined: test accuracy", "≥ 99.7 %", "≥ 99.8 %"),
    ("bulk", "two workers times one", "a million images named: two workers, times one", "≥ 1.7", ""),
    ("pages", "boxes right", "composed photos: digits found", "", ""),
    ("threads", "tiny trainings_a_minute ratio", "`tiny`: trainings by two one-thread workers, times one process's", "≥ 1", ""),
    ("threads", "tiny images_predicted_a_second ratio", "`tiny`: images named by two such workers, times one process's", "≥ 1", ""),
    ("threads", "fast trainings_a_minute ratio", "`fast`: trainings by two one-thread workers, times one process's", "≥ 1", ""),
    ("threads", "fast images_predicted_a_second ratio", "`fast`: images named by two such workers, times one process's", "≥ 1", ""),
]  # fmt: skip


IN_README = (
    "target times faster than classic", "fast test_accuracy mean", "fast times faster than classic",
    "accurate test_accuracy mean", "accurate times faster than classic", "28x28x1 ours_batch_1024 ratio",
    "ours share of classic", "times faster", "coverage", "accuracy of answers", "letters declined", "digits read right",
)  # fmt: skip
"""The figures that a reader compares; all of them stand in benchmarks/results/README.md."""

SHARES = ("accuracy", "right", "declined", "coverage", "recall", "precision", "calibration")
"""Figures that are written as percentages."""


def load() -> dict[str, Figures]:
    """Return the figures of every program that has been run, by its name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))
    }


def text(figure: str, value: float) -> str:
    """Return a figure as people write it."""
    if any(word in figure for word in SHARES):
        return f"{100 * value:.2f} %"
    return f"{value:,.0f}" if value >= 20 else f"{value:.3g}"


def missed(figure: str, value: float, aim: str) -> str:
    """Return a word behind a figure that is not what was aimed at, such as ``≥ 99.7 %``; nothing behind others."""
    if not aim:
        return ""
    sign, bound = aim.split()[:2]
    least = float(bound.replace(",", "")) / (100 if aim.endswith("%") else 1)
    return "" if (value >= least if sign == "≥" else value <= least) else " (missed)"


def header(about: Figures) -> str:
    """Return on what machine, with what data, versions and seed."""
    form = "full" if about["full"] else "quick"
    return (
        f"{machine(about)}; data `{about['data']}`, first seed {about['seed']}, {form} form, {about['date']}"
    )


def machine(about: Figures) -> str:
    """Return on what machine, with what versions."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, {versions}"


def table(results: dict[str, Figures]) -> str:
    """Return all figures with their aims as Markdown, and each program's circumstances below."""
    lines = ["| What | Figure | Aim | Hoped for | Program |", "|:---|---:|---:|---:|:---|"]
    for program, figure, what, aim, hoped in ROWS:
        if (value := results.get(program, {}).get(figure)) is not None:
            quick = "" if results[program]["full"] else ", quick"
            lines.append(
                f"| {what} | {text(figure, value)}{missed(figure, value, aim)} | {aim} | {hoped} | `{program}`{quick} |"
            )
    lines += ["", "A row that names no unit is a ratio of two times of one run on one machine.", ""]
    lines += [f"{BATCHES}.", ""]
    if steps := results.get("training", {}).get("classic steps measured"):
        lines += [
            '"Times faster": than the classic pipeline\'s ten epochs on the same machine, reckoned from '
            f"{steps:,.0f} of its steps.",
            "",
        ]
    lines += [f"- `{name}`: {header(about)}" for name, about in results.items() if "versions" in about]
    return "\n".join(lines)


def short_table(results: dict[str, Figures]) -> str:
    """Return what the README shows: some of the figures, and where they were taken."""
    lines = ["| What | Figure |", "|:---|---:|"]
    for program, figure, what, *_ in ROWS:
        if figure in IN_README and (value := results.get(program, {}).get(figure)) is not None:
            lines.append(f"| {what[0].upper() + what[1:]} | {text(figure, value)} |")
    about = results["training"]
    took = [
        f"`{name}` {about[f'{name} seconds']:,.0f} s"
        for name in ("fast", "accurate")
        if f"{name} seconds" in about
    ]
    one_seed = (
        " The Keras example is from one seed." if not results.get("keras_example", {}).get("full") else ""
    )
    said = [
        "- *Times faster*: than the classic pipeline's ten epochs on the same machine, reckoned from "
        f"{about['classic steps measured']:,.0f} of its steps. In the first row it is the network of `fast`, trained for it in 90 "
        "steps on images as they are.",
        "- *Accuracies*: 42,000 images of MNIST in the form and class counts of Kaggle's archive, of which 8,405 are the test; the "
        f"mean of three seeds, and for answers, letters and photos one network. On the sample they are lower.{one_seed}",
        f"- {BATCHES}. The classic way to predictions.csv loads and names one image at a time, with the classic network.",
        f"- From the folder to the result: {', '.join(took)}. Taken on: {machine(about)}.",
    ]
    return "\n".join([*lines, "", *said])


def notebooks_table(results: dict[str, Figures]) -> str:
    """Return the notebooks with what one does in them, as notebooks/README.md has it, and how long each takes."""
    about = results.get("notebooks", {"seconds": {}})
    lines = ["| Notebook | What you do | Takes |", "|:---|:---|---:|"]
    listed = (TOP / "notebooks" / "README.md").read_text(encoding="utf-8")
    for title, name, what in re.findall(r"^\| \[(.*?)\]\((.*?)\) \| (.*?) \|", listed, re.MULTILINE):
        seconds = about["seconds"].get(name)
        lines.append(f"| [{title}](notebooks/{name}) | {what} | {f'{seconds:.0f} s' if seconds else ''} |")
    return "\n".join([*lines, "", f"Times on: {header(about)}." if "versions" in about else ""]).rstrip()


def profile_table(results: dict[str, Figures]) -> str:
    """Return where the time of one step goes."""
    about = results.get("profile", {})
    lines = ["| Part of a step | `fast` | `accurate` |", "|:---|---:|---:|"]
    for part in ("input", "forward", "backward", "rest", "step", "step on one thread", "step with XLA"):
        shares = [about.get(f"{name} {part}", 0) for name in ("fast", "accurate")]
        cells = [
            f"{1000 * value:.1f} ms ({value / about[f'{name} step']:.0%})" if about else ""
            for name, value in zip(("fast", "accurate"), shares, strict=True)
        ]
        lines.append(f"| {part} | {cells[0]} | {cells[1]} |")
    for figure, what, form in (
        ("batch", "images a step", "{:,.0f}"),
        ("multiply_adds_an_image", "multiply-adds an image, forward", "{:,.0f}"),
        ("multiply_adds_per_second", "multiply-adds a second, forward and backward", "{:.3g}"),
        ("matmul_peak", "what this machine reaches in a float32 product of 2048 × 2048", "{:.3g}"),
        ("share_of_peak", "the step's share of that, in the precision the recipe computes in here", "{:.0%}"),
    ):
        cells = [form.format(about[f"{name} {figure}"]) if about else "" for name in ("fast", "accurate")]
        lines.append(f"| {what} | {cells[0]} | {cells[1]} |")
    return "\n".join([*lines, "", f"{header(about)}." if about else ""]).rstrip()


def growth_table(results: dict[str, Figures]) -> str:
    """Return time and memory by number of images."""
    about = results.get("growth", {"rows": []})
    lines = ["| Step | Images | Seconds | Images a second | Peak memory |", "|:---|---:|---:|---:|---:|"]
    lines += [
        f"| {row['step']} | {row['n']:,.0f} | {row['seconds']:.2f} | {row['n'] / row['seconds']:,.0f} | "
        f"{row['peak'] / 1e6:,.0f} MB |"
        for row in about["rows"]
    ]
    for step in ("split", "decode", "epoch", "predict"):
        if f"{step} slope" in about:
            further = about[f"{step} peak bytes a further image"]
            lines.append(
                f"| {step} | | slope {about[f'{step} slope']:.2f} | | {further:,.0f} bytes a further image |"
            )
    lines += [
        "",
        "Slope: of the logarithm of seconds over that of images; 1 would be a time that grows as the images do.",
    ]
    return "\n".join([*lines, "", f"{header(about)}." if "versions" in about else ""]).rstrip()


def percent(share: float) -> str:
    """Return a share in per cent, or nothing of what was not measured."""
    return "" if pd.isna(share) else f"{share:.2%}"


def trials_table() -> str:
    """Return the trials, best first, with mean and spread over their seeds."""
    rows = pd.read_csv(RESULTS / "trials.csv")
    means = rows.groupby("trial", sort=False).agg(
        seeds=("seed", "size"), epochs=("epochs", "first"), parameters=("parameters", "first"),
        mean=("val_accuracy", "mean"), sd=("val_accuracy", "std"), moved=("val_moved_accuracy", "mean"),
        loss=("val_cross_entropy", "mean"), dev=("dev_accuracy", "mean"), best=("dev_best_accuracy", "mean"),
    )  # fmt: skip
    columns = (
        "Seeds", "Epochs", "Parameters", "Validation accuracy", "Moved copies", "Cross-entropy", "Dev. accuracy",
        "Its best epoch",
    )  # fmt: skip
    lines = [f"| Trial | {' | '.join(columns)} |", "|:---" + "|---:" * len(columns) + "|"]
    for name, row in means.sort_values(
        "mean", ascending=False, kind="stable", key=lambda mean: mean.round(6)
    ).iterrows():
        spread = f" ± {row['sd']:.2%}" if row["seeds"] > 1 else ""
        lines.append(
            f"| {name} | {row['seeds']:.0f} | {row['epochs']:.0f} | {row['parameters']:,.0f} "
            f"| {row['mean']:.2%}{spread} | {row['moved']:.2%} | {row['loss']:.4f} "
            f"| {percent(row['dev'])} | {percent(row['best'])} |"
        )
    return "\n".join(lines)


def ensemble_table(about: Figures) -> str:
    """Return what each member, and all together, got wrong of the development images, and right of the test images."""
    lines = ["| | Wrong of the development images | Test accuracy |", "|:---|---:|---:|"]
    wrong = about.get("development wrong, members", [""] * len(about["members"]))
    for name, missed, accuracy in zip(
        about["members"], wrong, about["test_accuracy of members"], strict=True
    ):
        lines.append(f"| {name} | {missed} | {accuracy:.2%} |")
    low, high = about["test_accuracy_low"], about["test_accuracy_high"]
    lines.append(
        f"| joined | {about.get('development wrong, joined', '')} "
        f"| {about['test_accuracy']:.2%} ({low:.2%} to {high:.2%}) |"
    )
    images = f"{about.get('development images', 0):,} development and {about['n_test']:,} test images"
    gain = (
        f"Of the test images, {about['only_ensemble']} are right by the ensemble alone and {about['only_best_member']} by "
        f"{about['members'][about['best_member']]}, alone, the best on validation images (p = {about['p_value']:.2g})"
    )
    return "\n".join([*lines, "", f"{images}. {gain}. {header(about)}."])


def filled(page: str, name: str, content: str) -> str:
    """Return a page with the part between its two comments `name` replaced."""
    first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, rest = page.split(first)
    return f"{before}{first}\n\n{content}\n\n{last}{rest.split(last)[1]}"


def pages(results: dict[str, Figures]) -> dict[Path, str]:
    """Return every page that holds figures, with the figures of `results` in it."""
    performance = (TOP / "docs" / "performance.md").read_text(encoding="utf-8")
    for name, content in (
        ("profile", profile_table(results)), ("growth", growth_table(results)), ("trials", trials_table()),
        ("ensemble", ensemble_table(results["ensemble"])),
    ):  # fmt: skip
        performance = filled(performance, name, content)
    scale = (TOP / "docs" / "scale.md").read_text(encoding="utf-8")
    for name, content in (
        ("million", bulk_table(results.get("bulk", {}))), ("costs", cost_table(results.get("scale", {}))),
        ("reach", reach_table(results.get("scale", {}))), ("runs", runs_table(results["sweep"])),
    ):  # fmt: skip
        scale = filled(scale, name, content)
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    return {
        TOP / "README.md": filled(
            filled(readme, "results", short_table(results)), "notebooks", notebooks_table(results)
        ),
        TOP / "docs" / "performance.md": performance,
        TOP / "docs" / "scale.md": scale,
        RESULTS / "README.md": f"# Results\n\n{WRITTEN}\n\n{table(results)}\n",
    }


@click.command()
def main() -> None:
    """Print the table of all results, and bring the pages that hold figures up to date: README and some in docs/."""
    results = load()
    for path, content in pages(results).items():
        path.write_text(content, encoding="utf-8")
    click.echo(table(results))


if __name__ == "__main__":
    main()
