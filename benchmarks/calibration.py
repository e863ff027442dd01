"""How far confidence can be trusted: calibration, coverage at a target accuracy, out-of-distribution images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from benchmarks.common import comparison, timed
from benchmarks.training import trained
from digitlib import Classifier, open_run
from digitlib.evaluation import Evaluation, expected_calibration_error, make_ood_images, risk_coverage
from digitlib.evaluation.out_of_distribution import KINDS
from digitlib.training import eval_generator

TARGET, NETWORKS, DRAWS = 0.999, 3, 5
IMAGES = 2_000
"""Of each kind."""


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Calibrate three networks on five draws of validation images each, and judge each on the images that are left.

    The first draw is the run's own validation set, judged on its test set; the others draw as many images from both
    together. ``RUNS="FOLDER FOLDER"`` in the environment takes runs that are already trained, of any data, which are
    only read. Each figure is a mean over networks and draws, followed by the standard deviation (``sd``).
    """
    given = os.environ.get("RUNS", "").split()
    runs = [open_run(Path(one).absolute()) for one in given]
    rows, rejected, sources = [], [], []
    for number in range(len(runs) or NETWORKS):
        classifier = Classifier.load(runs[number] if runs else trained(data, full, seed + number))
        assert classifier.run is not None
        sources.append(Path(str(classifier.run.read_json("source.json")["data"])).name)
        for draw, (evaluation, seconds) in enumerate(drawn(classifier)):
            about = {"network": number, "draw": draw, "calibrate seconds": seconds}
            rows.append(about | figures_of(classifier, evaluation))
            if draw == 0:
                rejected.append(rejected_kinds(classifier, seed))
    click.echo((table := pd.DataFrame(rows)).round(5).to_string(), err=True)
    figures: dict[str, Any] = {"data": ", ".join(dict.fromkeys(sources)), "recipe": classifier.record["recipe"]}
    figures |= {"target_accuracy": TARGET, "networks": len(sources), "draws": DRAWS}
    for measured in (table.drop(columns=["network", "draw"]), pd.DataFrame(rejected)):
        for name, column in measured.items():
            figures |= {str(name): float(column.mean()), f"{name} sd": float(column.std())}
    return figures | {"images of each kind": IMAGES, "each": rows}


def drawn(classifier: Classifier) -> Iterator[tuple[Evaluation, float]]:
    """Calibrate on one draw after the other; yield what the images that are left show, and the seconds."""
    assert classifier.run is not None
    sets = [eval_generator(classifier.run, classifier, name) for name in ("validation", "test")]
    images = np.concatenate([one.originals(np.arange(one.samples)) for one in sets])
    labels = np.concatenate([one.classes for one in sets])
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(labels)) if draw else np.arange(len(labels))
        chosen, left = np.split(order, [sets[0].samples])
        with timed(f"calibrate, draw {draw}") as clock:
            classifier.calibrate((images[chosen], labels[chosen]), TARGET, seed=draw)
        yield classifier.evaluate((images[left], labels[left])), clock.seconds


def figures_of(classifier: Classifier, evaluation: Evaluation) -> dict[str, float]:
    """Return what one calibration is worth on images that it has not seen."""
    table, chooser = evaluation.predictions, classifier.selective
    assert chooser is not None
    curve = risk_coverage(table["score"], table["correct"])
    return {
        "test_accuracy": evaluation.metrics["accuracy"],
        "temperature": chooser.temperature,
        "threshold": chooser.threshold,
        "calibration error before": expected_calibration_error(table["raw_confidence"], table["correct"]),
        "calibration error after": expected_calibration_error(table["confidence"], table["correct"]),
        "coverage": evaluation.metrics["coverage"],
        "accuracy of accepted": evaluation.metrics["accepted_accuracy"],
        "largest coverage with it on the test set": float(curve.loc[curve["accuracy"] >= TARGET, "coverage"].max()),
        "rejected as out-of-distribution": float(1 - table["in_distribution"].mean()),
    }


def rejected_kinds(classifier: Classifier, seed: int) -> dict[str, float]:
    """Return the shares of out-of-distribution images that are rejected."""
    figures = {}
    for kind in KINDS:
        judged = classifier.judge(make_ood_images(kind, IMAGES, seed))
        figures |= {
            f"{kind} rejected": float(1 - judged["accepted"].mean()),
            f"{kind} rejected as out-of-distribution": float(1 - judged["in_distribution"].mean()),
            f"{kind} above 90 % by raw confidence": float((judged["raw_confidence"] > 0.9).mean()),
        }
    return figures


if __name__ == "__main__":
    main()
