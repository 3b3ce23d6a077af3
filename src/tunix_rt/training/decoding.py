"""How answers are drawn from a model, and the digest that names it on boards and in files of predictions."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import rfc8785


def digest(parameters: Mapping[str, Any]) -> str:
    """`sha256:` of the canonical JSON (RFC 8785) of decoding parameters.

    The seed does not count: it changes the draw, not the distribution that is drawn from. Neither do parameters that
    are None.
    """
    counted = {name: value for name, value in parameters.items() if name != "seed" and value is not None}
    return "sha256:" + hashlib.sha256(rfc8785.dumps(counted)).hexdigest()


@dataclass(frozen=True)
class Decoding:
    """How answers are drawn.

    Attributes:
        max_new_tokens: longest answer in tokens.
        temperature: 0 takes the likeliest token.
        seed: of the draws.
        samples: answers for each prompt; over 1 only with a temperature.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    samples: int = 1

    @property
    def parameters(self) -> dict[str, Any]:
        """What two sets of answers must share to be comparable: everything but the seed."""
        return {"temperature": self.temperature, "max_new_tokens": self.max_new_tokens, "samples": self.samples}

    @property
    def digest(self) -> str:
        """See `digest`."""
        return digest(self.parameters)
