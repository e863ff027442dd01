"""Figures: functions of tables and arrays, each returning Axes or a Figure.

Examples
--------
>>> from digitlib import plots, read_history
>>> plots.show(plots.plot_history(read_history("runs/mine"), best=3))  # doctest: +SKIP
"""

from digitlib.errors import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    **{
        "style": ["BLUE", "GREEN", "GREY", "ORANGE", "RED", "alt_text", "describe", "drawable", "show", "use_style"],
        "data": ["plot_augmented", "plot_counts", "plot_images", "plot_label_issues"],
        "training": ["plot_history", "plot_sweep"],
        "evaluation": [
            "plot_confusion",
            "plot_explanations",
            "plot_per_class",
            "plot_predictions",
            "plot_reliability",
            "plot_top_losses",
        ],
    },
)
