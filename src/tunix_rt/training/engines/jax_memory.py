"""The memory of the JAX step at its peak, from the compiler, before an array exists.

The step is written out here, for Tunix' own takes seconds to import; it is the same loss, gradient and optimizer with
the same state donated, and XLA finds the same memory for it (a test says so).

Axes: B rows, T tokens of a row.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import jax_devices, jax_folder, jax_loss, jax_step, memory_formula, work
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.jax_model import decoder
from tunix_rt.training.engines.memory import Memory, Shape, free_bytes

_RUNTIME_BYTES = 3 * 2**20  # measured: benchmarks/log.md


def memory(
    config: TrainingConfig, shape: Shape, vocabulary: int, base: Path | None, exactly: Callable[[Memory], bool]
) -> Memory:
    """Predict the peak; see `Engine.memory`."""
    d, mesh = memory_formula.dimensions(config, shape, vocabulary, base), jax_devices.mesh(config.mesh)
    divided = 1 if mesh is None else mesh.shape["fsdp"] * mesh.shape["tensor"]
    rough = memory_formula.jax_formula(
        config,
        d,
        replace(shape, rows=-(-shape.rows // jax_devices.row_shards(mesh))),
        available(),
        pieces=jax_loss.row_pieces(shape.rows, shape.width, d.hidden),
        chunk=jax_loss.chunk_tokens(decoder(config, d, mesh)),
        shards=divided,
    )
    if not exactly(rough):
        return rough
    peak, method = memory_formula.by_layers(lambda d: _peak(config, d, shape, mesh), d, "compiler")
    return memory_formula.split(rough, peak, method)


def available() -> int | None:
    """Bytes that a device has free, the fullest one's where several share the work; None where it does not say."""
    devices = jax_devices.chosen()
    if devices[0].platform == "cpu":
        free = free_bytes()
        return None if free is None else free // len(devices)
    stats = [device.memory_stats() or {} for device in devices]
    if any("bytes_limit" not in each for each in stats):
        return None
    return min(int(each["bytes_limit"] - each.get("bytes_in_use", 0)) for each in stats)


def speed(config: TrainingConfig, shape: Shape, vocabulary: int, base: Path | None) -> float:
    """Operations a second; see `Engine.speed`."""
    size = work.probe_shape(memory_formula.dimensions(config, shape, vocabulary, base), shape)
    half = config.precision == "bfloat16"
    a, b = (jnp.ones(part, jnp.bfloat16 if half else jnp.float32) for part in (size[:2], size[1:]))
    devices = jax_devices.chosen()
    with jax.default_matmul_precision("default" if half else "float32"):
        one = work.speed(lambda: jnp.matmul(a, b).block_until_ready(), size)
    return one * (1 if devices[0].platform == "cpu" else len(devices))  # a CPU's share its cores


def _peak(config: TrainingConfig, d: Dimensions, shape: Shape, mesh: Any) -> int:
    """Bytes that a device holds at once: a step's arguments, what is between, and what is made of them.

    All that is trained is donated. Half of its parameters are counted once more: measured, they are now and then held
    twice, where the next step is started before this one has let go of them. What a CPU's products pack of the
    vocabulary's projection, the analysis leaves out, and what the runtime holds besides.
    """
    precise = config.precision == "float32"
    with jax.default_matmul_precision("float32" if precise else "default"), mesh or nullcontext():
        found = lowered(config, d, shape, mesh).compile().memory_analysis()
    weights = memory_formula.held(config, d)["optimizer"] // 2
    made = found.output_size_in_bytes - found.alias_size_in_bytes
    divided = 1 if mesh is None else mesh.shape["fsdp"] * mesh.shape["tensor"]
    made += 2 * d.vocabulary * min(d.width, 256) + _RUNTIME_BYTES
    return int(found.argument_size_in_bytes + found.temp_size_in_bytes + made + weights // (2 * divided))


def lowered(config: TrainingConfig, d: Dimensions, shape: Shape, mesh: Any = None) -> Any:
    """The step of a model without arrays."""
    model = decoder(config, d, mesh)
    definition, *states = nnx.split(model, model.trained, ...)
    trained, frozen = (
        _without_arrays(state, kind, mesh) for state, kind in zip(states, (np.float32, model.compute), strict=True)
    )
    optimizer: Any = jax_step.optimizer(config)
    if config.accumulation > 1:
        optimizer = optax.MultiSteps(optimizer, config.accumulation)
    state = jax.eval_shape(optimizer.init, trained)
    if mesh is not None:
        like = {(x.shape, x.dtype): x.sharding for x in jax.tree.leaves(trained)}
        state = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=like.get((x.shape, x.dtype))), state
        )

    def step(trained: Any, frozen: Any, state: Any, inputs: Any) -> Any:
        def loss(trained: Any) -> Any:
            return jax_loss.loss(nnx.merge(definition, trained, frozen), **inputs)

        (value, total), gradient = jax.value_and_grad(loss, has_aux=True)(trained)
        norm = optax.tree.norm(gradient)
        update, state = optimizer.update(gradient, state, trained)
        return optax.apply_updates(trained, update), state, value, total, norm

    rows = None if mesh is None else jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(jax_devices.ROWS))
    inputs = {
        name: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=rows if np.ndim(x) else None)
        for name, x in jax_step.inputs(memory_formula.full_batch(shape), shards=jax_devices.row_shards(mesh)).items()
    }
    return jax.jit(step, donate_argnums=(0, 2)).lower(trained, frozen, state, inputs)


def _without_arrays(state: Any, kind: Any, mesh: Any) -> Any:
    """Shapes, and where they lie on the mesh."""
    made = [
        (
            path,
            value.replace(jax.ShapeDtypeStruct(value.shape, kind, sharding=jax_folder.place(value, value.shape, mesh))),
        )
        for path, value in nnx.to_flat_state(state)
    ]
    return nnx.from_flat_state(made)
