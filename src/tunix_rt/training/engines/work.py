"""How long a training computes: its operations by formula over what the device was measured to do; no framework.

Axes: B rows, T tokens of a row, D width, V vocabulary.
"""

import math
import time
from collections.abc import Callable

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import model_folder
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.memory import Shape

# Of the speed of the MLP's product alone, what a whole step reaches, with all that is no product.
EFFICIENCY = 0.6
_PROBE_SECONDS = 0.15
_PROBE_TOKENS = 2048


def operations(config: TrainingConfig, d: Dimensions, shape: Shape) -> int:
    """Floating-point operations of a micro-batch, forward and back, all of its tokens supervised.

    Two for each weight of a product and token going forward, and as many again for each gradient that is taken: of
    what went in, and of the weight unless it is frozen. Attention sees half the row on average.
    """
    tokens = shape.rows * shape.width
    found = sum(
        math.prod(size)
        for name, size in model_folder.tensor_shapes(d).items()
        if len(size) > 1 and name.startswith("model.layers.")
    )
    scores = d.layers * d.heads * d.head_size * shape.width  # two products over half a row
    layers = 2 * found * (2 if config.method == "lora" else 3) + 2 * scores * 3
    if config.activation_checkpointing:
        layers += 2 * found + 2 * scores
    table = 2 * d.width * d.vocabulary * (2 if config.method == "lora" else 3)
    return tokens * (layers + table)


def probe_shape(d: Dimensions, shape: Shape) -> tuple[int, int, int]:
    """Rows, inner size and columns of the product that is timed: the MLP's of this model and batch."""
    return min(_PROBE_TOKENS, shape.rows * shape.width), d.width, d.hidden


def speed(product: Callable[[], None], size: tuple[int, int, int]) -> float:
    """Operations a second of a product, the best of many tries in 0.15 s: others at work on the machine slow some.

    Args:
        product: computes it and waits for it.
        size: see `probe_shape`.
    """
    product()  # whatever is compiled or allocated once
    until, best = time.perf_counter() + _PROBE_SECONDS, math.inf
    while time.perf_counter() < until:
        started = time.perf_counter()
        product()
        best = min(best, time.perf_counter() - started)
    return 2 * math.prod(size) / best
