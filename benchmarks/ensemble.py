"""Five networks joined to one: what is gained over the best of them, on the test images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import digitlib as d
from benchmarks.common import comparison


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Accuracy of five members of `accurate` (`tiny` in the quick form) and of the network that they are joined to.

    Members in the folders $RUNS, with spaces between, are only read; else they are trained on two workers.
    """
    if given := os.environ.get("RUNS"):
        members = d.find_members([Path(name).absolute() for name in given.split()])
    else:
        recipes = [d.get_recipe("accurate" if full else "tiny", seed=one) for one in range(seed, seed + 5)]
        prepared = d.prepare(data, "runs/split", mode="none")
        members = d.train_members(prepared, "runs/members", recipes, workers=2)
    result = d.make_ensemble(members, "runs/ensemble")
    accuracies = [member["test_accuracy"] for member in result["members"]]
    return {
        "members": len(members),
        "recipe": result["members"][0]["recipe"],
        "test_accuracy of members": accuracies,
        **{name: value for name, value in result.items() if name != "members"},
    }


if __name__ == "__main__":
    main()
