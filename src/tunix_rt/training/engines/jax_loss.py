"""The loss, and how it is computed in pieces that fit where it runs.

Axes: B rows, T tokens, D width, V vocabulary.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from tunix_rt.training.engines import jax_devices
from tunix_rt.training.engines.jax_model import Decoder

# Logits are computed in pieces of at most this many bytes: with a large vocabulary they are the largest tensor.
LOGITS_BYTES = 256 * 2**20
# On a CPU, the rows whose largest activations fit into a core's cache (2 MiB, half for what they are computed from)
# go through the whole model and back before the next ones: a sixth less time for the default config's step.
ACTIVATION_BYTES = 5 * 2**18


def loss(
    model: Decoder,
    tokens: Array,
    supervised: Array,
    weight: Array,
    rate: Array,
    segments: Array | None = None,
    positions: Array | None = None,
) -> tuple[Array, Array]:
    """Cross entropy of supervised tokens, each predicted from those before it.

    Args:
        model: the decoder.
        tokens: int32 (B, T).
        supervised: bool (B, T); True where the token is a target. The first token of a row, or of a packed row's
            segment, has nothing before it.
        weight: what the sum is divided by.
        rate: for the optimizer.
        segments: int32 (B, T) of packed rows; a token sees its own segment alone. None: a row is one segment.
        positions: int32 (B, T) within the segment.

    Returns:
        the sum over supervised tokens / weight, and the sum itself, in nats.
    """
    del rate
    rows, length = tokens.shape
    pieces = 1
    if jax_devices.is_one_cpu():
        pieces = _divisor(rows, -(-rows * length * model.dimensions.hidden * 4 // ACTIVATION_BYTES))
    packed = () if segments is None or positions is None else (segments, positions)
    inputs = (tokens, supervised, *packed)
    total = _total(model, *inputs) if pieces == 1 else _by_rows(model, inputs, pieces)
    return total / weight, total


def _total(model: Decoder, tokens: Array, supervised: Array, *packed: Array) -> Array:
    hidden = model.hidden(tokens, *packed)
    targets = jnp.roll(tokens, -1, axis=1)
    counted = jnp.roll(supervised, -1, axis=1).at[:, -1].set(False)
    if packed:
        counted &= packed[0] == jnp.roll(packed[0], -1, axis=1)
    rows, length = tokens.shape
    pieces = _divisor(length, -(-rows * length * model.dimensions.vocabulary * 4 // LOGITS_BYTES))
    if pieces == 1:
        return _surprise(model, hidden, targets, counted)
    cut = (
        jnp.swapaxes(x.reshape(rows, pieces, length // pieces, *x.shape[2:]), 0, 1) for x in (hidden, targets, counted)
    )
    return jnp.sum(jax.lax.map(jax.checkpoint(lambda piece: _surprise(model, *piece)), tuple(cut)))


def _surprise(model: Decoder, hidden: Array, targets: Array, counted: Array) -> Array:
    logits = model.logits(hidden)
    likelihood = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jnp.sum(jnp.where(counted, jax.nn.logsumexp(logits, axis=-1) - likelihood, 0.0))


def _by_rows(model: Decoder, inputs: tuple[Array, ...], pieces: int) -> Array:
    """`_total`, a piece of the rows at a time; each piece's gradient is taken at once, and they are summed."""
    definition, state, frozen = nnx.split(model, model.trained, ...)

    def of(state: Any, frozen: Any, piece: tuple[Array, ...]) -> Array:
        return _total(nnx.merge(definition, state, frozen), *piece)

    def forward(state: Any, frozen: Any, cut: tuple[Array, ...]) -> tuple[Array, Any]:
        def add(sums: Any, piece: tuple[Array, ...]) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, sums, jax.value_and_grad(of)(state, frozen, piece)), None

        zeros = (jnp.zeros((), jnp.float32), jax.tree.map(jnp.zeros_like, state))
        sums: tuple[Array, Any] = jax.lax.scan(add, zeros, cut)[0]
        return sums

    @jax.custom_vjp  # type: ignore[untyped-decorator]  # jax is untyped
    def total(state: Any, frozen: Any, cut: tuple[Array, ...]) -> Array:
        return jnp.sum(jax.lax.map(lambda piece: of(state, frozen, piece), cut))

    total.defvjp(forward, lambda sums, scale: (jax.tree.map(lambda x: x * scale, sums), None, None))
    return total(state, frozen, tuple(x.reshape(pieces, -1, x.shape[1]) for x in inputs))


def _divisor(size: int, least: int) -> int:
    """The smallest divisor of `size` that is at least `least`, and at most `size`."""
    return next((n for n in range(max(1, least), size + 1) if size % n == 0), size)
