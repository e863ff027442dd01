"""Every example in docs/library.md is run here, from top to bottom, on small data and with few epochs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

TOP = Path(__file__).parents[1]
GUIDE = (TOP / "docs/library.md").read_text(encoding="utf-8")


def sections() -> dict[str, list[str]]:
    """Return the Python blocks of each section, by its heading."""
    parts = re.split(r"^## (.+)$", GUIDE, flags=re.MULTILINE)[1:]
    found = dict(zip(parts[::2], parts[1::2], strict=True))
    return {name: re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL) for name, text in found.items()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_example_runs(digits: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (digits / "trainingSet").rename(root / "my_images")
    (digits / "testSet").rename(root / "to_predict")
    shutil.copy(TOP / "notebooks/photos/board.jpg", root / "photo.jpg")
    monkeypatch.setattr(plt, "show", lambda: None)
    names: dict[str, object] = {"__name__": "guide"}
    for heading, blocks in sections().items():
        for block in blocks:
            code = block.replace('recipe: str = "fast"', 'recipe: str = "tiny"')
            try:
                exec(compile(code, heading, "exec"), names)
            except Exception as error:
                raise AssertionError(f"{heading}: {error!r}\n{block}") from error
    for made in ("runs/mine/metrics.json", "runs/fit/history.csv", "runs/mlp/best_model.keras"):
        assert (root / made).stat().st_size > 0, made
    assert names["accepted"]["accepted"].all()
    assert set(names["errors"]["correct"]) <= {False}
    assert len(names["predicted"]) == 400
    assert len(names["weights"]) == len(names["pixels"])
    assert names["digits"].shape[1:] == (28, 28)
