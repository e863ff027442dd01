"""Many runs and many images, on several processes or machines."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bulk": ["predict_in_parts"],
        "cluster": ["open_workers"],
        "sweep": ["run_sweep"],
        "sweep_space": ["check_space", "read_space"],
        "sweep_table": [
            "best_run",
            "histories_of",
            "is_unfinished",
            "pareto_front",
            "read_sweep",
            "recipe_code",
            "varied_settings",
        ],
        "members": ["find_members", "gather_members", "train_members"],
        "ensemble": ["ensemble_lines", "make_ensemble"],
    },
)
