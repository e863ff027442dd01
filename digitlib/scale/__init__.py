"""Many runs and many images, on several processes or machines.

Examples
--------
>>> from digitlib import scale
>>> space = scale.check_space({"recipe": "tiny", "seed": [1, 2, 3]})
>>> scale.run_sweep(space, "runs/seeds", workers=2)  # doctest: +SKIP
"""

from digitlib.errors import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    **{
        "bulk": ["predict_bulk"],
        "cluster": ["each", "workers"],
        "sweep": ["best_run", "check_space", "histories_of", "pareto_front", "read_space", "read_sweep", "run_sweep",
                  "summary", "varied_settings"],
    },
)  # fmt: skip
