"""Answers by the decoder with a cache of keys and values.

Ours and not Tunix' Sampler: that takes text and not token ids, pads by a token that must not occur, draws a batch's
randomness from one key, needs `top_p` to draw at all, and does not say why an answer ended.

A prompt's answer depends on the prompt, its place in the list and the seed, not on its neighbours: prompts of a
similar length are padded on the right to the same width, padding is never attended to, a batch has a fixed number of
rows, and row i draws from key(seed, i).

Axes: B rows, P prompt width, M longest answer, S = P + M slots of the cache, V vocabulary.
"""

import functools
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from numpy.typing import NDArray

from tunix_rt.training.engines import Generated, Sampling, jax_folder, lora, sampling_checks
from tunix_rt.training.engines.jax_model import Cache, Decoder

_ROWS = 64
_NARROWEST = 16


def load(folder: Path) -> Decoder:
    """Read a model folder, or an adapter's with its base, to compute with in float32."""
    opened = lora.open_folder(folder)
    return jax_folder.fill(Decoder(opened.dimensions), opened.tensors)


def generate(
    model: Decoder, prompts: list[list[int]], sampling: Sampling, done: Callable[[int], None]
) -> list[Generated]:
    """Answer prompts, in order; see `Engine.generate`.

    Raises:
        BadInput: an empty prompt, an id that the model does not have, or more tokens than it has positions.
    """
    sampling_checks.check(model.dimensions, prompts, sampling)
    definition, state = nnx.split(model)
    answers: dict[int, Generated] = {}
    by_width: dict[int, list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        by_width[_width(len(prompt))].append(index)
    rows = min(_ROWS, 1 << (len(prompts) - 1).bit_length()) if prompts else 0
    with jax.default_matmul_precision("float32"):
        for width, indices in sorted(by_width.items()):
            for start in range(0, len(indices), rows):
                chosen = indices[start : start + rows]
                tokens, lengths, places = _pad(prompts, chosen, rows, width)
                out, counts, stopped = _answer(
                    definition,
                    state,
                    tokens,
                    lengths,
                    jax.random.key(sampling.seed),
                    places,
                    np.float32(sampling.temperature),
                    np.asarray(sampling.stop, np.int32),
                    len(chosen),
                    longest=sampling.max_new_tokens,
                    greedy=sampling.temperature == 0,
                )
                out, counts, stopped = jax.device_get((out, counts, stopped))
                for row, index in enumerate(chosen):
                    ended = "stop" if stopped[row] else "length"
                    answers[index] = Generated(out[row, : counts[row]].tolist(), ended)
                done(len(answers))
    return [answers[index] for index in range(len(prompts))]


def _width(length: int) -> int:
    """A power of two that holds a prompt: few widths, so few programs are compiled."""
    return max(_NARROWEST, 1 << (length - 1).bit_length())


def _pad(
    prompts: list[list[int]], chosen: list[int], rows: int, width: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint32]]:
    """Tokens (B, P), lengths (B,) and places in the list (B,); rows that nobody asked for have one token."""
    tokens, lengths, places = np.zeros((rows, width), np.int32), np.ones(rows, np.int32), np.zeros(rows, np.uint32)
    for row, index in enumerate(chosen):
        lengths[row], places[row] = len(prompts[index]), index
        tokens[row, : lengths[row]] = prompts[index]
    return tokens, lengths, places


class _State(NamedTuple):
    step: Array  # tokens that each row has drawn so far
    next: Array  # (B,) the newest of them
    out: Array  # (B, M)
    counts: Array  # (B,) tokens of an answer
    stopped: Array  # (B,) ended by a stop token
    done: Array  # (B,)
    cache: Cache


@functools.partial(jax.jit, static_argnums=0, static_argnames=("longest", "greedy"))
def _answer(
    definition: Any,
    state: Any,
    tokens: Array,
    lengths: Array,
    key: Array,
    places: Array,
    temperature: Array,
    stop: Array,
    wanted: Array,
    *,
    longest: int,
    greedy: bool,
) -> tuple[Array, Array, Array]:
    """Answer one batch: tokens (B, M), how many of them count (B,), and whether a stop token ended them (B,)."""
    model: Decoder = nnx.merge(definition, state)
    model.checkpointing = False  # of a model in training: it keeps no keys and values with it
    rows, width = tokens.shape
    keys = jax.vmap(lambda place: jax.random.fold_in(key, place))(places)

    def draw(hidden: Array, step: Array) -> Array:
        logits = model.logits(hidden)
        if greedy:
            return jnp.argmax(logits, axis=-1).astype(jnp.int32)
        drawn = jax.vmap(lambda row, k: jax.random.categorical(jax.random.fold_in(k, step), row))
        return drawn(logits / temperature, keys).astype(jnp.int32)

    def note(state: _State) -> _State:
        """Take the newest token into the answers that go on."""
        stopped = state.stopped | (~state.done & jnp.isin(state.next, stop))
        done = state.done | stopped
        out = jax.lax.dynamic_update_slice(state.out, state.next[:, None], (0, state.step - 1))
        counts = state.counts + ~done
        return state._replace(out=out, counts=counts, stopped=stopped, done=done | (counts == longest))

    hidden, cache = model.prefill(tokens)
    cache = jax.tree.map(lambda part: jnp.pad(part, ((0, 0), (0, longest), (0, 0))), cache)
    last = jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)[:, 0]
    one = jnp.ones((), jnp.int32)
    zeros = jnp.zeros(rows, jnp.int32)
    idle = jnp.arange(rows) >= wanted
    first = _State(one, draw(last, one), jnp.zeros((rows, longest), jnp.int32), zeros, idle & False, idle, cache)
    slots = jnp.arange(width + longest)
    places_of_keys = jnp.where(slots < width, slots, lengths[:, None] + slots - width)

    def more(state: _State) -> Array:
        return ~jnp.all(state.done)

    def go_on(state: _State) -> _State:
        slot = width + state.step - 1
        seen = (slots[None] < lengths[:, None]) | ((slots >= width) & (slots <= slot))[None]
        hidden, cache = model.decode(state.next, lengths + state.step - 1, slot, seen, places_of_keys, state.cache)
        step = state.step + 1
        return note(state._replace(step=step, next=draw(hidden, step), cache=cache))

    end = jax.lax.while_loop(more, go_on, note(first))
    return end.out, end.counts, end.stopped
