"""Classify folders of handwritten digits with a small CNN.

What most people need stands here; everything else is reached through its chapter, as in
``from digitlib import plots`` and ``plots.plot_reliability``. Names are imported when they are
first used, so that ``import digitlib`` costs next to nothing and does not load TensorFlow.
"""

import warnings
from importlib import import_module
from typing import Any

from digitlib.errors import needs

__version__ = "2.0.0"

CHAPTERS = ("data", "training", "evaluation", "plots", "handwriting", "export", "scale", "pipeline")

_HOME = {
    "errors": "DigitError",
    "run": "Run open_run read_history",
    "data": "as_folder class_counts find_images prepare read_split undo",
    "training": "Augmentation ImageBatches Recipe build_model callbacks_for eval_generator generator_from_directory get_recipe "
    "load_recipe make_loss make_optimizer save_recipe train_run train_val_generators",
    "evaluation": "Classifier cross_validate evaluate_run find_label_issues wilson_interval",
    "handwriting": "DrawingPad read_photo",
    "export": "export_network",
    "scale": "run_sweep",
    "pipeline": "ImageCleaner copy_notebooks predict_to_files run_series write_report",
}
_CHAPTER_OF = {name: chapter for chapter, names in _HOME.items() for name in names.split()}

_RENAMED = dict(
    pair.split("=")
    for pair in """
        calibration_error=expected_calibration_error confused_pairs=most_confused
        confusion_table=confusion_matrix coverage_table=risk_coverage dark_ink=dark_on_light
        declined_table=rejection_table digit_pictures=crop_digits found_of_planted=label_noise_scores
        frontier=pareto_front generators_for=train_val_generators ink_of=rasterize make_unknowns=make_ood_images
        mnist_form=to_mnist_format part_counts=split_counts per_class_table=classification_report
        plain_generator=eval_generator plant_wrong_labels=inject_label_noise plot_calibration=plot_reliability
        seed_cnn=classic_cnn with_temperature=apply_temperature worst_mistakes=top_losses
    """.split()
)
"""Names of version 1 that only changed, and what they are called now; they go with version 3."""

__all__ = sorted(_CHAPTER_OF)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name in _CHAPTER_OF:
        with needs(f"digitlib.{name}"):
            value = globals()[name] = getattr(import_module(f"{__name__}.{_CHAPTER_OF[name]}"), name)
        return value
    if name in CHAPTERS:
        return import_module(f"{__name__}.{name}")
    new = _RENAMED.get(name, name)
    for chapter in CHAPTERS if not name.startswith("_") else ():
        module = import_module(f"{__name__}.{chapter}")
        if new in module.__all__:
            warnings.warn(
                f"digitlib.{name} is now digitlib.{chapter}.{new}; the old name goes with version 3.",
                DeprecationWarning,
                stacklevel=2,
            )
            return getattr(module, new)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names and the chapters, for completion."""
    return [*__all__, *CHAPTERS, "__version__"]
