"""Wrong labels injected into those of a data set, and how many of them are found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmarks.common import comparison, timed
from digitlib import cross_validate, find_label_issues, get_recipe, prepare, wilson_interval
from digitlib.evaluation import inject_label_noise, label_noise_scores

SHARE = 0.01


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Recall and precision of notebook 10's check, with 1 % wrong labels: four seeds, ten with --full."""
    run = prepare(data, "runs/labels", mode="none")
    manifest = run.split
    rows = []
    for number in range(seed, seed + (10 if full else 4)):
        noisy = inject_label_noise(manifest, SHARE, number)
        recipe = get_recipe("tiny", seed=number, epochs=6, min_steps=450, label_smoothing=0.0)
        with timed(f"seed {number}"):
            probabilities = cross_validate(run, recipe, noisy).probabilities
            issues = find_label_issues(noisy, probabilities, run.class_names)
        right = manifest["class"].to_numpy() == np.array(run.class_names)[probabilities.argmax(axis=1)]
        rows.append({"seed": number, **label_noise_scores(noisy, issues), "accuracy": float(right.mean())})
    table = pd.DataFrame(rows)
    injected, flagged, found = (int(table[name].sum()) for name in ("planted", "flagged", "found"))
    return {
        "images": len(manifest),
        "share": SHARE,
        "recall": found / injected,
        "recall interval": wilson_interval(found, injected),
        "precision": found / flagged,
        "precision interval": wilson_interval(found, flagged),
        "held-out accuracy": float(table["accuracy"].mean()),
        "rows": rows,
    }


if __name__ == "__main__":
    main()
