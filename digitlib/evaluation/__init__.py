"""How good a network is, and which of its predictions to accept."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "metrics": [
            "accuracy_by_confidence",
            "classification_report",
            "confusion_matrix",
            "load_best_model",
            "mistaken_for",
            "most_confused",
            "predict_generator",
            "save_metrics",
            "top_losses",
            "training_accuracy",
        ],
        "statistics": [
            "choices_table",
            "choose_and_report",
            "mcnemar",
            "spread",
            "train_seeds",
            "wilson_interval",
        ],
        "calibration": [
            "apply_temperature",
            "calibration_table",
            "expected_calibration_error",
            "fit_temperature",
        ],
        "classifier": ["Classifier", "Evaluation"],
        "selective": ["SelectiveClassifier", "rejection_table", "risk_coverage", "threshold_for"],
        "out_of_distribution": ["OutlierDetector", "make_ood_images"],
        "explain": ["grad_cam", "occlusion"],
        "cross_validation": ["HeldOut", "cross_validate", "fold_spread", "held_out_probabilities"],
        "label_quality": [
            "find_label_issues",
            "inject_label_noise",
            "label_noise_scores",
            "label_recipe",
            "save_label_issues",
        ],
        "unattended": ["evaluate_run", "train_run"],
        "naming": ["dark_on_light", "name_pictures"],
    },
)
