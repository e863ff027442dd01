"""The results as tables: benchmarks/results/README.md, which the figures in README and docs are taken from."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.common import RESULTS

Figures = dict[str, Any]

ROWS: list[tuple[str, str, str, str, str]] = [
    # program, figure, what it says, at least, hoped for
    ("training", "target times faster than classic", "folder to 95.24 % on the test images, times faster", "300", "1,000"),
    ("training", "fast test_accuracy mean", "`fast`: mean test accuracy", "99.4 %", "99.6 %"),
    ("training", "fast times faster than classic", "`fast`: times faster, folder to result", "25", ""),
    ("training", "accurate test_accuracy mean", "`accurate`: mean test accuracy", "99.6 %", "99.75 %"),
    ("training", "accurate times faster than classic", "`accurate`: times faster, folder to result", "5", ""),
    ("generators", "28x28x1 ours_batch_1024 ratio", "images a second at 28×28×1, times ImageDataGenerator's", "150", "300"),
    ("generators", "28x28x1 ours_batch_32 ratio", "the same in batches of 32", "", ""),
    ("generators", "28x28x1 preprocessing_layers ratio", "the same by Keras's preprocessing layers", "", ""),
    ("generators", "128x128x3 ours_batch_256 ratio", "images a second at 128×128×3, times ImageDataGenerator's", "15", "40"),
    ("steps", "ours share of classic", "a step of `seed`, share of the classic pipeline's", "0.5", ""),
    ("steps", "ours share of classic without XLA", "the same, classic pipeline sped up by turning XLA off", "", ""),
    ("steps", "ours share of net_alone", "a step of `seed`, share of the net's own", "", "1"),
    ("prediction", "times faster", "files to predictions.csv, times one at a time", "300", "1,000"),
    ("keras_example", "times faster", "time to the Keras example's accuracy, times faster", "3", "10"),
    ("growth", "decode time an image, largest to the one before", "decode: time an image, larger to smaller folder", "1.2", "1"),
    ("growth", "epoch time an image, largest to the one before", "epoch: the same", "1.2", "1"),
    ("growth", "predict time an image, largest to the one before", "predict: the same", "1.2", "1"),
    ("growth", "epoch peak bytes a further image", "train: bytes of memory a further image", "1,000", "100"),
    ("growth", "predict peak bytes a further image", "predict: bytes of memory a further image", "1,000", "100"),
    ("overhead", "import digitlib", "`import digitlib`, seconds", "0.5", "0.1"),
    ("overhead", "series against imports and fit", "series on `sample` against its imports and fit", "1.5", "1.2"),
]  # fmt: skip


def load() -> dict[str, Figures]:
    """Return the figures of every program that has been run, by its name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))
    }


def text(figure: str, value: float) -> str:
    """Return a figure as people write it."""
    if "accuracy" in figure:
        return f"{value:.2%}"
    return f"{value:,.0f}" if value >= 20 else f"{value:.3g}"


def header(about: Figures) -> str:
    """Return on what machine, with what data, versions and seed."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return (
        f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, {versions}; data `{about['data']}`, "
        f"first seed {about['seed']}, {'full' if about['full'] else 'quick'} form, {about['date']}"
    )


def table(results: dict[str, Figures]) -> str:
    """Return all figures with their aims as Markdown, and each program's circumstances below."""
    lines = ["| What | Figure | At least | Hoped for | Program |", "|:---|---:|---:|---:|:---|"]
    for program, figure, what, least, hoped in ROWS:
        if (value := results.get(program, {}).get(figure)) is not None:
            lines.append(f"| {what} | {text(figure, value)} | {least} | {hoped} | `{program}` |")
    lines += ["", "Each row is a ratio of two times of one run on one machine, or an accuracy.", ""]
    lines += [f"- `{name}`: {header(about)}" for name, about in results.items() if "versions" in about]
    return "\n".join(lines)


def main() -> None:
    """Print the table and write it beside the figures."""
    shown = table(load())
    (RESULTS / "README.md").write_text(
        f"# Results\n\nWritten by `make bench`.\n\n{shown}\n", encoding="utf-8"
    )
    print(shown)


if __name__ == "__main__":
    main()
