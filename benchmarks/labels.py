"""Wrong labels planted among those of a data set, and how many of them are found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import digitlib as d
from benchmarks.common import comparison, timed

SHARE = 0.01


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Recall and precision of notebook 10's check, with 1 % wrong labels: four seeds, ten with --full."""
    run = d.prepare(data, "runs/labels", mode="none")
    manifest, class_names = d.read_split(run), d.class_names_of(run)
    rows, named = [], []
    for number in range(seed, seed + (10 if full else 4)):
        planted = d.inject_label_noise(manifest, SHARE, number)
        with timed(f"seed {number}"):
            said = d.held_out_probabilities(run, d.label_recipe(seed=number), planted)
            issues = d.find_label_issues(planted, said, class_names)
        right = manifest["class"].to_numpy() == np.array(class_names)[said.argmax(axis=1)]
        rows.append(
            {"seed": number, **d.label_noise_scores(planted, issues), "accuracy": float(right.mean())}
        )
        named.append(
            issues["filename"][~issues["filename"].isin(planted.loc[planted["planted"], "filename"])]
        )
    table, others = pd.DataFrame(rows), pd.concat(named).value_counts()
    total = {name: int(table[name].sum()) for name in ("planted", "named", "found")}
    return {
        "images": len(manifest),
        "share": SHARE,
        **total,
        "recall": total["found"] / total["planted"],
        "recall interval": d.wilson_interval(total["found"], total["planted"]),
        "precision": total["found"] / total["named"],
        "precision interval": d.wilson_interval(total["found"], total["named"]),
        "recall lowest": float(table["recall"].min()),
        "precision lowest": float(table["precision"].min()),
        "held-out accuracy": float(table["accuracy"].mean()),
        "not planted, named by every seed": sorted(others[others == len(rows)].index),
        "rows": rows,
    }


if __name__ == "__main__":
    main()
