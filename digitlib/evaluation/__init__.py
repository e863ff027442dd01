"""How good a network is, and which of its predictions to accept.

Examples
--------
>>> from digitlib import evaluation
>>> [round(limit, 2) for limit in evaluation.wilson_interval(95, 100)]
[0.89, 0.98]
>>> evaluation.Classifier.load("runs/mine").evaluate("test").metrics["accuracy"]  # doctest: +SKIP
"""

from digitlib.errors import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    **{
        "classifier": ["Classifier", "Evaluation"],
        "metrics": [
            "classification_report",
            "confusion_matrix",
            "evaluate_run",
            "most_confused",
            "top_losses",
            "training_accuracy",
        ],
        "statistics": ["mcnemar", "spread", "wilson_interval"],
        "calibration": ["apply_temperature", "calibration_table", "expected_calibration_error", "fit_temperature"],
        "selective": ["SelectiveClassifier", "rejection_table", "risk_coverage", "threshold_for"],
        "out_of_distribution": ["OutlierDetector", "make_ood_images"],
        "explain": ["grad_cam", "occlusion"],
        "cross_validation": ["CrossValidation", "cross_validate"],
        "label_quality": ["find_label_issues", "inject_label_noise", "label_noise_scores"],
    },
)
