"""Digits on photos and on a drawing pad.

Examples
--------
>>> from digitlib import handwriting
>>> handwriting.read_photo("runs/mine", "photo.jpg")["label"].tolist()  # doctest: +SKIP
"""

from digitlib.errors import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    **{
        "mnist_format": ["to_mnist_format"],
        "reader": [
            "crop_digits",
            "draw_reading",
            "find_digits",
            "read_image",
            "read_photo",
            "read_photos",
            "text_lines",
            "write_reading",
        ],
        "drawing_pad": ["DrawingPad", "rasterize", "read_strokes", "stored_drawing"],
    },
)
