"""Look for dead links in a built site, and for whatever a page would fetch from elsewhere.

``python tools/check_site.py build/site`` prints what is wrong, a line each, and exits with 1 if anything is. Links that
lead out of the site are checked by their form only: ``make docs-links`` asks whether they answer.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHES = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}
"""Elements that make a browser fetch something while it shows a page, and the attribute that says from where."""


class Page(HTMLParser):
    """What one page holds.

    Attributes
    ----------
    anchors : set of str
        Places on it that a link can lead to.
    links : list of (str, bool)
        Each address, and whether the browser fetches it while it shows the page.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, bool]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an element's name and address."""
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if name in ("href", "src") and value is not None:
                self.links.append((value, FETCHES.get(tag) == name))


def problems_of(site: Path) -> list[str]:
    """Return one line for each dead link, malformed address and outward resource.

    Parameters
    ----------
    site : pathlib.Path
        Folder of HTML pages.

    Returns
    -------
    list of str
        Empty if nothing is wrong.
    """
    site = site.resolve()
    # What is below _static is the theme's own: among it a template that is not a page.
    files = [path for path in site.rglob("*.html") if "_static" not in path.relative_to(site).parts]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in files}
    found = [
        f"{path.relative_to(site)}: {target}: {reason}"
        for path, page in pages.items()
        for target, fetched in page.links
        if (reason := _problem(path, target, fetched, pages))
    ]
    for sheet in site.rglob("*.css"):
        if re.search(r"(?:url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")):
            found.append(f"{sheet.relative_to(site)}: fetches from elsewhere")
    return sorted(set(found))


def _problem(page: Path, target: str, fetched: bool, pages: dict[Path, Page]) -> str:
    """Say what is wrong with one link; empty if nothing is."""
    parts = urlsplit(target)
    if parts.scheme in ("http", "https") or target.startswith("//"):
        if fetched:
            return "fetched from elsewhere"
        return "" if re.fullmatch(r"[\w.-]+\.\w+(:\d+)?", parts.netloc) else "no address"
    if parts.scheme in ("data", "mailto"):
        return ""
    if parts.scheme:
        return f"a link by {parts.scheme}"
    file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not file.is_file():
        return "no such file"
    if parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].anchors:
        return "no such place on the page"
    return ""


def main() -> int:
    """Check the site given on the command line."""
    found = problems_of(Path(sys.argv[1]))
    print("\n".join(found) if found else "No dead link, and nothing is fetched from elsewhere.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
