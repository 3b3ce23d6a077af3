"""A training through Tunix' PeftTrainer, which compiles the step, runs it and keeps two of them in flight.

Ours are the data (by index, so a resumed training seeks), the loss, what is told of a step, and the checkpoints.
They come in where Tunix asks for them: data hooks, a logger, a checkpoint manager, and two methods that it leaves to
subclasses.
"""

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from tunix.sft import metrics_logger, peft_trainer

from tunix_rt.training.engines import (
    Job,
    Outcome,
    checkpoints,
    jax_devices,
    jax_folder,
    jax_loss,
    jax_state,
    jax_step,
)
from tunix_rt.training.engines.checkpoints import Header
from tunix_rt.training.engines.jax_model import Decoder
from tunix_rt.training.engines.jax_progress import Feed, Steps, state_of
from tunix_rt.training.engines.progress import Progress, resumed
from tunix_rt.training.engines.whole_folder import sweep


def train(job: Job) -> Outcome:
    """Train from `job.resume_from` or the start to `job.total_steps`, and write `model/`.

    Raises:
        BadInput: a base folder or checkpoint that cannot be read.
        Conflict: a checkpoint of another training.
        Failed: a loss or gradient that is not finite.
        DiskFull: while a checkpoint or the model was written.
    """
    precise = job.config.precision == "float32"  # accelerators else multiply float32 in fewer bits
    mesh = jax_devices.mesh(job.config.mesh)
    with jax.default_matmul_precision("float32" if precise else "default"), mesh or nullcontext():
        before = resumed(job, jax_devices.machine(mesh))
        if job.stopping():  # a large model takes long to read or make
            return Outcome("stopped", before.step if before else 0)
        model, content = jax_folder.first(job, mesh)
        outcome = _run(job, model, before) if job.total_steps else _untrained(job, model)
        if outcome.reason == "stopped":
            return outcome
        sweep(job.folder)
        jax_folder.write_result(job, model, content)
        return outcome


def _run(job: Job, model: Decoder, before: Header | None) -> Outcome:
    """Train, and leave the result's parameters in the model."""
    trainer = make_trainer(job, model, before)
    with np.errstate(over="ignore"):  # Tunix takes a perplexity of every loss
        trainer.train(())
    outcome, best = trainer.steps.progress.outcome(trainer.steps.step)
    if best is not None:
        _take_parameters(best, trainer.model)
    return outcome


def _untrained(job: Job, model: Decoder) -> Outcome:
    if job.start is not None:
        checkpoints.verify(job.start)
        _take_parameters(job.start, model)
    return Outcome("completed", 0)


def _take_parameters(checkpoint: Path, model: Any) -> None:
    parameters = nnx.state(model, model.trained)
    jax_state.restore(checkpoint, {"parameters": parameters}, "parameters.")
    nnx.update(model, parameters)


def make_trainer(job: Job, model: Decoder, before: Header | None = None) -> "Trainer":
    """A trainer of `model`, at the start or at the checkpoint `before`, the one of `job.resume_from`."""
    if before is None and job.start is not None:
        checkpoints.verify(job.start)
        _take_parameters(job.start, model)
    trainer: Trainer = Trainer(
        model,
        jax_step.optimizer(job.config),
        peft_trainer.TrainingConfig(
            eval_every_n_steps=job.config.eval_every_steps,  # ours runs in `Steps`
            gradient_accumulation_steps=job.config.accumulation if job.config.accumulation > 1 else None,
            data_sharding_axis=(jax_devices.ROWS,),
            max_steps=None,  # the data ends, and there is no progress bar
        ),
        metrics_logger=_Silent(),
    ).with_loss_fn(jax_loss.loss, has_aux=True)
    state = state_of(trainer)
    if model.mesh is not None:
        jax_devices.spread(state["optimizer"], model.mesh)
    if before is not None and job.resume_from is not None:
        jax_state.restore(job.resume_from, state)
    nnx.update(trainer.model, state["parameters"])
    nnx.update(trainer.optimizer, state["optimizer"])
    first = before.step if before else 0
    progress = Progress(job, first, before.progress if before else None)
    trainer.steps = trainer.checkpoint_manager = Steps(job, trainer, progress, first)
    trainer.with_data_hooks(Feed(job, trainer.steps))
    return trainer


class Trainer(peft_trainer.PeftTrainer):  # type: ignore[misc]  # tunix is untyped
    """PeftTrainer, with the learning rate from outside and the norm of the whole step's gradient."""

    steps: Steps
    _jitted_train_step_fn: Any
    _jitted_eval_step_fn: Any

    def create_train_step_fn(self) -> Any:
        step = super().create_train_step_fn()

        def training_step(model: Any, optimizer: Any, inputs: Any) -> Any:
            state = optimizer.opt_state
            parts = state.inner_opt_state if self.config.gradient_accumulation_steps else state
            parts[-1].rate.set_value(inputs["rate"])
            loss, _, _ = step(model, optimizer, inputs)
            state = optimizer.opt_state
            parts = state.inner_opt_state if self.config.gradient_accumulation_steps else state
            norm = parts[0].norm.get_value()
            return loss, (loss, norm), norm

        return training_step

    def jit_train_and_eval_step(self, skip_jit: bool = False, cache_nnx_graph: bool = False) -> Any:
        """Both steps, compiled. Tunix' own step does not donate the parameters: it holds a second copy of them, of
        frozen ones too, and a third one while two steps are in flight. And on a mesh it would lay the optimizer's
        arrays elsewhere than their parameters, where the mesh does not divide them."""
        del skip_jit, cache_nnx_graph
        if self._jitted_train_step_fn is None:
            step = nnx.jit(self.create_train_step_fn(), donate_argnames=("model", "optimizer"))
            evaluate = nnx.jit(self.create_eval_step_fn())
            # Tunix looks into the inner partial.
            self._jitted_train_step_fn = partial(nnx.cached_partial(step, self.model, self.optimizer))
            self._jitted_eval_step_fn = partial(nnx.cached_partial(evaluate, self.model))
        return self._jitted_train_step_fn, self._jitted_eval_step_fn

    def _post_process_train_step(self, aux: Any) -> None:
        self.steps.ran(*aux)


class _Silent(metrics_logger.MetricsLogger):  # type: ignore[misc]  # tunix is untyped
    """Keeps nothing and tells nobody: Tunix' own keeps every value and listens to the whole process."""

    def __init__(self) -> None:
        super().__init__(None)

    def log(self, *args: Any) -> None:
        pass

    def close(self) -> None:
        pass
