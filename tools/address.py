"""Write the project's address, ``[project.urls]`` of pyproject.toml, wherever something starts from it.

``python tools/address.py`` writes the buttons (Colab, Kaggle, Binder) into README and the notebooks, and the lines with
which a notebook installs digitlib where it is missing. A copy of the project elsewhere needs only its address there.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from urllib.parse import quote

TOP = Path(__file__).parents[1]

BRANCH = "main"

START = 'from importlib.util import find_spec\n\nif not find_spec("digitlib"):'
"""How the lines begin that install what is missing."""

EXTRAS = {"10": "lessons,labels", "14": "lessons,export"}
"""What notebooks need besides ``lessons``."""


def address() -> str:
    """Return the project's address, as https://github.com/OWNER/NAME."""
    urls = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    return str(urls["Repository"]).removesuffix("/").removesuffix(".git")


def buttons(notebook: str = "01_data_preparation.ipynb") -> str:
    """Return the links that open a notebook without installing anything, as Markdown."""
    place, path = address().removeprefix("https://github.com/"), f"notebooks/{notebook}"
    links = {
        "Colab": f"https://colab.research.google.com/github/{place}/blob/{BRANCH}/{path}",
        "Kaggle": f"https://www.kaggle.com/kernels/welcome?src={address()}/blob/{BRANCH}/{path}",
        "Binder": f"https://mybinder.org/v2/gh/{place}/{BRANCH}?labpath={quote(path, safe='')}",
    }
    when = ", as soon as the project has a public address" if "OWNER" in place else ""
    return f"Start without installing{when}: " + " · ".join(f"[{name}]({link})" for name, link in links.items())


def needed() -> dict[str, list[str]]:
    """Return the numbers of the notebooks that each notebook needs, as notebooks/README.md has them."""
    text = (TOP / "notebooks/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[\d+ · [^]]+\]\((\d\d)_\w+\.ipynb\) \|[^|]+\| ([^|(]+)", text, re.MULTILINE)
    return {number: [one.zfill(2) for one in re.findall(r"\d+", needs)] for number, needs in rows}


def set_up(number: str) -> str:
    """Return the lines that install digitlib and do what the notebook needs, unless digitlib is there."""
    # No %pip and no !digitlib: deptry and others read notebooks as plain Python.
    install = f'install -q "digitlib[{EXTRAS.get(number, "lessons")}] @ git+{address()}@{BRANCH}"'
    lines = [
        f"{START}  # on Colab or Kaggle",
        f"    install = '{install}'",
        '    get_ipython().run_line_magic("pip", install)',
        *[
            f'    get_ipython().system("digitlib run --only {",".join(before)}")'
            for before in [needed()[number]]
            if before
        ],
    ]
    return "\n".join(lines) + "\n\n"


def write() -> None:
    """Write buttons and lines into README and the notebooks; outputs stay as they are."""
    line = re.compile(r"^Start without installing.*$", re.MULTILINE)
    readme = TOP / "README.md"
    text = line.sub(lambda _: buttons(), readme.read_text(encoding="utf-8"))
    readme.write_text(text, encoding="utf-8")
    for path in sorted((TOP / "notebooks").glob("[0-9]*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        title, imports = notebook["cells"][:2]
        said = line.sub("", "".join(title["source"])).rstrip() + f"\n\n{buttons(path.name)}"
        code = re.sub(rf"\A{re.escape(START)}.*?\n\n", "", "".join(imports["source"]), flags=re.DOTALL)
        code = set_up(path.name[:2]) + code
        title["source"], imports["source"] = (text.splitlines(keepends=True) for text in (said, code))
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
