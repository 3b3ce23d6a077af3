"""Extras of the package: the libraries that each one installs, and the error where one is missing.

A base install has none of them. A command or a route that needs an extra calls `require` before it does anything else.
"""

import importlib.util
from collections.abc import Sequence

from tunix_rt.base.errors import MissingExtra

MODULES: dict[str, tuple[str, ...]] = {
    "tunix": ("tunix", "jax", "flax", "optax", "safetensors"),
    "torch": ("torch", "transformers", "peft", "safetensors"),
    "ray": ("ray",),
    "math": ("math_verify",),
    "reasoning-gym": ("reasoning_gym",),
    "postgres": ("psycopg",),
}
"""By extra, the modules of which our code, or a library that it calls, imports each one."""


def missing(extra: str, modules: Sequence[str] | None = None) -> list[str]:
    """List the modules of an extra, or those named of it, that are not installed; imports none of them."""
    return [name for name in modules or MODULES[extra] if importlib.util.find_spec(name) is None]


def hint(extra: str) -> str:
    """Name the command that installs an extra."""
    return f"Install it: pip install 'tunix-rt[{extra}]'"


def require(extra: str, user: str, modules: Sequence[str] | None = None) -> None:
    """Refuse to go on without an extra.

    Args:
        extra: a key of `MODULES`.
        user: what needs it, as the subject of the error's sentence: `The judge 'math'`.
        modules: those that are needed; default: all of the extra's.

    Raises:
        MissingExtra: a module is not installed.
    """
    absent = missing(extra, modules)
    if absent:
        names, verb = ", ".join(map(repr, absent)), "is" if len(absent) == 1 else "are"
        raise MissingExtra(f"{user} needs {names}, which {verb} not installed.", hint=hint(extra))
