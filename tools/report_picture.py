"""Make docs/report.png, README's picture, from the pictures that notebooks 5 and 6 keep."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

from PIL import Image

TOP = Path(__file__).parents[1]
WIDTH, GAP = 1100, 16


def kept(notebook: str, call: str) -> Image.Image:
    """Return the picture below the cell of a notebook that has `call` in it."""
    content = json.loads((TOP / "notebooks" / notebook).read_text(encoding="utf-8"))
    (cell,) = [cell for cell in content["cells"] if call in "".join(cell["source"])]
    (encoded,) = [one["data"]["image/png"] for one in cell["outputs"] if "image/png" in one.get("data", {})][:1]
    return Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")


def narrowed(picture: Image.Image, width: int) -> Image.Image:
    """Return a picture of a width."""
    return picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)


def main() -> None:
    """Put the history and the surest mistakes at the left, one above the other, and the confusion matrix beside them."""
    width = WIDTH * 29 // 50
    history = narrowed(kept("05_training_history.ipynb", "plot_history"), width)
    mistakes = narrowed(kept("06_evaluation.ipynb", "plot_top_losses"), width)
    confusion = narrowed(kept("06_evaluation.ipynb", "plot_confusion(confusion)"), WIDTH - GAP - width)
    below = history.height + GAP
    page = Image.new("RGB", (WIDTH, below + mistakes.height), "white")
    page.paste(history, (0, 0))
    page.paste(mistakes, (0, below))
    page.paste(confusion, (width + GAP, (page.height - confusion.height) // 2))
    page.quantize(256, Image.Quantize.FASTOCTREE).save(TOP / "docs/report.png", optimize=True)


if __name__ == "__main__":
    main()
