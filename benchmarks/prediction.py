"""A folder of unlabelled images to predictions.csv: digitlib, and one image at a time."""

from __future__ import annotations

from typing import Any

from benchmarks import classic
from benchmarks.common import comparison, timed
from digitlib import Classifier, build_model, get_recipe, prepare
from digitlib.data.datasets import find_inputs
from digitlib.pipeline import predict_to_files, unlabelled_images


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Seconds an image from file to table, with the network of `fast`; how well it is trained makes no difference."""
    run = prepare(data, "runs/prediction", mode="none")
    source = unlabelled_images(run)
    folder, names = find_inputs(source)
    classifier = Classifier(build_model(get_recipe("fast", seed=seed), run.class_names), run.class_names)
    alone = classic.one_at_a_time([str(folder / name) for name in names[: 300 if full else 100]])
    with timed(f"{len(names):,} files to predictions.csv") as clock:
        predict_to_files(classifier, source, run / "predictions.csv")
    return {
        "files": len(names),
        "one_at_a_time seconds_an_image": alone,
        "ours seconds": clock.seconds,
        "ours images_per_second": len(names) / clock.seconds,
        "times faster": alone * len(names) / clock.seconds,
    }


if __name__ == "__main__":
    main()
