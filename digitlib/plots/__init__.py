"""Figures: functions of tables and arrays, each returning Axes or a Figure."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "style": ["alt_text", "describe", "show"],
        "data": [
            "plot_augmented",
            "plot_confusion",
            "plot_counts",
            "plot_growth",
            "plot_history",
            "plot_images",
            "plot_label_issues",
            "plot_predictions",
            "plot_top_losses",
            "plot_twins",
            "use_style",
        ],
        "training": ["plot_histories", "plot_pareto", "plot_sweep"],
        "evaluation": [
            "plot_accuracy_by_confidence",
            "plot_confusion_shares",
            "plot_most_confused",
            "plot_per_class",
            "plot_reasons",
            "plot_reliability",
            "plot_risk_coverage",
        ],
    },
)
