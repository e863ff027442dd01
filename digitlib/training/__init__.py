"""Recipes, networks, image generators and what `fit` is given.

Examples
--------
>>> from digitlib import training
>>> recipe = training.get_recipe("fast", epochs=3, augmentation={"rotation_range": 10})
>>> training.train_run("runs/mine", recipe)  # doctest: +SKIP
"""

from digitlib.errors import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    **{
        "augmentation": ["Augmentation"],
        "generators": [
            "ImageBatches",
            "eval_generator",
            "generator_from_directory",
            "generator_from_split",
            "train_val_generators",
        ],
        "models": ["build_model", "classic_cnn", "small_cnn", "tiny_cnn", "wide_cnn"],
        "optimizers": ["make_loss", "make_optimizer"],
        "recipes": ["Recipe", "get_recipe", "load_recipe", "save_recipe"],
        "callbacks": ["callbacks_for"],
        "train": ["refit_run", "train_run"],
    },
)
