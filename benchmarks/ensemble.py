"""Five networks joined to one: what is gained over the best of them, on the test images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import digitlib as d
from benchmarks.common import comparison
from benchmarks.trials import development_images


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Accuracy of five members of `accurate` (`tiny` in the quick form) and of the network that they are joined to.

    Members in the folders $RUNS, with spaces between, are only read; else they are trained on two workers. With MNIST's
    own file in $MNIST, DATA's unlabelled images are named too.
    """
    if given := os.environ.get("RUNS"):
        members = d.find_members([Path(name).absolute() for name in given.split()])
    else:
        recipes = d.recipes_in_turn("accurate" if full else "tiny", range(seed, seed + 5))
        prepared = d.prepare(data, "runs/split", mode="none")
        members = d.train_members(prepared, "runs/members", recipes, workers=2)
    figures = development(members) if os.environ.get("MNIST") else {}
    result = d.make_ensemble(members, "runs/ensemble")
    return {
        "members": [f"{one['model']}, seed {one['seed']}" for one in result["members"]],
        "recipe": result["members"][0]["recipe"],
        "test_accuracy of members": [member["test_accuracy"] for member in result["members"]],
        **{name: value for name, value in result.items() if name != "members"},
        **figures,
    }


def development(members: list[d.Run]) -> dict[str, Any]:
    """Return how many of the images outside the split are named wrong: by each member, and by all together."""
    pixels, labels = development_images(members[0], os.environ["MNIST"])
    recipes, networks = [d.load_recipe(one) for one in members], [d.load_best_model(one) for one in members]
    wrong = [
        int((network.predict(d.as_batches(pixels, recipe), verbose=0).argmax(axis=1) != labels).sum())
        for network, recipe in zip(networks, recipes, strict=True)
    ]
    joined = d.join_networks(networks, (*recipes[0].image_size, 1))
    said = joined.predict(d.as_batches(pixels, recipes[0]), verbose=0)
    return {
        "development images": len(labels),
        "development wrong, members": wrong,
        "development wrong, joined": int((said.argmax(axis=1) != labels).sum()),
    }


if __name__ == "__main__":
    main()
