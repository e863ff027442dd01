"""A folder of unlabelled images to predictions.csv: digitlib, and one image at a time."""

from __future__ import annotations

from typing import Any

from benchmarks import classic
from benchmarks.common import comparison, timed
from digitlib import Classifier, build_model, get_recipe, prepare
from digitlib.files import write_table
from digitlib.pipeline.predict_folder import unlabelled_files


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Seconds an image from file to table, with the network of `fast`; how well it is trained makes no difference."""
    run = prepare(data, "runs/prediction", mode="none")
    folder, names = unlabelled_files(run)
    classifier = Classifier(build_model(get_recipe("fast", seed=seed), run.class_names), run.class_names)
    alone = classic.one_at_a_time([str(folder / name) for name in names[: 300 if full else 100]])
    with timed(f"{len(names):,} files to predictions.csv") as clock:
        table = classifier.predict([folder / name for name in names])
        write_table(run / "predictions.csv", table)
    return {
        "files": len(names),
        "one_at_a_time seconds_an_image": alone,
        "ours seconds": clock.seconds,
        "ours images_per_second": len(names) / clock.seconds,
        "times faster": alone * len(names) / clock.seconds,
    }


if __name__ == "__main__":
    main()
