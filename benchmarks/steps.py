"""One training step of the seed recipe: the classic pipeline, digitlib's generator, and the net by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

import digitlib as d
from benchmarks import classic
from benchmarks.common import comparison
from digitlib.training.backend import policy_of


class Same(d.ImageBatches):
    """One batch again and again: what a step costs when images cost nothing."""

    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(0)


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Seconds a step of 32 images, 128 x 128 x 3, 2,607,708 parameters."""
    run = d.prepare(data, "runs/steps")
    recipe = d.get_recipe("seed", seed=seed)
    ours, _ = d.train_val_generators(run, recipe)
    same = d.generator_from_split(
        run, recipe.train_on, image_size=(128, 128), color_mode="rgb", rescale=1 / 255
    )
    same.__class__ = Same
    theirs = classic.generator(run / "TRAIN", augment=True)
    model = classic.network(d.class_names_of(run))
    mixed = d.build_model(recipe, d.class_names_of(run))
    mixed.compile(d.make_optimizer(recipe, len(ours)), d.make_loss(recipe), metrics=["accuracy"])
    contest = {
        "classic": (model, theirs),
        "ours": (mixed, ours),
        "ours_float32": (model, ours),
        "net_alone": (mixed, same),
        "net_alone_float32": (model, same),
    }
    steps = 100 if full else 25
    rounds: dict[str, list[float]] = {}
    for _ in range(3 if full else 2):
        for name, (net, batches) in contest.items():
            rounds.setdefault(name, []).append(classic.fit_seconds_a_step(net, batches, steps))
    seconds = {name: float(np.median(values)) for name, values in rounds.items()}
    return {
        "precision": policy_of(recipe.precision),
        **{f"{name} seconds_a_step": value for name, value in seconds.items()},
        **{
            f"{name} share of classic": value / seconds["classic"]
            for name, value in seconds.items()
            if name != "classic"
        },
        "ours share of net_alone": seconds["ours"] / seconds["net_alone"],
    }


if __name__ == "__main__":
    main()
