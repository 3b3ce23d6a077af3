"""Puts the web app into the wheel: built here where its sources are, else as it lies in the source package."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WebHook(BuildHookInterface):  # type: ignore[misc]  # hatchling is there only while a package is built
    """Runs `npm ci && npm run build` before a package is made; an editable installation leaves it out."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # the hook's signature
        """See hatchling."""
        if version == "editable":
            return
        top = Path(self.root)
        sources, built = top / "web" / "package.json", top / "src" / "tunix_rt" / "web" / "dist" / "index.html"
        npm = shutil.which("npm")
        if sources.exists() and npm:
            for command in ([npm, "ci"], [npm, "run", "build"]):
                subprocess.run(command, cwd=sources.parent, check=True)
        elif not built.exists():
            raise SystemExit(
                "The web app is not built, and there is no npm to build it: install Node.js 20 with npm, or copy "
                f"a built app to {built.parent}."
            )
