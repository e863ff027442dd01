"""Five networks joined to one: what is gained over the best of them, on the test images."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.common import comparison
from digitlib.scale import make_ensemble


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Accuracy of five members of `accurate` (`tiny` in the quick form) and of the network that they are joined to.

    Members in the folders $RUNS, with spaces between, are only read; else they are trained on two workers.
    """
    runs = os.environ.get("RUNS", "").split()
    train = {} if runs else {"train": 5, "recipe": "accurate" if full else "tiny", "data": data, "workers": 2}
    return make_ensemble(runs, "runs/ensemble", **train)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
