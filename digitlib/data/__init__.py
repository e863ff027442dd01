"""Where images come from, and which set they are in; needs no Keras.

Examples
--------
>>> from digitlib import data
>>> run = data.prepare("my_images", "runs/mine")  # doctest: +SKIP
>>> data.read_split(run)["part"].value_counts()  # doctest: +SKIP
"""

from digitlib.errors import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    **{
        "datasets": ["as_folder", "find_inputs"],
        "sources": ["Source", "find_images", "list_images"],
        "split": ["assign_parts", "dark_on_light", "prepare", "read_split", "share_split", "stratified_folds"],
        "folders": ["undo"],
        "class_counts": ["class_counts", "split_counts"],
        "duplicates": ["near_duplicates"],
        "image_quality": ["image_issues"],
        "corrections": ["read_corrections"],
        "decoding": ["read_files"],
    },
)
