"""The example configs of `configs/`: in the wheel they lie inside the package, in a checkout at its top."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parents[1] / "configs")


def names() -> list[str]:
    """Every example, sorted: `cpu_smoke` is `configs/cpu_smoke.yaml`."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def read(name: str) -> str:
    """The text of an example, one of `names`."""
    return (_folder() / f"{name}.yaml").read_text(encoding="utf-8")


def _folder() -> Path:
    return next(folder for folder in _FOLDERS if folder.is_dir())
