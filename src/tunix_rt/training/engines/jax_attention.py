"""Attention over rows of tokens, quick on a CPU and correct anywhere.

Axes: R rows times key and value heads, G query heads for each of them, T queries, S keys, h size of a head. Every
product is a batch of plain matrices: XLA's CPU products with more axes take twice the time.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Blocks of queries of a causal row: with n of them (n + 1) / 2n of the square is computed. More of them, or smaller
# ones, cost more than they save.
_MOST_BLOCKS = 4
_SMALLEST_BLOCK = 48
_NEVER = np.float32(-1e30)


def attend(q: Array, k: Array, v: Array, seen: Any, softcap: float | None = None) -> Array:
    """softmax(q k / sqrt(h)) v over the keys where `seen`.

    Args:
        q: (R, G, T, h).
        k: (R, S, h).
        v: (R, S, h).
        seen: bool, broadcasts to (R, G, T, S).
        softcap: c, where scores s become c tanh(s / c) (Gemma 2).

    Returns:
        (R, G, T, h).
    """
    scores = jnp.einsum("rgth,rsh->rgts", q * q.shape[-1] ** -0.5, k, preferred_element_type=jnp.float32)
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    weights = jax.nn.softmax(jnp.where(seen, scores, _NEVER), axis=-1).astype(v.dtype)
    return jnp.einsum("rgts,rsh->rgth", weights, v)


def attend_causally(q: Array, k: Array, v: Array, *, window: int | None = None, softcap: float | None = None) -> Array:
    """`attend` where a query sees the keys up to its own place, at most `window` of them; T = S.

    Blocks of queries leave out the keys that none of them sees.
    """
    heads, groups, length, size = q.shape
    if softcap is not None or (window is not None and window < length):
        places = np.arange(length)
        distance = places[:, None] - places[None]
        return attend(q, k, v, (distance >= 0) & (distance < (window or length)), softcap)
    blocks = max(1, min(_MOST_BLOCKS, length // _SMALLEST_BLOCK))
    ends = [round(length * (block + 1) / blocks) for block in range(blocks)]
    parts = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        seen = np.arange(end)[None] <= np.arange(start, end)[:, None]
        queries = q[:, :, start:end].reshape(heads, -1, size)
        mixed = _block(np.tile(seen, (groups, 1)), queries, k[:, :end], v[:, :end])
        parts.append(mixed.reshape(heads, groups, end - start, size))
    return jnp.concatenate(parts, axis=2)


def _block(seen: Any, q: Array, k: Array, v: Array) -> Array:
    """Queries (R, T, h) against keys (R, S, h) where `seen` (T, S).

    Differentiated by hand: keeping the weights unnormalised leaves out one pass over (T, S) going forward and two
    going back.
    """
    scale = q.shape[-1] ** -0.5

    def forward(q: Array, k: Array, v: Array) -> tuple[Array, tuple[Array, ...]]:
        scores = jnp.where(seen, _times_transposed(q * scale, k), _NEVER)
        weights = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
        total = jnp.sum(weights, axis=-1, keepdims=True)
        weights = weights.astype(v.dtype)
        mixed = _times(weights, v) / total
        return mixed.astype(q.dtype), (q, k, v, weights, total, mixed)

    def backward(kept: tuple[Array, ...], gradient: Array) -> tuple[Array, Array, Array]:
        q, k, v, weights, total, mixed = kept
        scaled = gradient / total
        inner = jnp.sum(scaled * mixed, axis=-1, keepdims=True)
        scaled = scaled.astype(v.dtype)
        to_scores = (weights * (_times_transposed(scaled, v) - inner)).astype(q.dtype)
        to_q, to_k = _times(to_scores, k) * scale, _transposed_times(to_scores, q) * scale
        return to_q.astype(q.dtype), to_k.astype(k.dtype), _transposed_times(weights, scaled).astype(v.dtype)

    @jax.custom_vjp  # type: ignore[untyped-decorator]  # jax is untyped
    def block(q: Array, k: Array, v: Array) -> Array:
        return forward(q, k, v)[0]

    block.defvjp(forward, backward)
    return block(q, k, v)


def _product(a: Array, b: Array, over_a: int, over_b: int) -> Array:
    axes = (((over_a,), (over_b,)), ((0,), (0,)))
    return jax.lax.dot_general(a, b, axes, preferred_element_type=jnp.float32)


def _times(a: Array, b: Array) -> Array:
    return _product(a, b, 2, 1)


def _times_transposed(a: Array, b: Array) -> Array:
    return _product(a, b, 2, 2)


def _transposed_times(a: Array, b: Array) -> Array:
    return _product(a, b, 1, 1)
