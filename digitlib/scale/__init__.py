"""Many runs and many images, on several processes or machines."""

from digitlib.errors import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    **{
        "bulk": ["predict_bulk"],
        "cluster": ["each", "workers"],
        "ensemble": ["ensemble_lines", "find_members", "make_ensemble"],
        "sweep": ["best_run", "check_space", "histories_of", "pareto_front", "read_space", "read_sweep", "run_sweep",
                  "summary", "varied_settings"],
    },
)  # fmt: skip
