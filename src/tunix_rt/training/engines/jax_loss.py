"""The loss: projected onto the vocabulary where there is loss and nowhere else, in pieces that fit where it runs.

Axes: B rows, T tokens, N = B T, C tokens of a chunk, D width, V vocabulary.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.sharding import PartitionSpec

from tunix_rt.training.engines import jax_devices, memory_formula
from tunix_rt.training.engines.jax_model import Decoder, logits

# A CPU's cache holds less than `memory_formula.LOGITS_BYTES`: of so many tokens, or of as many more as have a small
# vocabulary's logits in so many bytes.
_CPU_TOKENS, _CPU_BYTES = 128, 2**20
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
    pieces = row_pieces(rows, length, model.dimensions.hidden)
    packed = () if segments is None or positions is None else (segments, positions)
    inputs = (tokens, supervised, *packed)
    total = _total(model, *inputs) if pieces == 1 else _by_rows(model, inputs, pieces)
    return total / weight, total


def row_pieces(rows: int, length: int, hidden: int) -> int:
    """In how many pieces rows of so many tokens go through a model with MLPs of so many inner numbers."""
    return _divisor(rows, -(-rows * length * hidden * 4 // ACTIVATION_BYTES)) if jax_devices.is_one_cpu() else 1


def chunk_tokens(model: Decoder) -> int:
    """Supervised tokens whose logits are held at once, at most."""
    if model.loss_chunk is not None:
        return model.loss_chunk
    token = 4 * model.dimensions.vocabulary
    if jax_devices.is_one_cpu():
        return max(_CPU_TOKENS, _CPU_BYTES // token)
    return max(1, memory_formula.LOGITS_BYTES // token)


def _total(model: Decoder, tokens: Array, supervised: Array, *packed: Array) -> Array:
    hidden = model.hidden(tokens, *packed)
    targets = jnp.roll(tokens, -1, axis=1)
    counted = jnp.roll(supervised, -1, axis=1).at[:, -1].set(False)
    if packed:
        counted &= packed[0] == jnp.roll(packed[0], -1, axis=1)
    return _surprise(model, hidden, targets, counted)


def _surprise(model: Decoder, hidden: Array, targets: Array, counted: Array) -> Array:
    """Summed surprise at the counted targets, (B, T), from hidden states (B, T, D).

    The gradient is taken going forward, chunk by chunk, so that no logits are kept or computed twice; a loop goes as
    often as this batch needs it, where a shape would be the worst batch's. On a mesh each device walks its own rows.
    """
    projected = model.trained is nnx.Param  # else frozen: half of the work going back is spared
    softcap, most = model.dimensions.final_softcap, chunk_tokens(model)

    def one(projection: Array, hidden: Array, targets: Array, counted: Array) -> Array:
        made = logits(hidden, projection, softcap)
        # A sum, since going back a look-up is a scatter, which runs on one core of a CPU.
        own = jax.lax.broadcasted_iota(jnp.int32, made.shape, 1) == targets[:, None]
        surprise = jax.nn.logsumexp(made, axis=-1) - jnp.sum(jnp.where(own, made, 0.0), axis=-1)
        return jnp.sum(jnp.where(counted, surprise, 0.0))

    def value(projection: Array, *rows: Array) -> Array:
        chunks = _Chunks(most, *rows)
        zero = jnp.zeros((), jnp.float32)
        total = jax.lax.fori_loop(0, chunks.count, lambda n, total: total + one(projection, *chunks[n]), zero)
        return _over_mesh(model, total)

    def value_and_gradients(projection: Array, *rows: Array) -> tuple[Array, Array | None, Array]:
        chunks, cast = _Chunks(most, *rows), projection.astype(rows[0].dtype)
        gradient_of = jax.value_and_grad(one, (1, 0) if projected else (1,))

        def add(number: Array, sums: tuple[Array, Array | None, Array]) -> tuple[Array, Array | None, Array]:
            total, to_projection, to_hidden = sums
            more, (of_hidden, *of_projection) = gradient_of(cast, *chunks[number])
            if to_projection is not None:
                to_projection += of_projection[0].astype(jnp.float32)
            return total + more, to_projection, chunks.put(to_hidden, number, of_hidden)

        to_projection = jnp.zeros(projection.shape, jnp.float32) if projected else None
        sums = (jnp.zeros((), jnp.float32), to_projection, chunks.empty)
        total, to_projection, to_hidden = jax.lax.fori_loop(0, chunks.count, add, sums)
        return *_over_mesh(model, (total, to_projection)), chunks.back(to_hidden)

    everywhere, own = PartitionSpec(), PartitionSpec(jax_devices.ROWS)
    given = (everywhere, own, own, own)

    def forward(projection: Array, hidden: Array) -> tuple[Array, Any]:
        walk = _on_mesh(model, value_and_gradients, given, (everywhere, everywhere, own))
        found, *gradients = walk(projection, hidden, targets, counted)
        return found, tuple(gradients)

    def backward(gradients: Any, scale: Array) -> Any:
        to_projection, to_hidden = jax.tree.map(lambda x: (x * scale).astype(x.dtype), gradients)
        return to_projection, to_hidden

    @jax.custom_vjp  # type: ignore[untyped-decorator]  # jax is untyped
    def total(projection: Array, hidden: Array) -> Array:
        return _on_mesh(model, value, given, everywhere)(projection, hidden, targets, counted)

    total.defvjp(forward, backward)
    return total(model.projection, hidden)


class _Chunks:
    """The counted tokens of rows, so many at a time, in order.

    Args:
        most: tokens of a chunk.
        hidden: (B, T, D).
        targets: int32 (B, T).
        counted: bool (B, T).

    Attributes:
        count: chunks, ().
        empty: zeros for what is `put` for each chunk.
    """

    def __init__(self, most: int, hidden: Array, targets: Array, counted: Array) -> None:
        self._shape, self._counted = hidden.shape, counted.reshape(-1)
        self._hidden, self._targets = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1)
        self._size = min(most, counted.size)
        room = -(-counted.size // self._size) * self._size
        self._places = jnp.nonzero(self._counted, size=room, fill_value=0)[0]
        self._tokens = jnp.sum(self._counted)
        self.count = -(-self._tokens // self._size)
        self.empty = jnp.zeros((room, hidden.shape[-1]), hidden.dtype)

    def __getitem__(self, number: Array) -> tuple[Array, Array, Array]:
        """A chunk's hidden states (C, D) and targets (C,), and which of them are there: the last chunk is not full."""
        first = number * self._size
        places = jax.lax.dynamic_slice(self._places, (first,), (self._size,))
        return self._hidden[places], self._targets[places], first + jnp.arange(self._size) < self._tokens

    def put(self, gathered: Array, number: Array, chunk: Array) -> Array:
        """Write what belongs to a chunk, (C, D), to its place."""
        return jax.lax.dynamic_update_slice(gathered, chunk, (number * self._size, 0))

    def back(self, gathered: Array) -> Array:
        """What was put, where its tokens stand, (B, T, D); 0 elsewhere."""
        own = gathered[jnp.cumsum(self._counted) - 1]
        return jnp.where(self._counted[:, None], own, 0).reshape(self._shape)


def _on_mesh(model: Decoder, function: Callable[..., Any], given: Any, found: Any) -> Callable[..., Any]:
    """On each device's own rows; how the mesh divides the projection among the devices of a row is left to XLA."""
    if jax_devices.row_shards(model.mesh) == 1:
        return function
    mapped: Callable[..., Any] = jax.shard_map(
        function, mesh=model.mesh, in_specs=given, out_specs=found, axis_names=set(jax_devices.ROWS), check_vma=False
    )
    return mapped


def _over_mesh(model: Decoder, value: Any) -> Any:
    """The sum over all devices' rows."""
    return value if jax_devices.row_shards(model.mesh) == 1 else jax.lax.psum(value, jax_devices.ROWS)


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
