"""The small parts of a decoder: rotary positions, norms, projections, the table of embeddings.

Axes: T tokens, h size of a head. Parameters are float32, without their arrays: `jax_folder.fill` brings those. Kernels
are (in, out), partitioned over the mesh axes `fsdp` and `tensor` where there is a mesh.
"""

import math
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from tunix_rt.training.engines.architecture import Dimensions

# Else a parameter with mesh axes could not be made where there is no mesh; Tunix sets it too.
flax.config.update("flax_always_shard_variable", False)


def frequencies(dimensions: Dimensions, *, local: bool = False) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Radians a position for each pair of a head's axes, (h / 2,); `local`: of the layers with a window.

    theta^(-2i/h) (arXiv:2104.09864), and for `rope_type: llama3` as transformers' `_compute_llama3_parameters`.
    """
    theta = dimensions.local_rope_theta if local else None
    exponents = np.arange(0, dimensions.head_size, 2, dtype=np.float32) / dimensions.head_size
    if theta is not None:
        return (1.0 / (np.float32(theta) ** exponents)).astype(np.float32)
    plain = 1.0 / (np.float32(dimensions.rope_theta) ** exponents) / np.float32(dimensions.rope_factor)
    scaling = dimensions.rope_scaling
    if scaling is None:
        return plain.astype(np.float32)
    turns = scaling.original_positions * plain / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return (kept * plain + (1 - kept) * plain / scaling.factor).astype(np.float32)


def turns(dimensions: Dimensions, positions: Any, numbers: Any = np) -> list[tuple[Any, Any]]:
    """Cosines and sines of the angles at positions, (..., h / 2), for every layer.

    By NumPy where the positions are known: XLA would work them out anew for every row and head that they turn, which
    took a tenth of a small model's step.
    """
    two = dimensions.local_rope_theta is not None
    made = []
    for local in (False, True) if two else (False,):
        angles = positions[..., None].astype(np.float32) * frequencies(dimensions, local=local)
        made.append((numbers.cos(angles), numbers.sin(angles)))
    return [made[two and dimensions.window_of(layer) is not None] for layer in range(dimensions.layers)]


def rotate(x: Array, cosines: Array, sines: Array) -> Array:
    """Turn pairs (i, i + h/2) of the last axis; cosines and sines broadcast to (..., h/2)."""
    cosines, sines = cosines.astype(x.dtype), sines.astype(x.dtype)
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cosines - second * sines, second * cosines + first * sines], axis=-1)


def _parameter(shape: tuple[int, ...], axes: tuple[str | None, ...] | None = None, kind: Any = nnx.Param) -> Any:
    """A parameter without its array; `jax_folder.fill` brings that."""
    return kind(jax.ShapeDtypeStruct(shape, jnp.float32), **({"out_sharding": axes} if axes else {}))


class Norm(nnx.Module):  # type: ignore[misc]  # flax is untyped
    """x / rms(x) * (offset + weight), in float32 (arXiv:1910.07467); the offset is 1 in Gemma, else 0."""

    def __init__(self, size: int, d: Dimensions) -> None:
        self.weight = _parameter((size,))
        self.epsilon, self.offset = d.norm_epsilon, 1.0 if d.gemma else 0.0

    def __call__(self, x: Array) -> Array:
        wide = x.astype(jnp.float32)
        scale = jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + self.epsilon)
        weight = self.weight[...] + self.offset if self.offset else self.weight[...]
        return (weight * (wide * scale)).astype(x.dtype)


class Linear(nnx.Module):  # type: ignore[misc]  # flax is untyped
    """x kernel + bias, in the type of x; once adapted, + scale x a b."""

    def __init__(self, inputs: int, outputs: int, axes: tuple[str, str], *, bias: bool = False) -> None:
        self.kernel = _parameter((inputs, outputs), axes)
        self.bias = _parameter((outputs,)) if bias else None
        self.scale: float | None = None
        self.axes = axes

    def adapt(self, rank: int, scale: float) -> None:
        """Add an update of low rank (arXiv:2106.09685), without its arrays."""
        inputs, outputs = self.kernel.shape
        self.lora_a = _parameter((inputs, rank), (self.axes[0], None), nnx.LoRAParam)
        self.lora_b = _parameter((rank, outputs), (None, self.axes[1]), nnx.LoRAParam)
        self.scale = scale

    def __call__(self, x: Array) -> Array:
        out = x @ self.kernel[...].astype(x.dtype)
        if self.scale is not None:
            out = out + x @ self.lora_a[...].astype(x.dtype) @ self.lora_b[...].astype(x.dtype) * self.scale
        return out if self.bias is None else out + self.bias[...].astype(x.dtype)


class Table(nnx.Module):  # type: ignore[misc]  # flax is untyped
    """Rows by token id."""

    def __init__(self, rows: int, width: int) -> None:
        self.weight = _parameter((rows, width), ("tensor", "fsdp"))

    def __call__(self, tokens: Array) -> Array:
        return _look_up(self.weight[...], tokens)


# A table's gradient is a scatter, which runs on one core of a CPU; up to this many entries a product is faster.
_SMALL_VOCABULARY = 1024


@jax.custom_vjp  # type: ignore[untyped-decorator]  # jax is untyped
def _look_up(table: Array, tokens: Array) -> Array:
    return jnp.take(table, tokens, axis=0)


def _look_up_forward(table: Array, tokens: Array) -> tuple[Array, tuple[Array, Array]]:
    return _look_up(table, tokens), (table, tokens)


def _look_up_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, None]:
    table, tokens = kept
    flat, ids = gradient.reshape(-1, gradient.shape[-1]).astype(table.dtype), tokens.reshape(-1)
    if len(table) <= _SMALL_VOCABULARY:
        return jax.nn.one_hot(ids, len(table), dtype=table.dtype, axis=0) @ flat, None
    return jnp.zeros_like(table).at[ids].add(flat), None


_look_up.defvjp(_look_up_forward, _look_up_backward)
