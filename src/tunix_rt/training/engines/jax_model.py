"""The decoder of Llama, Qwen 2 and 3 and Gemma 2 and 3 in Flax NNX, by its dimensions.

Ours, since Tunix' own classes ignore `rope_theta` and start their MLPs at zero. Submodules bear the names of the
Hugging Face layout, so that a folder's tensor names are the parameters' paths (`jax_folder`).

Axes: B rows, T tokens, D width, K key and value heads, G query heads for each of them, h size of a head,
V vocabulary, S keys; `B K` and `B T` are one axis, the first outer. Parameters are float32; `compute` is the
type of activations.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from tunix_rt.training.config import LoraChoice, TrainingConfig
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.jax_attention import attend, attend_causally
from tunix_rt.training.engines.jax_parts import Linear, Norm, Table, rotate, turns

# Keys and values of past tokens, (B K, S, h) each, for every layer.
Cache = list[tuple[Array, Array]]


def decoder(config: TrainingConfig, dimensions: Dimensions, mesh: Any = None) -> "Decoder":
    """The decoder that a config trains, without arrays."""
    model = Decoder(dimensions, jnp.bfloat16 if config.precision == "bfloat16" else jnp.float32)
    if config.method == "lora":
        model.adapt(config.lora)
    model.checkpointing, model.loss_chunk, model.mesh = config.activation_checkpointing, config.loss_chunk, mesh
    return model


class Attention(nnx.Module):  # type: ignore[misc]  # flax is untyped
    def __init__(self, d: Dimensions) -> None:
        size = d.head_size
        self.q_proj = Linear(d.width, d.heads * size, ("fsdp", "tensor"), bias=d.qkv_bias)
        self.k_proj = Linear(d.width, d.kv_heads * size, ("fsdp", "tensor"), bias=d.qkv_bias)
        self.v_proj = Linear(d.width, d.kv_heads * size, ("fsdp", "tensor"), bias=d.qkv_bias)
        self.o_proj = Linear(d.heads * size, d.width, ("tensor", "fsdp"))
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
        self.gate_proj = Linear(d.width, d.hidden, ("fsdp", "tensor"))
        self.up_proj = Linear(d.width, d.hidden, ("fsdp", "tensor"))
        self.down_proj = Linear(d.hidden, d.width, ("tensor", "fsdp"))
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

    def __call__(self, x: Array, turned: tuple[Any, Any], seen: Array | None) -> tuple[Array, tuple[Array, Array]]:
        """The residual stream (B T, D) after the layer, and its keys and values; `seen` as `attend` has it, of packed
        rows."""
        q, k, v = self.self_attn.project(self.input_layernorm(x), *turned)
        if seen is None:
            mixed = attend_causally(q, k, v, window=self.window, softcap=self.softcap)
        else:
            mixed = attend(q, k, v, seen, self.softcap)
        return self.after(x, mixed), (k, v)

    def after(self, x: Array, mixed: Array) -> Array:
        """What follows attention: the residual stream (B T, D), and what its heads mixed, (B K, G, T, h)."""
        attended = self.self_attn.merge(mixed)
        if not self.four_norms:
            x = x + attended
            return x + self.mlp(self.post_attention_layernorm(x))
        x = x + self.post_attention_layernorm(attended)
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))


class Decoder(nnx.Module):  # type: ignore[misc]  # flax is untyped
    """Token ids in, hidden states or logits out. Made without arrays; `jax_folder.fill` brings them.

    Attributes:
        compute: type of activations.
        trained: kind of the parameters that are trained; the others are frozen.
        checkpointing: going back, a layer is computed again from the residual stream before it.
        loss_chunk: supervised tokens whose logits the loss holds at once; None: as suits the device.
        mesh: that the parameters lie on; None: one device.
    """

    def __init__(self, dimensions: Dimensions, compute: Any = jnp.float32) -> None:
        d = dimensions
        self.embed_tokens = Table(d.vocabulary, d.width)
        self.layers = nnx.List([Layer(d, d.window_of(index)) for index in range(d.layers)])
        self.norm = Norm(d.width, d)
        if not d.tied:
            self.lm_head = Linear(d.width, d.vocabulary, ("fsdp", "tensor"))
        self.dimensions = d
        self.compute = compute
        self.trained: Any = nnx.Param
        self.checkpointing = False
        self.loss_chunk: int | None = None
        self.mesh: Any = None

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
        """`hidden`, and the keys and values of all tokens (none with `checkpointing`)."""
        if positions is None:
            angles = turns(self.dimensions, np.arange(tokens.shape[1]))
        else:
            angles = turns(self.dimensions, positions[:, None], jnp)  # (B, 1, T, h / 2)
        masks = {} if segments is None else self._masks(segments)
        # Tokens lie flat, (B T, D): XLA's products on a CPU take half the time for it.
        x = self._embed(tokens.reshape(-1))
        cache = []
        for layer, turned in zip(self.layers, angles, strict=True):
            seen = masks.get(layer.window)
            if self.checkpointing:
                x = _again(layer, x, turned, seen)
                continue
            x, kept = layer(x, turned, seen)
            cache.append(kept)
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

    @property
    def projection(self) -> Array:
        """Onto the vocabulary, (D, V)."""
        return self.embed_tokens.weight[...].T if self.dimensions.tied else self.lm_head.kernel[...]

    def logits(self, hidden: Array) -> Array:
        """(..., D) -> float32 (..., V)."""
        return logits(hidden, self.projection, self.dimensions.final_softcap)

    def __call__(self, tokens: Array) -> Array:
        """(B, T) -> float32 (B, T, V)."""
        return self.logits(self.hidden(tokens))


def logits(hidden: Array, projection: Array, softcap: float | None) -> Array:
    """(..., D) and (D, V) -> float32 (..., V); with a soft cap c, c tanh(x / c) (Gemma 2)."""
    made = (hidden @ projection.astype(hidden.dtype)).astype(jnp.float32)
    return made if softcap is None else softcap * jnp.tanh(made / softcap)


def _again(layer: Layer, x: Array, turned: tuple[Any, Any], seen: Array | None) -> Array:
    """`layer`, computed once more going back: of it, the residual stream before it alone is kept.

    Neither `nnx.remat`, which fails on a traced module, nor `jax.checkpoint`, whose barrier XLA drops on a CPU: all
    layers are then computed again at once, and nothing is saved. That the second x depends on the gradient is not to
    be overlooked.
    """
    definition, state = nnx.split(layer)

    def through(state: Any, x: Array) -> Array:
        out: Array = nnx.merge(definition, state)(x, turned, seen)[0]
        return out

    @jax.custom_vjp  # type: ignore[untyped-decorator]  # jax is untyped
    def checkpointed(state: Any, x: Array) -> Array:
        return through(state, x)

    def backward(kept: tuple[Any, Array], gradient: Array) -> Any:
        state, x = kept
        return jax.vjp(through, state, x + 0 * gradient)[1](gradient)

    checkpointed.defvjp(lambda state, x: (through(state, x), (state, x)), backward)
    out: Array = checkpointed(state, x)
    return out
