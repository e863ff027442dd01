"""How far a run can be trusted: calibration, coverage at a wanted accuracy, and what is no digit at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import digitlib as d
from benchmarks.common import comparison, timed
from benchmarks.training import trained
from digitlib.evaluation.out_of_distribution import KINDS

WANTED = 0.999
PICTURES = 2_000
"""Of each kind that is no digit."""


def on_test(judged: Any) -> dict[str, Any]:
    """Return what the test part says of confidence and threshold."""
    given = judged[judged["answered"]]
    right = int(given["correct"].sum())
    low, high = d.wilson_interval(right, len(given))
    curve = d.risk_coverage(judged["score"], judged["correct"])
    return {
        "n_test": len(judged),
        "test_accuracy": float(judged["correct"].mean()),
        "calibration error before": d.expected_calibration_error(judged["raw_confidence"], judged["correct"]),
        "calibration error after": d.expected_calibration_error(judged["confidence"], judged["correct"]),
        "coverage": len(given) / len(judged),
        "answered": len(given),
        "answered wrong": len(given) - right,
        "accuracy of answers": right / len(given),
        "accuracy of answers low": low,
        "accuracy of answers high": high,
        "largest coverage with it on test": float(curve.loc[curve["accuracy"] >= WANTED, "coverage"].max()),
        "declined as unfamiliar": float(1 - judged["familiar"].mean()),
    }


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Fit temperature, familiarity and threshold on train and validation, then look at the test part and the unknowns.

    ``RUN=FOLDER`` in the environment takes a run that is already trained.
    """
    run = trained(data, full, seed)
    recipe, model = d.load_recipe(run), d.load_best_model(run)
    with timed("fit_trust") as clock:
        trust = d.fit_trust(run, recipe, model, WANTED)
    judge = d.Judge(trust, model, d.class_names_of(run))
    figures: dict[str, Any] = {
        "data": Path(run.read_json("source.json")["data"]).name,
        "recipe": recipe.name,
        "wanted_accuracy": WANTED,
        "temperature": trust.temperature,
        "threshold": trust.threshold,
        "fit seconds": clock.seconds,
    } | on_test(judge.part(run, recipe, "test"))
    for kind in KINDS:
        judged = judge(d.as_batches(d.make_ood_images(kind, PICTURES, seed), recipe))
        figures |= {
            f"{kind} declined": float(1 - judged["answered"].mean()),
            f"{kind} declined as unfamiliar": float(1 - judged["familiar"].mean()),
            f"{kind} above 90 % by raw confidence": float((judged["raw_confidence"] > 0.9).mean()),
        }
    return figures | {"pictures of each kind": PICTURES}


if __name__ == "__main__":
    main()
