"""Classify folders of handwritten digits with a small CNN.

The names below are the whole public interface. They are imported when first
used, so that ``import digitlib`` costs next to nothing and TensorFlow is loaded
only by what trains or predicts.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "errors": ["DigitError"],
    "runs": ["Run", "open_run"],
    "samples": ["as_folder"],
    "sources": ["find_images", "list_images"],
    "split": ["assign_parts", "class_names_of", "prepare", "read_split"],
    "folders": ["undo"],
    "counts": ["class_counts", "part_counts", "repeated_images"],
    "affine": ["Augmentation"],
    "generators": ["ImageBatches", "generator_from_directory", "generator_from_split"],
    "recipes": ["Recipe", "get_recipe", "load_recipe", "recipes_in_turn", "save_recipe"],
    "models": [
        "build_model",
        "deep_cnn",
        "even_cnn",
        "layer_table",
        "seed_cnn",
        "small_cnn",
        "tiny_cnn",
        "upright_cnn",
        "wide_cnn",
    ],
    "history": ["best_epoch", "read_history"],
    "training": [
        "as_batches",
        "callbacks_for",
        "generators_for",
        "make_loss",
        "make_optimizer",
        "plain_generator",
    ],
    "evaluation": [
        "confusion_table",
        "load_best_model",
        "per_class_table",
        "predict_generator",
        "save_metrics",
        "training_accuracy",
        "worst_mistakes",
    ],
    "calibration": ["calibration_error", "calibration_table", "fit_temperature", "with_temperature"],
    "rejecting": ["coverage_table", "declined_table", "threshold_for"],
    "mistakes": ["accuracy_by_confidence", "confused_pairs", "mistaken_for"],
    "comparing": ["choose_and_report", "mcnemar", "spread", "wilson_interval"],
    "seeds": ["choices_table", "train_seeds"],
    "unknowns": ["make_unknowns"],
    "trust": ["Judge", "fit_trust", "load_trust", "open_judge", "save_trust"],
    "why": ["grad_cam", "occlusion"],
    "trust_plots": [
        "plot_accuracy_by_confidence",
        "plot_calibration",
        "plot_confusion_shares",
        "plot_coverage",
        "plot_pairs",
        "plot_per_class",
        "plot_reasons",
    ],
    "prediction": [
        "open_model",
        "predict_batches",
        "predict_files",
        "predict_to_files",
        "unlabelled_files",
    ],
    "bulk": ["predict_in_parts"],
    "inputs": ["find_inputs"],
    "cross_validation": ["cross_validate", "held_out_probabilities"],
    "held_out": ["HeldOut", "fold_spread"],
    "labels": [
        "find_label_issues",
        "found_of_planted",
        "label_recipe",
        "plant_wrong_labels",
        "save_label_issues",
    ],
    "duplicates": ["exact_duplicates", "near_duplicates"],
    "writing": ["write_predictions"],
    "gallery": ["LeastSure", "guess_titles", "write_gallery"],
    "image_plots": ["plot_guesses", "plot_mistakes"],
    "label_plots": ["plot_label_issues", "plot_twins"],
    "forms": ["mnist_form"],
    "reading": ["digit_pictures", "find_digits", "read_image", "read_photo", "text_lines"],
    "readings": ["draw_reading", "example_photos", "plot_readings", "save_drawn", "write_reading"],
    "plots": [
        "plot_augmented",
        "plot_confusion",
        "plot_counts",
        "plot_growth",
        "plot_history",
        "plot_images",
        "use_style",
    ],
    "shipped": ["copy_notebooks"],
    "showing": ["alt_text", "describe", "show"],
    "series": ["run_series"],
    "strokes": ["ink_of", "read_strokes", "stored_drawing"],
    "naming": ["dark_ink", "name_pictures"],
    "pad": ["DrawingPad"],
    "exporting": ["export_model"],
    "card": ["model_card"],
    "cluster": ["open_workers"],
    "sharing": ["share_split"],
    "unattended": ["evaluate_run", "train_run"],
    "sweep": ["run_sweep"],
    "sweep_space": ["check_space", "read_space"],
    "sweep_table": [
        "best_run",
        "frontier",
        "histories_of",
        "is_unfinished",
        "read_sweep",
        "recipe_code",
        "varied_settings",
    ],
    "sweep_plots": ["plot_frontier", "plot_histories", "plot_sweep"],
    "members": ["find_members", "gather_members", "rotated", "train_members"],
    "normalising": ["Normalised"],
    "joining": ["join_networks"],
    "ensembles": ["ensemble_lines", "make_ensemble"],
    "report": ["results_table", "write_report"],
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__version__ = "1.0.0"
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, for completion."""
    return [*__all__, "__version__"]
