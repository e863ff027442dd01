"""Recipes, networks, image generators and what `fit` is given."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "augmentation": ["Augmentation"],
        "generators": ["ImageBatches", "generator_from_directory", "generator_from_split"],
        "models": [
            "build_model",
            "classic_cnn",
            "join_networks",
            "layer_table",
            "small_cnn",
            "tiny_cnn",
            "wide_cnn",
        ],
        "recipes": ["Recipe", "get_recipe", "load_recipe", "save_recipe"],
        "train": [
            "as_batches",
            "callbacks_for",
            "eval_generator",
            "make_loss",
            "make_optimizer",
            "train_val_generators",
        ],
    },
)
