"""How the site is made: ``make docs`` builds it into ``build/site``.

The source folder is the project's top, so that pages stand where GitHub shows them and a link between them is the
same in both places. Nothing is fetched while building, and no page needs a network.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from myst_nb.core.render import MimeData, NbElementRenderer
from sphinx.application import Sphinx

import digitlib

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from api_pages import write_api_pages  # noqa: E402

project = "digitlib"
author = "The digitlib authors"
project_copyright = f"2026, {author}"
version = release = digitlib.__version__

extensions = [
    "myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.viewcode", "sphinx_copybutton",
]  # fmt: skip
root_doc = "README"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/tasks/*.md",
    "docs/site/*.md",
    "docs/site/api/*.rst",
    "notebooks/*.ipynb",
    "notebooks/README.md",
    "benchmarks/results/README.md",
]
exclude_patterns = [".*", "build", "cache", "data", "dist", "runs"]

# Notebooks are shown as they were executed and committed. Their progress bars and the drawing pad would need a kernel
# or code from a CDN: the text or image that is kept with them is shown instead.
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
suppress_warnings = ["mystnb.unknown_mime_type"]
myst_heading_anchors = 3

# A name in single backticks leads to its entry if it has one; else it is just code.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [("py:(obj|class|exc)", ".*")]
html_search_scorer = str(Path(__file__).parent / "scorer.js")
autodoc_typehints_format = "short"
maximum_signature_line_length = 100  # a longer one has a line for each parameter
python_use_unqualified_type_names = True
autosummary_generate = False
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = "digitlib"
html_additional_pages = {"index": "index.html"}
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
copybutton_exclude = ".linenos, .gp, .go"

CONTENTS = {
    "README": [
        "Start <self>",
        "Notebooks <notebooks/README>",
        "Guides <docs/site/guides>",
        "API <docs/site/api/index>",
        "Changes <CHANGELOG>",
    ],
    "docs/library": re.findall(r"\((tasks/\w+)\.md\)", (TOP / "docs/library.md").read_text(encoding="utf-8")),
    "notebooks/README": sorted(path.stem for path in (TOP / "notebooks").glob("[0-9]*.ipynb")),
}
"""What stands below a page that GitHub shows too and that can't hold a list of contents of Sphinx's."""


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Append a page's list of contents, which makes the menus."""
    if page in CONTENTS:
        source[0] += "\n".join(["\n\n```{toctree}", ":hidden:", "", *CONTENTS[page], "```\n"])


def render_with_alt(self: NbElementRenderer, data: MimeData) -> list:
    """Return the nodes of an image with the alt text of its output, which MyST-NB 1.4 leaves out."""
    images = render_image(self, data)
    for image in images:
        image.attributes.setdefault("alt", data.output_metadata.get(data.mime_type, {}).get("alt", ""))
    return images


render_image, NbElementRenderer.render_image = NbElementRenderer.render_image, render_with_alt


def setup(app: Sphinx) -> None:
    """Write the pages of the API before Sphinx looks which pages there are."""
    write_api_pages(Path(__file__).parent / "api")
    app.connect("source-read", add_contents)
