"""The decoder of Llama, Qwen 2 and 3 and Gemma 2 and 3 in Flax NNX, by its dimensions.

Ours, since Tunix' own classes ignore `rope_theta` and start their MLPs at zero. Submodules bear the names of the
Hugging Face layout, so that a folder's tensor names are the parameters' paths (`jax_folder`).

Axes: B rows, T tokens, D width, K key and value heads, G query heads for each of them, h size of a head,
V vocabulary, S keys; `B K` and `B T` are one axis, the first outer. Parameters are float32; `compute` is the
type of activations. Kernels are (in, out), partitioned over the mesh axes `fsdp` and `tp` where there is a mesh.
"""

import math
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from tunix_rt.training.config import LoraChoice
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.jax_attention import attend, attend_causally

# Else a parameter with mesh axes could not be made where there is no mesh; Tunix sets it too.
flax.config.update("flax_always_shard_variable", False)


# Keys and values of past tokens, (B K, S, h) each, for every layer.
Cache = list[tuple[Array, Array]]


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
        self.weight = _parameter((rows, width), ("tp", "fsdp"))

    def __call__(self, tokens: Array) -> Array:
        return _look_up(self.weight[...], tokens)


class Attention(nnx.Module):  # type: ignore[misc]  # flax is untyped
    def __init__(self, d: Dimensions) -> None:
        size = d.head_size
        self.q_proj = Linear(d.width, d.heads * size, ("fsdp", "tp"), bias=d.qkv_bias)
        self.k_proj = Linear(d.width, d.kv_heads * size, ("fsdp", "tp"), bias=d.qkv_bias)
        self.v_proj = Linear(d.width, d.kv_heads * size, ("fsdp", "tp"), bias=d.qkv_bias)
        self.o_proj = Linear(d.heads * size, d.width, ("tp", "fsdp"))
        if d.qk_norm:
            self.q_norm, self.k_norm = Norm(size, d), Norm(size, d)
        self.dimensions = d
        # Attention divides by the root of a head's size.
        self.stretch = 1.0 if d.query_scalar is None else math.sqrt(size / d.query_scalar)

    def project(self, x: Array, cosines: Array, sines: Array) -> tuple[Array, Array, Array]:
        """Queries (B K, G, T, h), keys and values (B K, T, h) of flat tokens (B T, D), rotated."""
        d, length = self.dimensions, cosines.shape[-2]
        q, k, v = (
            layer(x).reshape(-1, length, layer.kernel.shape[1] // d.head_size, d.head_size)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        if d.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (jnp.swapaxes(part, 1, 2) for part in (q, k, v))  # (B, heads, T, h)
        q, k = rotate(q, cosines, sines), rotate(k, cosines, sines)
        if self.stretch != 1.0:
            q = q * self.stretch
        k, v = (part.reshape(-1, length, d.head_size) for part in (k, v))
        return q.reshape(len(k), -1, length, d.head_size), k, v

    def merge(self, mixed: Array) -> Array:
        """(B K, G, T, h) -> (B T, D)."""
        d, length = self.dimensions, mixed.shape[2]
        heads = jnp.swapaxes(mixed.reshape(-1, d.heads, length, d.head_size), 1, 2)
        return self.o_proj(heads.reshape(-1, d.heads * d.head_size))


class Mlp(nnx.Module):  # type: ignore[misc]  # flax is untyped
    def __init__(self, d: Dimensions) -> None:
        self.gate_proj = Linear(d.width, d.hidden, ("fsdp", "tp"))
        self.up_proj = Linear(d.width, d.hidden, ("fsdp", "tp"))
        self.down_proj = Linear(d.hidden, d.width, ("tp", "fsdp"))
        self.activation = jax.nn.gelu if d.gemma else jax.nn.silu  # gelu by tanh, as jax has it

    def __call__(self, x: Array) -> Array:
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class Layer(nnx.Module):  # type: ignore[misc]  # flax is untyped
    def __init__(self, d: Dimensions, window: int | None) -> None:
        self.input_layernorm = Norm(d.width, d)
        self.self_attn = Attention(d)
        self.post_attention_layernorm = Norm(d.width, d)
        self.mlp = Mlp(d)
        self.four_norms = d.gemma
        if d.gemma:
            self.pre_feedforward_layernorm, self.post_feedforward_layernorm = Norm(d.width, d), Norm(d.width, d)
        self.window, self.softcap = window, d.attention_softcap

    def after(self, x: Array, mixed: Array) -> Array:
        """What follows attention: the residual stream (B T, D), and what its heads mixed, (B K, G, T, h)."""
        attended = self.self_attn.merge(mixed)
        if not self.four_norms:
            x = x + attended
            return x + self.mlp(self.post_attention_layernorm(x))
        x = x + self.post_attention_layernorm(attended)
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))


