"""A folder of unlabelled images to predictions.csv: digitlib, and one image at a time."""

from __future__ import annotations

from typing import Any

import digitlib as d
from benchmarks import classic
from benchmarks.common import comparison, timed
from benchmarks.training import train


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Seconds an image from file to table, with a network of recipe `tiny` retrained as `fast`'s shape."""
    train(data, "tiny", seed)
    run = d.open_run(f"runs/tiny{seed}")
    recipe = d.get_recipe("fast")
    model = d.build_model(recipe, d.class_names_of(run))
    folder, names = d.unlabelled_files(run)
    some = [str(folder / name) for name in names[: 300 if full else 100]]
    alone = classic.one_at_a_time(classic.network(d.class_names_of(run)), some)
    with timed(f"{len(names):,} files to predictions.csv") as clock:
        tables = d.predict_files(model, recipe, d.class_names_of(run), folder, names)
        d.write_predictions(run / "predictions.csv", tables)
    rows = sum(1 for _ in (run / "predictions.csv").open()) - 1
    assert rows == len(names)
    return {
        "files": len(names),
        "one_at_a_time images": len(some),
        "one_at_a_time seconds_an_image": alone,
        "ours seconds": clock.seconds,
        "ours images_per_second": len(names) / clock.seconds,
        "times faster": alone * len(names) / clock.seconds,
    }


if __name__ == "__main__":
    main()
