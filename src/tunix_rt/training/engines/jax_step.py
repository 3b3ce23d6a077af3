"""What one optimizer step computes: the loss, the schedule and the optimizer.

Axes: B rows, T tokens, D width, V vocabulary.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import Batch
from tunix_rt.training.engines.jax_model import Decoder

# Logits are computed in pieces of at most this many bytes: with a large vocabulary they are the largest tensor.
LOGITS_BYTES = 256 * 2**20


def inputs(batch: Batch, rate: float = 0.0) -> dict[str, Any]:
    """A batch and its step's learning rate as arrays.

    Not its lengths: what pads a row on the right is seen by nobody. The rate comes from outside so that one compiled
    step serves every schedule.
    """
    return {
        "tokens": batch.tokens,
        "supervised": batch.supervised,
        "weight": np.float32(batch.weight),
        "rate": np.float32(rate),
    }


def loss(model: Decoder, tokens: Array, supervised: Array, weight: Array, rate: Array) -> tuple[Array, Array]:
    """Cross entropy of supervised tokens, each predicted from those before it.

    Args:
        model: the decoder.
        tokens: int32 (B, T).
        supervised: bool (B, T); True where the token is a target. A row's first token has nothing before it.
        weight: what the sum is divided by.
        rate: for the optimizer.

    Returns:
        the sum over supervised tokens / weight, and the sum itself, in nats.
    """
    del rate
    hidden = model.hidden(tokens)
    targets = jnp.roll(tokens, -1, axis=1)
    counted = jnp.roll(supervised, -1, axis=1).at[:, -1].set(False)
    rows, length = tokens.shape
    pieces = _pieces(length, rows * length * model.dimensions.vocabulary * 4)
    if pieces == 1:
        total = _summed(model, hidden, targets, counted)
    else:
        piece = jax.checkpoint(lambda args: _summed(model, *args))
        split = [
            jnp.swapaxes(x.reshape(rows, pieces, length // pieces, *x.shape[2:]), 0, 1)
            for x in (hidden, targets, counted)
        ]
        total = jnp.sum(jax.lax.map(piece, tuple(split)))
    return total / weight, total


def _summed(model: Decoder, hidden: Array, targets: Array, counted: Array) -> Array:
    logits = model.logits(hidden)
    likelihood = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    surprise = jax.nn.logsumexp(logits, axis=-1) - likelihood
    return jnp.sum(jnp.where(counted, surprise, 0.0))


def _pieces(length: int, size: int) -> int:
    """The smallest number of equal pieces of `length` of which each takes at most LOGITS_BYTES of `size`."""
    least = -(-size // LOGITS_BYTES)
    return next((n for n in range(least, length + 1) if length % n == 0), length)


def learning_rate(config: TrainingConfig, total_steps: int, step: int) -> float:
    """Learning rate of a step, from 1.

    Step s of the warm-up's w has s / w of the peak. The steps after it go down from the peak so that one more would
    reach the final share; a warm-up longer than the training just ends early.
    """
    warmup, peak, share = config.warmup_steps, config.learning_rate, config.final_learning_rate_share
    if step <= warmup:
        return peak * step / warmup
    gone = (step - 1 - warmup) / (total_steps - warmup)
    if config.schedule == "cosine":
        return peak * (share + (1 - share) * (1 + math.cos(math.pi * gone)) / 2)
    return peak * (1 - (1 - share) * gone) if config.schedule == "linear" else peak


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
