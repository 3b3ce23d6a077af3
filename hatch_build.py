"""Puts into the wheel what lies outside the package: the example configs, and the web app.

The web app is built where its sources are; else it is taken as it lies in the source package.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PackageHook(BuildHookInterface):  # type: ignore[misc]  # hatchling is there only while a package is built
    """Adds `configs/` to a wheel, and runs `npm ci && npm run build` before; an editable installation needs neither."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling."""
        if version == "editable":
            return
        top = Path(self.root)
        if self.target_name == "wheel":
            build_data["force_include"][str(top / "configs")] = "tunix_rt/configs"
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
