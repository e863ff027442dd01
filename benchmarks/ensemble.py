"""Five networks joined to one, alone and with the nearest training images asked: what is gained over the best of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import digitlib as d
from benchmarks.common import comparison, timed
from benchmarks.trials import development_images


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Accuracy of five members of `accurate` (`tiny` in the quick form) and of the networks that they are joined to.

    Members in the folders $RUNS, with spaces between, are only read; else they are trained on two workers. With MNIST's
    own file in $MNIST, DATA's unlabelled images are named too.
    """
    if given := os.environ.get("RUNS"):
        members = d.find_members([Path(name).absolute() for name in given.split()])
    else:
        recipes = d.recipes_in_turn("accurate" if full else "tiny", range(seed, seed + 5))
        prepared = d.prepare(data, "runs/split", mode="none")
        members = d.train_members(prepared, "runs/members", recipes, workers=2)
    results = {
        neighbours: d.make_ensemble(members, f"runs/{name}", neighbours=neighbours)
        for neighbours, name in ((False, "ensemble"), (True, "ensemble-neighbours"))
    }
    figures = development(members) if os.environ.get("MNIST") else {}
    result = results[True]
    return {
        "members": [f"{one['model']}, seed {one['seed']}" for one in result["members"]],
        "recipe": result["members"][0]["recipe"],
        "test_accuracy of members": [member["test_accuracy"] for member in result["members"]],
        **{
            f"{name} without neighbours": results[False][name]
            for name in ("test_accuracy", "test_accuracy_low", "test_accuracy_high", "validation_accuracy")
        },
        **{name: value for name, value in result.items() if name != "members"},
        **figures,
    }


def development(members: list[d.Run]) -> dict[str, Any]:
    """Return how many of the images outside the split are named wrong: by each member, by all together, and with neighbours."""
    pixels, labels = development_images(members[0], os.environ["MNIST"])
    recipe = d.load_recipe(members[0])
    networks = [*members, d.open_run("runs/ensemble"), d.open_run("runs/ensemble-neighbours")]
    right, seconds = [], []
    for one in networks:
        network, images = d.load_best_model(one), d.as_batches(pixels, recipe)
        network.predict(images[0][0], verbose=0)  # what TensorFlow does once
        with timed(str(one)) as clock:
            right.append(network.predict(images, verbose=0).argmax(axis=1) == labels)
        seconds.append(clock.seconds)
    *each, joined, asked = right
    between = d.mcnemar(asked, joined)
    return {
        "development images": len(labels),
        "development wrong, members": [int((~one).sum()) for one in each],
        "development wrong, joined": int((~joined).sum()),
        "development wrong, with neighbours": int((~asked).sum()),
        "right only with neighbours": between["only_first"],
        "right only without": between["only_second"],
        "p_value of neighbours": between["p_value"],
        "seconds with neighbours, times without": seconds[-1] / seconds[-2],
    }


if __name__ == "__main__":
    main()
