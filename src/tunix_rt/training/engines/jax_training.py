"""A training through Tunix' PeftTrainer, which compiles the step, runs it and keeps two of them in flight.

Ours are the data (by index, so a resumed training seeks), the loss, what is told of a step, and the checkpoints.
They come in where Tunix asks for them: data hooks, a logger, a checkpoint manager, and two methods that it leaves to
subclasses.
"""

import math
import time
from collections import deque
from contextlib import nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tunix.sft import hooks, metrics_logger, peft_trainer

from tunix_rt.base.errors import BadInput, Failed
from tunix_rt.training.engines import Job, Outcome, jax_checkpoint, jax_config, jax_devices, jax_folder, jax_step
from tunix_rt.training.engines.jax_model import Decoder


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
        model, content = _model(job, mesh)
        step = _run(job, model, resumed, mesh) if job.total_steps else 0
        if step < job.total_steps:
            return Outcome("stopped", step)
        dtype = jnp.float32 if precise else jnp.bfloat16
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
            message="resumed on another machine: the losses may differ in their last digits",
            before=dict(header.machine),
            now=machine,
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
    trainer = _Trainer(
        model,
        jax_step.optimizer(job.config),
        peft_trainer.TrainingConfig(
            eval_every_n_steps=job.config.eval_every_steps,  # ours runs in `_Progress`
            gradient_accumulation_steps=job.config.accumulation if job.config.accumulation > 1 else None,
            max_steps=None,  # the data ends, and there is no progress bar
        ),
        metrics_logger=_Silent(),
    ).with_loss_fn(jax_step.loss, has_aux=True)
    state = _state(trainer)
    if mesh is not None:
        jax_devices.spread(state["optimizer"], mesh)
    if resumed is not None and job.resume_from is not None:
        jax_checkpoint.restore(job.resume_from, state)
    nnx.update(trainer.model, state["parameters"])
    nnx.update(trainer.optimizer, state["optimizer"])
    progress = _Progress(job, trainer, first=resumed or 0, saved=resumed)
    trainer.progress = progress
    trainer.checkpoint_manager = progress
    trainer.with_data_hooks(_Feed(job, progress))
    with np.errstate(over="ignore"):  # Tunix takes a perplexity of every loss
        trainer.train(())
    return progress.step


def _state(trainer: Any) -> dict[str, Any]:
    """All that a step changes."""
    return {"parameters": nnx.state(trainer.model, nnx.Param), "optimizer": nnx.state(trainer.optimizer)}


class _Trainer(peft_trainer.PeftTrainer):  # type: ignore[misc]  # tunix is untyped
    """PeftTrainer, with the learning rate from outside and the norm of the whole step's gradient."""

    progress: "_Progress"

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


class _Feed(hooks.DataHooks):  # type: ignore[misc]  # tunix is untyped
    """Batches by index; none once all steps are done or the training shall stop."""

    def __init__(self, job: Job, progress: "_Progress") -> None:
        self._job = job
        self._progress = progress
        self._micro = 0

    def load_next_train_batch(self, _: Any) -> dict[str, Any] | None:
        job, progress = self._job, self._progress
        if self._micro == 0 and (progress.step == job.total_steps or job.stopping()):
            return None
        batch = job.batches.training(progress.step + 1, self._micro)
        progress.tokens += int(batch.lengths.sum())
        self._micro = (self._micro + 1) % job.config.accumulation
        return jax_step.inputs(batch, progress.rate(progress.step + 1))

    def load_next_eval_batch(self, _: Any) -> None:
        return None


class _Pending(NamedTuple):
    """A step that was started: its micro-batches' losses and its norm are still being computed."""

    step: int
    tokens: int
    losses: list[Any]
    norm: Any


class _Progress:
    """What happens around a step: events, evaluation, checkpoints. To Tunix it is the checkpoint manager.

    A step's numbers are fetched once the next one has been started, so the device never waits for them.
    """

    def __init__(self, job: Job, trainer: _Trainer, first: int, saved: int | None) -> None:
        self._job = job
        self._trainer = trainer
        self._first = first
        self._saved = saved
        self.step = first
        self.tokens = 0  # of the step that is being fed
        self._losses: list[Any] = []
        self._pending: deque[_Pending] = deque()
        self._finished_at = time.perf_counter()

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        return jax_step.learning_rate(self._job.config, self._job.total_steps, step)

    def ran(self, loss: Any, norm: Any) -> None:
        """A micro-batch was started."""
        self._losses.append(loss)
        if len(self._losses) < self._job.config.accumulation:
            return
        self.step += 1
        self._pending.append(_Pending(self.step, self.tokens, self._losses, norm))
        self._losses, self.tokens = [], 0
        if len(self._pending) > 1:
            self._tell(self._pending.popleft())

    def save(self, step: int, *states: Any, force: bool = False, **options: Any) -> bool:
        """Tunix, after each optimizer step and, with `force`, at the end: evaluate and save where due."""
        del step, states, options
        job, config, last = self._job, self._job.config, self.step == self._job.total_steps
        evaluate = not force and (self.step % config.eval_every_steps == 0 or last)
        keep = force or self.step % config.checkpoint_every_steps == 0 or last
        if not evaluate and not keep:
            return False
        self._tell_all()
        if evaluate and len(job.batches.evaluation):
            self._evaluate()
        if keep:
            self._save()
        self._finished_at = time.perf_counter()
        return keep

    def latest_step(self) -> int | None:
        """Tunix counts the steps of this process."""
        return None if self._saved is None else self._saved - self._first

    def close(self) -> None:
        self._tell_all()

    def _tell_all(self) -> None:
        while self._pending:
            self._tell(self._pending.popleft())

    def _tell(self, pending: _Pending) -> None:
        losses = [float(value) for value in jax.device_get(pending.losses)]
        loss, norm = math.fsum(losses) / len(losses), float(pending.norm)
        now = time.perf_counter()
        seconds, self._finished_at = now - self._finished_at, now
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Failed(
                f"Step {pending.step}: the loss is {loss}, the gradient's norm {norm}; the training has diverged.",
                hint="Lower learning_rate or lengthen warmup_steps; checkpoints before this step are kept.",
            )
        self._job.emit(
            "step",
            step=pending.step,
            epoch=self._job.batches.epoch(pending.step),
            loss=loss,
            learning_rate=self.rate(pending.step),
            grad_norm=norm,
            tokens=pending.tokens,
            tokens_per_second=pending.tokens / seconds,
            step_seconds=seconds,
        )

    def _evaluate(self) -> None:
        _, evaluate = self._trainer.jit_train_and_eval_step(cache_nnx_graph=True)
        batches = self._job.batches.evaluation
        sums = [evaluate(jax_step.inputs(batch))[1] for batch in batches]
        tokens = sum(int(batch.supervised[:, 1:].sum()) for batch in batches)
        loss = math.fsum(float(value) for value in jax.device_get(sums)) / tokens
        if not math.isfinite(loss):
            raise Failed(f"Step {self.step}: the evaluation loss is {loss}; the training has diverged.")
        self._job.emit("eval", step=self.step, loss=loss, tokens=tokens)

    def _save(self) -> None:
        job, trainer = self._job, self._trainer
        header = jax_checkpoint.Header(self.step, job.fingerprint, jax_devices.machine())
        path = jax_checkpoint.save(job.folder, header, _state(trainer), job.config.keep_checkpoints)
        self._saved = self.step
        job.emit("checkpoint", step=self.step, path=path.relative_to(job.folder).as_posix())