class Decoder(nnx.Module):  # type: ignore[misc]  # flax is untyped
    """Token ids in, hidden states or logits out. Made without arrays; `jax_folder.fill` brings them."""

    def __init__(self, dimensions: Dimensions, compute: Any = jnp.float32) -> None:
        d = dimensions
        self.embed_tokens = Table(d.vocabulary, d.width)
        self.layers = nnx.List([Layer(d, d.window_of(index)) for index in range(d.layers)])
        self.norm = Norm(d.width, d)
        if not d.tied:
            self.lm_head = Linear(d.width, d.vocabulary, ("fsdp", "tp"))
        self.dimensions = d
        self.compute = compute
        self.trained: Any = nnx.Param

    def adapt(self, lora: LoraChoice) -> None:
        """Add an adapter, without its arrays; from here on it alone is `trained`."""
        for layer in self.layers:
            for part in (layer.self_attn, layer.mlp):
                for name in lora.targets:
                    if hasattr(part, name):
                        getattr(part, name).adapt(lora.rank, lora.alpha / lora.rank)
        self.trained = nnx.LoRAParam

    def _embed(self, tokens: Array) -> Array:
        x = self.embed_tokens(tokens).astype(self.compute)
        if self.dimensions.gemma:  # rounded to the computation's type, as Gemma was trained
            x = x * jnp.asarray(math.sqrt(self.dimensions.width), self.compute)
        return x

    def hidden(self, tokens: Array, segments: Array | None = None, positions: Array | None = None) -> Array:
        """(B, T) -> (B, T, D): every token sees itself and those before it, at positions 0..T-1.

        Rows are padded on the right, where nothing before the padding can see it: no mask by length is needed.
        Of packed rows, a token sees its own segment alone (both int32 (B, T)), at the positions given.
        """
        return self.prefill(tokens, segments, positions)[0]

    def prefill(
        self, tokens: Array, segments: Array | None = None, positions: Array | None = None
    ) -> tuple[Array, Cache]:
        """`hidden`, and the keys and values of all tokens."""
        if positions is None:
            angles = turns(self.dimensions, np.arange(tokens.shape[1]))
        else:
            angles = turns(self.dimensions, positions[:, None], jnp)  # (B, 1, T, h / 2)
        masks = {} if segments is None else self._masks(segments)
        # Tokens lie flat, (B T, D): XLA's products on a CPU take half the time for it.
        x = self._embed(tokens.reshape(-1))
        cache = []
        for layer, turned in zip(self.layers, angles, strict=True):
            q, k, v = layer.self_attn.project(layer.input_layernorm(x), *turned)
            if masks:
                mixed = attend(q, k, v, masks[layer.window], layer.softcap)
            else:
                mixed = attend_causally(q, k, v, window=layer.window, softcap=layer.softcap)
            x = layer.after(x, mixed)
            cache.append((k, v))
        return self.norm(x).reshape(*tokens.shape, -1), cache

    def _masks(self, segments: Array) -> dict[int | None, Array]:
        """Which keys of a packed row's own segment a query sees, bool (B K, 1, T, T), by the layers' windows."""
        places = np.arange(segments.shape[1])
        distance = places[:, None] - places[None]
        own = (segments[:, :, None] == segments[:, None]) & (distance >= 0)
        made = {}
        for window in {layer.window for layer in self.layers}:
            seen = own if window is None else own & (distance < window)
            made[window] = jnp.repeat(seen, self.dimensions.kv_heads, axis=0)[:, None]
        return made

    def decode(
        self, tokens: Array, positions: Array, slot: Array, seen: Array, places: Array, cache: Cache
    ) -> tuple[Array, Cache]:
        """One more token a row.

        Args:
            tokens: (B,).
            positions: (B,): of these tokens in their rows.
            slot: (): where their keys and values go in the cache, for all rows.
            seen: bool (B, S): keys that may be attended to, `slot` among them.
            places: (B, S): positions of the keys in their rows.
            cache: of S slots.

        Returns:
            hidden states (B, D), and the cache with the slot filled.
        """
        angles = turns(self.dimensions, positions[:, None, None], jnp)  # (B, 1, 1, h / 2)
        near = {layer.window: seen for layer in self.layers}
        for window in near:
            if window is not None:
                near[window] = seen & (places > (positions - window)[:, None])
            near[window] = jnp.repeat(near[window], self.dimensions.kv_heads, axis=0)[:, None, None]  # (B K, 1, 1, S)
        x = self._embed(tokens)
        filled = []
        for layer, turned, (keys, values) in zip(self.layers, angles, cache, strict=True):
            q, k, v = layer.self_attn.project(layer.input_layernorm(x), *turned)
            keys = jax.lax.dynamic_update_slice(keys, k, (0, slot, 0))
            values = jax.lax.dynamic_update_slice(values, v, (0, slot, 0))
            x = layer.after(x, attend(q, keys, values, near[layer.window], layer.softcap))
            filled.append((keys, values))
        return self.norm(x), filled

    def logits(self, hidden: Array) -> Array:
        """(..., D) -> float32 (..., V)."""
        kernel = self.embed_tokens.weight[...].T if self.dimensions.tied else self.lm_head.kernel[...]
        logits = (hidden @ kernel.astype(hidden.dtype)).astype(jnp.float32)
        cap = self.dimensions.final_softcap
        return logits if cap is None else cap * jnp.tanh(logits / cap)

    def __call__(self, tokens: Array) -> Array:
        """(B, T) -> float32 (B, T, V)."""
        return self.logits(self.hidden(tokens))


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
