"""How far confidence can be trusted: calibration, coverage at a target accuracy, out-of-distribution images."""

from __future__ import annotations

from typing import Any

from benchmarks.common import comparison, timed
from benchmarks.training import trained
from digitlib import Classifier
from digitlib.evaluation import expected_calibration_error, make_ood_images, risk_coverage
from digitlib.evaluation.out_of_distribution import KINDS

TARGET = 0.999
IMAGES = 2_000
"""Of each kind."""


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Calibrate on the training and validation sets, then look at the test set and at out-of-distribution images.

    ``RUN=FOLDER`` in the environment takes a run that is already trained.
    """
    classifier = Classifier.load(trained(data, full, seed))
    with timed("calibrate") as clock:
        classifier.calibrate(target_accuracy=TARGET)
    metrics, table = (evaluation := classifier.evaluate("test")).metrics, evaluation.predictions
    curve = risk_coverage(table["score"], table["correct"])
    figures: dict[str, Any] = {
        "network": classifier.model.name,
        "target_accuracy": TARGET,
        "temperature": classifier.selective.temperature,
        "threshold": classifier.selective.threshold,
        "calibrate seconds": clock.seconds,
        "n_test": len(table),
        "test_accuracy": metrics["accuracy"],
        "calibration error before": expected_calibration_error(table["raw_confidence"], table["correct"]),
        "calibration error after": expected_calibration_error(table["confidence"], table["correct"]),
        "coverage": metrics["coverage"],
        "accuracy of accepted": metrics["accepted_accuracy"],
        "accuracy of accepted low": metrics["accepted_accuracy_low"],
        "accuracy of accepted high": metrics["accepted_accuracy_high"],
        "largest coverage with it on the test set": float(curve.loc[curve["accuracy"] >= TARGET, "coverage"].max()),
        "rejected as out-of-distribution": float(1 - table["in_distribution"].mean()),
    }
    for kind in KINDS:
        judged = classifier.judge(make_ood_images(kind, IMAGES, seed))
        figures |= {
            f"{kind} rejected": float(1 - judged["accepted"].mean()),
            f"{kind} rejected as out-of-distribution": float(1 - judged["in_distribution"].mean()),
            f"{kind} above 90 % by raw confidence": float((judged["raw_confidence"] > 0.9).mean()),
        }
    return figures | {"images of each kind": IMAGES}


if __name__ == "__main__":
    main()
