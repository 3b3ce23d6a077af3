"""What one optimizer step computes: the loss, the schedule and the optimizer.

Axes: B rows, T tokens, D width, V vocabulary.
"""

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


def inputs(batch: Batch) -> dict[str, Any]:
    """A batch as the arguments of `loss`; not its lengths: what pads a row on the right is seen by nobody."""
    return {"tokens": batch.tokens, "supervised": batch.supervised, "weight": np.float32(batch.weight)}


def loss(model: Decoder, tokens: Array, supervised: Array, weight: Array) -> tuple[Array, Array]:
    """Cross entropy of supervised tokens, each predicted from those before it.

    Args:
        model: the decoder.
        tokens: int32 (B, T).
        supervised: bool (B, T); True where the token is a target. A row's first token has nothing before it.
        weight: what the sum is divided by.

    Returns:
        the sum over supervised tokens / weight, and the sum itself, in nats.
    """
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


def learning_rate(config: TrainingConfig, total_steps: int, step: Any, numbers: Any = np) -> Any:
    """Learning rate of a step.

    Step s of the warm-up's w has s / w of the peak. The steps after it go down from the peak so that one more would
    reach the final share; a warm-up longer than the training just ends early.

    Args:
        config: peak, warm-up, schedule and final share.
        total_steps: of the training.
        step: from 1; a number, or an array of `numbers`.
        numbers: numpy or jax.numpy.
    """
    warmup, peak, share = config.warmup_steps, config.learning_rate, config.final_learning_rate_share
    gone = numbers.clip((step - 1 - warmup) / max(1, total_steps - warmup), 0, 1)
    if config.schedule == "cosine":
        decayed = share + (1 - share) * (1 + numbers.cos(np.pi * gone)) / 2
    elif config.schedule == "linear":
        decayed = 1 - (1 - share) * gone
    else:
        decayed = numbers.ones_like(gone)
    return peak * numbers.where(step <= warmup, step / max(1, warmup), decayed)


class Measured(NamedTuple):
    """The optimizer's first state: the gradient's norm before clipping, of the newest step."""

    norm: Array


def optimizer(config: TrainingConfig, total_steps: int) -> optax.GradientTransformation:
    """AdamW after clipping; decoupled decay (arXiv:1711.05101) of the matrices, the embedding among them."""
    return optax.chain(
        _clip(config.clip_norm),
        optax.scale_by_adam(config.beta1, config.beta2, config.epsilon),
        optax.add_decayed_weights(
            config.weight_decay, mask=lambda parameters: jax.tree.map(lambda x: x.ndim > 1, parameters)
        ),
        optax.scale_by_learning_rate(lambda count: learning_rate(config, total_steps, count + 1, jnp)),
    )


def _clip(limit: float | None) -> optax.GradientTransformation:
    """Scale the whole gradient down to a global norm of at most `limit`, and keep the norm that it had."""

    def init(parameters: Any) -> Measured:
        del parameters
        return Measured(jnp.zeros((), jnp.float32))

    def update(gradient: Any, state: Measured, parameters: Any = None) -> tuple[Any, Measured]:
        del state, parameters
        norm = optax.global_norm(gradient)
        if limit is not None:
            scale = limit / jnp.maximum(norm, limit)
            gradient = jax.tree.map(lambda x: x * scale, gradient)
        return gradient, Measured(norm)

    return optax.GradientTransformation(init, update)
