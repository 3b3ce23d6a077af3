"""What an optimizer step is given, and the optimizer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import Batch


def inputs(batch: Batch, rate: float = 0.0, shards: int = 1) -> dict[str, Any]:
    """A batch and its step's learning rate as arrays; rows are filled up to a multiple of `shards`.

    Not its lengths: what pads a row on the right is seen by nobody. The rate comes from outside so that one compiled
    step serves every schedule.
    """
    rows = {"tokens": batch.tokens, "supervised": batch.supervised}
    if batch.segments is not None and batch.positions is not None:
        rows |= {"segments": batch.segments, "positions": batch.positions}
    more = -len(batch.tokens) % shards
    filled = {name: np.pad(array, ((0, more), (0, 0))) for name, array in rows.items()} if more else rows
    return {**filled, "weight": np.float32(batch.weight), "rate": np.float32(rate)}


class Clipping(NamedTuple):
    """State of the optimizer's first part: the norm of the newest step's gradient, before it was clipped."""

    norm: Array


class Scaling(NamedTuple):
    """State of the optimizer's last part: the learning rate, set before each step."""

    rate: Array


def optimizer(config: TrainingConfig) -> optax.GradientTransformation:
    """AdamW after clipping; decoupled decay (arXiv:1711.05101) of the matrices, the embedding among them."""
    return optax.chain(
        _clip(config.clip_norm),
        optax.scale_by_adam(config.beta1, config.beta2, config.epsilon),
        optax.add_decayed_weights(
            config.weight_decay, mask=lambda parameters: jax.tree.map(lambda x: x.ndim > 1, parameters)
        ),
        _scale(),
    )


def _clip(limit: float | None) -> optax.GradientTransformation:
    """Scale the whole gradient down to a global norm of at most `limit`."""

    def init(_: Any) -> Clipping:
        return Clipping(jnp.zeros((), jnp.float32))

    def update(gradient: Any, _: Clipping, parameters: Any = None) -> tuple[Any, Clipping]:
        del parameters
        norm = optax.tree.norm(gradient)
        if limit is not None:
            scale = limit / jnp.maximum(norm, limit)
            gradient = jax.tree.map(lambda x: x * scale, gradient)
        return gradient, Clipping(norm)

    return optax.GradientTransformation(init, update)


def _scale() -> optax.GradientTransformation:
    """Go down by the learning rate in the state."""

    def init(_: Any) -> Scaling:
        return Scaling(jnp.zeros((), jnp.float32))

    def update(gradient: Any, state: Scaling, parameters: Any = None) -> tuple[Any, Scaling]:
        del parameters
        return jax.tree.map(lambda x: -state.rate * x, gradient), state

    return optax.GradientTransformation(init, update)
