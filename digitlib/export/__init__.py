"""A trained network in other formats, and its model card.

Examples
--------
>>> from digitlib import Classifier, export
>>> list(export.FORMATS)
['onnx', 'litert', 'html']
>>> Classifier.load("runs/mine").export("onnx")  # doctest: +SKIP
"""

from digitlib.errors import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    **{
        "formats": ["FORMATS", "check_formats", "export_network", "run_exported"],
        "model_card": ["card_text", "page_facts"],
        "web_page": ["write_page"],
    },
)
