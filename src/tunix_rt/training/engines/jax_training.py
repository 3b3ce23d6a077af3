"""A training through Tunix' PeftTrainer, which compiles the step, runs it and keeps two of them in flight.

Ours are the data (by index, so a resumed training seeks), the loss, what is told of a step, and the checkpoints.
They come in where Tunix asks for them: data hooks, a logger, a checkpoint manager, and two methods that it leaves to
subclasses.
"""

from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tunix.sft import metrics_logger, peft_trainer

from tunix_rt.base.errors import BadInput
from tunix_rt.training.engines import (
    Job,
    Outcome,
    jax_checkpoint,
    jax_config,
    jax_devices,
    jax_folder,
    jax_loss,
    jax_step,
)
from tunix_rt.training.engines.jax_model import Decoder
from tunix_rt.training.engines.jax_progress import Feed, Progress, state_of
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
    mesh = jax_devices.mesh()
    with jax.default_matmul_precision("float32" if precise else "default"), mesh or nullcontext():
        resumed = _resumed(job)
        if job.stopping():  # a large model takes long to read or make
            return Outcome("stopped", resumed or 0)
        model, content = _model(job, mesh)
        step = _run(job, model, resumed, mesh) if job.total_steps else 0
        if step < job.total_steps:
            return Outcome("stopped", step)
        dtype = jnp.float32 if precise else jnp.bfloat16
        sweep(job.folder)
        jax_folder.write_folder(job.folder / "model", model, content, job.special, job.tokenizer, dtype)
        return Outcome("completed", step)


def _resumed(job: Job) -> int | None:
    """The step to go on from, once its checkpoint is known to be whole and ours."""
    if job.resume_from is None:
        return None
    header, machine = jax_checkpoint.check(job.resume_from, job.fingerprint), jax_devices.machine()
    if header.machine != machine:
        job.emit(
            "warning",
            kind="machine",
            detail="resumed on another machine: the losses may differ in their last digits",
            changed={
                name: [header.machine.get(name), now]
                for name, now in machine.items()
                if header.machine.get(name) != now
            },
        )
    return header.step


def _model(job: Job, mesh: Any) -> tuple[Decoder, dict[str, Any]]:
    """The start, and what config.json says of it."""
    compute = jnp.bfloat16 if job.config.precision == "bfloat16" else jnp.float32
    if job.base is None:
        dimensions = jax_config.from_scratch(job.config.model, job.vocabulary, job.batches.width)
        model = Decoder(dimensions, compute)
        return jax_folder.fill(model, jax_folder.start(model, job.config.seed), mesh), jax_config.to_json(dimensions)
    content = jax_config.read_json(job.base)
    dimensions = jax_config.from_json(content, job.base)
    if job.vocabulary > dimensions.vocabulary:
        raise BadInput(
            f"The tokenizer has {job.vocabulary} entries, but {job.base} embeds only {dimensions.vocabulary}.",
            hint="Take the tokenizer that belongs to the model (tokenizer.kind: model).",
        )
    if job.batches.width > dimensions.max_positions:
        raise BadInput(
            f"Rows of {job.batches.width} tokens do not fit the {dimensions.max_positions} positions of {job.base}.",
            hint=f"Set data.max_length to at most {dimensions.max_positions}.",
        )
    model = Decoder(dimensions, compute)
    return jax_folder.fill(model, jax_folder.read_tensors(job.base, model), mesh), content


def _run(job: Job, model: Decoder, resumed: int | None, mesh: Any) -> int:
    """Train, and return the last finished step."""
    trainer = make_trainer(job, model, resumed, mesh)
    with np.errstate(over="ignore"):  # Tunix takes a perplexity of every loss
        trainer.train(())
    return trainer.progress.step


def make_trainer(job: Job, model: Decoder, resumed: int | None = None, mesh: Any = None) -> "Trainer":
    """A trainer of `model`, at the start or at the checkpoint of step `resumed`."""
    trainer: Trainer = Trainer(
        model,
        jax_step.optimizer(job.config),
        peft_trainer.TrainingConfig(
            eval_every_n_steps=job.config.eval_every_steps,  # ours runs in `Progress`
            gradient_accumulation_steps=job.config.accumulation if job.config.accumulation > 1 else None,
            max_steps=None,  # the data ends, and there is no progress bar
        ),
        metrics_logger=_Silent(),
    ).with_loss_fn(jax_loss.loss, has_aux=True)
    state = state_of(trainer)
    if mesh is not None:
        jax_devices.spread(state["optimizer"], mesh)
    if resumed is not None and job.resume_from is not None:
        jax_checkpoint.restore(job.resume_from, state)
    nnx.update(trainer.model, state["parameters"])
    nnx.update(trainer.optimizer, state["optimizer"])
    trainer.progress = trainer.checkpoint_manager = Progress(job, trainer, first=resumed or 0, saved=resumed)
    trainer.with_data_hooks(Feed(job, trainer.progress))
    return trainer


class Trainer(peft_trainer.PeftTrainer):  # type: ignore[misc]  # tunix is untyped
    """PeftTrainer, with the learning rate from outside and the norm of the whole step's gradient."""

    progress: Progress

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

    def _post_process_train_step(self, aux: Any) -> None:
        self.progress.ran(*aux)


class _Silent(metrics_logger.MetricsLogger):  # type: ignore[misc]  # tunix is untyped
    """Keeps nothing and tells nobody: Tunix' own keeps every value and listens to the whole process."""

    def __init__(self) -> None:
        super().__init__(None)

    def log(self, *args: Any) -> None:
        pass

    def close(self) -> None:
        pass
