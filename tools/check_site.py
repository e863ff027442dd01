"""Look for dead links in a built site, and for whatever a page would fetch from elsewhere.

``python tools/check_site.py build/site`` prints what is wrong, a line each, and exits with 1 if anything is. Links that
lead out of the site are checked by their form only: ``make docs-links`` asks whether they answer.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

FETCHES = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}
"""Elements that make a browser fetch something while it shows a page, and the attribute that says from where."""


def problems_of(site: Path) -> list[str]:
    """Return one line for each dead link, malformed address and outward resource.

    Parameters
    ----------
    site : pathlib.Path
        Folder of HTML pages.

    Returns
    -------
    list of str
        Empty if there is nothing to mend.
    """
    pages = {path.resolve(): BeautifulSoup(path.read_bytes(), "html.parser") for path in site.rglob("*.html")}
    anchors = {path: _anchors(page) for path, page in pages.items()}
    found = []
    for path, page in pages.items():
        for tag in page.find_all(True):
            for attribute in ("href", "src"):
                if isinstance(target := tag.get(attribute), str):
                    fetched = FETCHES.get(tag.name) == attribute and tag.get("rel") != ["canonical"]
                    if reason := _problem(path, target, fetched, anchors):
                        found.append(f"{path.relative_to(site.resolve())}: {target}: {reason}")
    for sheet in site.rglob("*.css"):
        outward = re.findall(r"(?:url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8"))
        found += [f"{sheet.relative_to(site)}: fetches from elsewhere" for _ in outward[:1]]
    return sorted(set(found))


def _anchors(page: BeautifulSoup) -> set[str]:
    """Return the places on a page that a link can lead to."""
    return {str(tag[name]) for tag in page.find_all(True) for name in ("id", "name") if tag.has_attr(name)}


def _problem(page: Path, target: str, fetched: bool, anchors: dict[Path, set[str]]) -> str:
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
    if parts.fragment and file in anchors and unquote(parts.fragment) not in anchors[file]:
        return "no such place on the page"
    return ""


def main() -> int:
    """Check the site named on the command line."""
    found = problems_of(Path(sys.argv[1]))
    print("\n".join(found) if found else "No dead link, and nothing is fetched from elsewhere.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
