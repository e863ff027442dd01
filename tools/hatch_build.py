"""Put the notebooks into the wheel, as ``digitlib/notebooks``, so that the series runs wherever it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NotebooksHook(BuildHookInterface):
    """Adds the notebooks and their photos by name: the whole folder could bring checkpoints of JupyterLab with it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to add; an installation for development finds them where they are."""
        if version == "editable":
            return
        top = Path(self.root)
        for pattern in ("[0-9][0-9]_*.ipynb", "photos/*", "solutions/[0-9][0-9]_*.ipynb"):
            for path in (top / "notebooks").glob(pattern):
                build_data["force_include"][str(path)] = f"digitlib/{path.relative_to(top).as_posix()}"
