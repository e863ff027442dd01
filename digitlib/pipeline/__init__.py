"""Whole jobs: the series of notebooks, the report, a folder to a table of predictions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "notebooks": ["copy_notebooks", "run_series"],
        "report": ["results_table", "write_report"],
        "gallery": ["LeastSure", "guess_titles", "write_gallery"],
        "predict_folder": [
            "open_model",
            "predict_batches",
            "predict_files",
            "predict_to_files",
            "unlabelled_files",
            "write_predictions",
        ],
    },
)
