"""Five networks joined to one: what is gained over the best of them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

import digitlib as d
from benchmarks.common import comparison, timed
from benchmarks.training import development_images, errors
from digitlib.scale import make_ensemble
from digitlib.training.recipes import SETS


def refitted(data: str, mnist: str, seed: int) -> dict[str, Any]:
    """Return the errors on the development images of five networks trained on all labelled images, and of their mean."""
    members = []
    for one in range(seed, seed + 5):
        run = d.prepare(data, f"runs/all{one}", mode="none")
        with timed(f"member {one}"):
            d.train_run(run, d.get_recipe("accurate", seed=one, train_on=SETS, checkpoint="last"))
        images = development_images(run, mnist)
        members.append(d.Classifier.load(run).predict_proba(images))
    return {
        "development errors of members after refit": [errors(one, images) for one in members],
        "development errors of ensemble after refit": errors(np.mean(members, axis=0), images),
    }


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Accuracy of five members of `accurate` (`tiny` in the quick form) and of the network that they are joined to.

    Members in the folders $RUNS, with spaces between, are only read; else they are trained on two workers. In the full form,
    with MNIST's own file in $MNIST, the errors of five networks that were trained on all labelled images come instead.
    """
    if full and (mnist := os.environ.get("MNIST")):
        return refitted(data, mnist, seed)
    runs = os.environ.get("RUNS", "").split()
    train = {} if runs else {"train": 5, "recipe": "accurate" if full else "tiny", "data": data, "workers": 2}
    return make_ensemble(runs, "runs/ensemble", **train)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
