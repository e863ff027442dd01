"""One training step of the seed recipe: the classic pipeline, digitlib's generator, and the net by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

import digitlib as d
from benchmarks import classic
from benchmarks.common import comparison


class Same(d.ImageBatches):
    """One batch again and again: what a step costs when images cost nothing."""

    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(0)


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Seconds a step of 32 images, 128 x 128 x 3, 2,607,708 parameters."""
    run = d.prepare(data, "runs/steps")
    recipe = d.get_recipe("seed", seed=seed)
    ours, _ = d.generators_for(run, recipe)
    same = d.generator_from_split(
        run, recipe.train_on, image_size=(128, 128), color_mode="rgb", rescale=1 / 255
    )
    same.__class__ = Same
    theirs = classic.generator(run / "TRAIN", augment=True)
    model = classic.network(d.class_names_of(run))
    steps = 100 if full else 25
    rounds: dict[str, list[float]] = {}
    for _ in range(3 if full else 2):
        for name, batches in (("classic", theirs), ("ours", ours), ("net_alone", same)):
            rounds.setdefault(name, []).append(classic.fit_seconds_a_step(model, batches, steps))
    seconds = {name: float(np.median(values)) for name, values in rounds.items()}
    return {
        **{f"{name} seconds_a_step": value for name, value in seconds.items()},
        "ours share of classic": seconds["ours"] / seconds["classic"],
        "net_alone share of classic": seconds["net_alone"] / seconds["classic"],
        "ours share of net_alone": seconds["ours"] / seconds["net_alone"],
    }


if __name__ == "__main__":
    main()
