"""Whole jobs: the series of notebooks, the report, a folder to a table of predictions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "notebooks": ["copy_notebooks", "notebooks_folder", "run_series"],
        "report": ["results_table", "write_gallery", "write_report"],
        "cleaning": ["ImageCleaner"],
        "predict_folder": ["predict_to_files", "unlabelled_images", "write_predictions"],
    },
)
