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

_UNOPTIMIZED = {"xla_backend_optimization_level": 0}
# Of a CPU; benchmarks/log.md says how each was seen.
_RUNTIME_BYTES = 3 * 2**20  # batches, stacks, the interpreter's own
_PACKED_TOGETHER = 192  # a product over more is packed so many at a time; decided by the processor's cache


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
    (peak,), method = memory_formula.by_layers(lambda d: (_peak(config, d, shape, mesh),), d, "compiler")
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

    All that is trained is donated, and a CPU's step ends before the next one is begun (`jax_devices`).
    """
    precise, on_cpu = config.precision == "float32", jax_devices.chosen()[0].platform == "cpu"
    with jax.default_matmul_precision("float32" if precise else "default"), mesh or nullcontext():
        step = lowered(config, d, shape, mesh)
        # Where each array lies is decided before a CPU's code is made, which is most of the time.
        found = step.compile(compiler_options=_UNOPTIMIZED if on_cpu else None).memory_analysis()
    made = found.output_size_in_bytes - found.alias_size_in_bytes
    beside = _packed(config, d, shape) + _RUNTIME_BYTES if on_cpu else 0
    return int(found.argument_size_in_bytes + found.temp_size_in_bytes + made + beside)


def _packed(config: TrainingConfig, d: Dimensions, shape: Shape) -> int:
    """Bytes that a CPU's products copy what they multiply to, which the compiler's analysis leaves out.

    Two of the MLP's products run at once, and, where it is trained, the gradient of one; the vocabulary's runs alone,
    but malloc, which keeps all, seldom finds it room in what those have freed.
    """
    tokens = shape.rows * shape.width // jax_loss.row_pieces(shape.rows, shape.width, d.hidden)
    layers = (2 * 1.5 * d.hidden if config.method == "lora" else 3 * (1.5 * d.hidden + 1.125 * d.width)) * tokens
    return 4 * (int(layers) + min(d.width, _PACKED_TOGETHER) * d.vocabulary)


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
