"""A trained network in other formats, and its model card."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "formats": ["export_model"],
        "model_card": ["model_card"],
    },
)
