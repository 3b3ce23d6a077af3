"""Write openapi.json, which the web app's types are generated from: `make openapi`."""

import json
from pathlib import Path

from tunix_rt.app import create_app
from tunix_rt.base.settings import Settings

FILE = Path(__file__).with_name("openapi.json")


def document() -> str:
    """The API's description as the file holds it."""
    return json.dumps(create_app(Settings()).openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
