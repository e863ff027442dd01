"""Make docs/pad.png, README's image: the page that `digitlib export` writes, with a digit drawn on its pad.

``python tools/pad_image.py RUN`` needs a trained run, and Chromium with chromedriver on the PATH.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageOps

TOP = Path(__file__).parents[1]
sys.path.insert(0, str(TOP / "tests"))

from browsing import browser, prediction, wait_for, write  # noqa: E402

from digitlib import Classifier  # noqa: E402
from digitlib.handwriting import stored_drawing  # noqa: E402

STYLE, DIGIT = "continental", "7"
WIDTH, MARGIN = 540, 10


def main() -> None:
    """Draw a digit with the mouse, as a person would, and keep what the browser shows."""
    with tempfile.TemporaryDirectory() as folder:
        page = Classifier.load(sys.argv[1]).export("html", folder)
        with browser(Path(folder) / "profile", width=700, height=800) as driver:
            metrics = {"width": 700, "height": 800, "deviceScaleFactor": 2, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            driver.get(page.as_uri())
            write(driver, stored_drawing(STYLE, DIGIT))
            wait_for(lambda: prediction(driver) == DIGIT, 30)
            time.sleep(1)  # bars grow to their length
            shot = driver.find_element("id", "pad").screenshot_as_png
    shown = Image.open(io.BytesIO(shot)).convert("RGB")
    shown = shown.resize((WIDTH, round(shown.height * WIDTH / shown.width)), Image.Resampling.LANCZOS)
    image = ImageOps.expand(shown, MARGIN, "white")
    image.quantize(64).save(TOP / "docs/pad.png", optimize=True)
    print(f"docs/pad.png: {image.width} × {image.height}")


if __name__ == "__main__":
    main()
