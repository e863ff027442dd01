"""One training step of the recipe `classic`: the classic pipeline, digitlib's generator, and the network by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

import digitlib as d
from benchmarks import classic
from benchmarks.common import comparison
from digitlib.training.backend import policy_of


class OneBatch(d.ImageBatches):
    """One batch again and again: what a step costs when images cost nothing."""

    kept: Any = None

    def __getitem__(self, index: int) -> Any:
        if self.kept is None:
            self.kept = super().__getitem__(0)
        return self.kept


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Seconds a step of 32 images, 128 x 128 x 3, 2,607,708 parameters."""
    run = d.prepare(data, "runs/steps")
    recipe = d.get_recipe("classic", seed=seed)
    ours, _ = d.train_val_generators(run, recipe)
    one_batch, _ = d.train_val_generators(run, recipe)
    one_batch.__class__ = OneBatch
    nets = {}
    for name, precision in (("", recipe.precision), ("_float32", "float32")):
        chosen = d.get_recipe("classic", seed=seed, precision=precision)
        nets[name] = d.build_model(chosen, run.class_names)
        nets[name].compile(d.make_optimizer(chosen, len(ours)), d.make_loss(chosen), metrics=["accuracy"])
    contest: dict[str, tuple[Any, Any]] = {
        "classic": (classic.network(), classic.generator(run / "TRAIN", augment=True)),
        **{f"ours{name}": (net, ours) for name, net in nets.items()},
        **{f"net_alone{name}": (net, one_batch) for name, net in nets.items()},
    }
    steps = 100 if full else 25
    rounds: dict[str, list[float]] = {name: [] for name in contest}
    for _ in range(3 if full else 2):
        for name, (net, batches) in contest.items():
            rounds[name].append(classic.fit_seconds_a_step(net, batches, steps))
    seconds = {name: float(np.median(values)) for name, values in rounds.items()}
    shares = {f"{name} share of classic": value / seconds["classic"] for name, value in seconds.items()}
    return {
        "precision": policy_of(recipe.precision),
        **{f"{name} seconds_a_step": value for name, value in seconds.items()},
        **shares,
        "ours share of net_alone": seconds["ours"] / seconds["net_alone"],
    }


if __name__ == "__main__":
    main()
