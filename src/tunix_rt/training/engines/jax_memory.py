"""The memory of the JAX step at its peak, from the compiler, before an array exists.

The step is written out here, for Tunix' own takes seconds to import; it is the same loss, gradient and optimizer with
the same state donated, and XLA finds the same memory for it (a test says so).

Axes: B rows, T tokens of a row.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import Batch, jax_devices, jax_loss, jax_step, memory_formula
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.jax_model import Decoder
from tunix_rt.training.engines.memory import Memory, Shape, free_bytes


def memory(
    config: TrainingConfig, shape: Shape, vocabulary: int, base: Path | None, exactly: Callable[[Memory], bool]
) -> Memory:
    """Predict the peak; see `Engine.memory`."""
    d = memory_formula.dimensions(config, shape, vocabulary, base)
    rough = memory_formula.formula(config, d, shape, available())
    if not exactly(rough):
        return rough
    peak, method = memory_formula.by_layers(lambda d: _peak(config, d, shape), d, "compiler")
    return memory_formula.split(rough, peak, method)


def available() -> int | None:
    """Bytes that the device has free; None where it does not say, or where several share the work."""
    devices = jax_devices.chosen()
    if len(devices) > 1:
        return None
    if devices[0].platform == "cpu":
        return free_bytes()
    stats = devices[0].memory_stats() or {}
    if "bytes_limit" not in stats:
        return None
    return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))


def _peak(config: TrainingConfig, d: Dimensions, shape: Shape) -> int:
    """Bytes held at once: a step's arguments, results and what is between, and the results of the next one.

    Two steps are in flight, and what a step returns is allocated when it is started: measured, with neither a second
    copy of what is between nor of what is donated.
    """
    precise = config.precision == "float32"
    with jax.default_matmul_precision("float32" if precise else "default"):
        found = lowered(config, d, shape).compile().memory_analysis()
    made = found.output_size_in_bytes - found.alias_size_in_bytes
    return int(found.argument_size_in_bytes + found.temp_size_in_bytes + 2 * made)


def lowered(config: TrainingConfig, d: Dimensions, shape: Shape) -> Any:
    """The step of a model without arrays."""
    compute = jnp.bfloat16 if config.precision == "bfloat16" else jnp.float32
    model = Decoder(d, compute)
    if config.method == "lora":
        model.adapt(config.lora)
    definition, trained, frozen = nnx.split(model, model.trained, ...)
    trained = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32), trained)
    frozen = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, compute), frozen)
    optimizer: Any = jax_step.optimizer(config)
    if config.accumulation > 1:
        optimizer = optax.MultiSteps(optimizer, config.accumulation)

    def step(trained: Any, frozen: Any, state: Any, inputs: Any) -> Any:
        def loss(trained: Any) -> Any:
            return jax_loss.loss(nnx.merge(definition, trained, frozen), **inputs)

        (value, total), gradient = jax.value_and_grad(loss, has_aux=True)(trained)
        norm = optax.tree.norm(gradient)
        update, state = optimizer.update(gradient, state, trained)
        return optax.apply_updates(trained, update), state, value, total, norm

    inputs = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), jax_step.inputs(_batch(shape)))
    return jax.jit(step, donate_argnums=(2,)).lower(trained, frozen, jax.eval_shape(optimizer.init, trained), inputs)


def _batch(shape: Shape) -> Batch:
    size = (shape.rows, shape.width)
    tokens = np.zeros(size, np.int32)
    return Batch(
        tokens=tokens,
        supervised=np.zeros(size, np.bool_),
        lengths=np.full(shape.rows, shape.width, np.int32),
        weight=1.0,
        segments=tokens if shape.packed else None,
        positions=tokens if shape.packed else None,
    )
