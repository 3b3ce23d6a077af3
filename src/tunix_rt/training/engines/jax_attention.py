"""Attention over rows of tokens, quick on a CPU and correct anywhere.

Axes: B rows, K key and value heads, G query heads for each of them, T queries, S keys, h size of a head.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Blocks of queries of a causal row: with n of them (n + 1) / 2n of the square is computed; more of them are
# slower than what they save.
_MOST_BLOCKS = 4
_SMALLEST_BLOCK = 48
_NEVER = np.float32(-1e30)


def attend(q: Array, k: Array, v: Array, seen: Array) -> Array:
    """softmax(q k / sqrt(h)) v over the keys where `seen`.

    Args:
        q: (B, K, G, T, h).
        k: (B, K, S, h).
        v: (B, K, S, h).
        seen: bool, broadcasts to (B, K, G, T, S).

    Returns:
        (B, K, G, T, h).
    """
    scores = jnp.einsum("bkgth,bksh->bkgts", q * q.shape[-1] ** -0.5, k, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(jnp.where(seen, scores, _NEVER), axis=-1).astype(v.dtype)
    return jnp.einsum("bkgts,bksh->bkgth", weights, v)


def attend_causally(q: Array, k: Array, v: Array) -> Array:
    """`attend` where a query sees the keys up to its own place; T = S.

    Blocks of queries leave out the keys that none of them sees.
    """
    length = q.shape[3]
    blocks = max(1, min(_MOST_BLOCKS, length // _SMALLEST_BLOCK))
    ends = [round(length * (block + 1) / blocks) for block in range(blocks)]
    parts = [
        _block(q[:, :, :, start:end], k[:, :, :end], v[:, :, :end])
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]
    return jnp.concatenate(parts, axis=3)


@jax.custom_vjp  # type: ignore[untyped-decorator]  # jax is untyped
def _block(q: Array, k: Array, v: Array) -> Array:
    """The last T of S queries against all S keys."""
    return _block_forward(q, k, v)[0]


def _block_forward(q: Array, k: Array, v: Array) -> tuple[Array, tuple[Array, ...]]:
    # By hand since the product of the unnormalised weights needs one pass over (T, S) less, and the backward pass
    # two: the step took 150 ms with autodiff and 100 ms so, on two cores.
    queries, keys = q.shape[3], k.shape[2]
    seen = np.arange(keys)[None] <= np.arange(keys - queries, keys)[:, None]
    scores = jnp.einsum("bkgth,bksh->bkgts", q * q.shape[-1] ** -0.5, k, preferred_element_type=jnp.float32)
    scores = jnp.where(seen, scores, _NEVER)
    weights = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    total = jnp.sum(weights, axis=-1, keepdims=True)
    weights = weights.astype(v.dtype)
    mixed = jnp.einsum("bkgts,bksh->bkgth", weights, v, preferred_element_type=jnp.float32) / total
    return mixed.astype(q.dtype), (q, k, v, weights, total, mixed)


def _block_backward(kept: tuple[Array, ...], gradient: Array) -> tuple[Array, Array, Array]:
    q, k, v, weights, total, mixed = kept
    scaled = gradient.astype(jnp.float32) / total
    inner = jnp.sum(scaled * mixed, axis=-1, keepdims=True)
    scaled = scaled.astype(v.dtype)
    to_v = jnp.einsum("bkgts,bkgth->bksh", weights, scaled)
    to_weights = jnp.einsum("bkgth,bksh->bkgts", scaled, v, preferred_element_type=jnp.float32)
    to_scores = (weights * (to_weights - inner)).astype(q.dtype)
    scale = q.shape[-1] ** -0.5
    to_q = jnp.einsum("bkgts,bksh->bkgth", to_scores, k) * scale
    to_k = jnp.einsum("bkgts,bkgth->bksh", to_scores, q) * scale
    return to_q, to_k, to_v


_block.defvjp(_block_forward, _block_backward)
