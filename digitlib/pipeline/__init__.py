"""Whole jobs: the series of notebooks, the report, a folder to a table of predictions.

Examples
--------
>>> from digitlib import pipeline
>>> pipeline.run_series("runs/mine", {"data": "my_images", "recipe": "fast"})  # doctest: +SKIP
"""

from digitlib.errors import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    **{
        "notebooks": ["copy_notebooks", "notebooks_folder", "run_series"],
        "report": ["results_table", "write_gallery", "write_report"],
        "tracking": ["check_tracker", "track"],
        "cleaning": ["ImageCleaner"],
        "predict_folder": ["predict_to_files", "unlabelled_images", "write_predictions"],
    },
)
