"""A training in PyTorch: a plain loop of our own over batches by index, so that a resumed training seeks.

AdamW is PyTorch's fused one; clipping, the learning rate and what is divided by are ours, as in the other engine.
"""

import contextlib
import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import (
    Batch,
    Job,
    Outcome,
    checkpoints,
    lora,
    model_folder,
    torch_devices,
    torch_loss,
    torch_model,
)
from tunix_rt.training.engines.beginning import Beginning, beginning
from tunix_rt.training.engines.checkpoints import Header, Tensor
from tunix_rt.training.engines.progress import Progress, resumed
from tunix_rt.training.engines.whole_folder import sweep

_MOMENTS = ("exp_avg", "exp_avg_sq")


def train(job: Job) -> Outcome:
    """Train from `job.resume_from` or the start to `job.total_steps`, and write `model/`.

    Raises:
        BadInput: a base folder or checkpoint that cannot be read.
        Conflict: a checkpoint of another training.
        Failed: a loss or gradient that is not finite.
        DiskFull: while a checkpoint or the model was written.
    """
    torch_devices.make_exact()
    before = resumed(job, torch_devices.machine())
    if job.stopping():  # a large model takes long to read or make
        return Outcome("stopped", before.step if before else 0)
    begun = beginning(job)
    trainer = Trainer(job, begun, before)
    outcome = trainer.run()
    if outcome.reason == "completed":
        sweep(job.folder)
        _write_result(job, begun, trainer.model)
    return outcome


def _write_result(job: Job, begun: Beginning, model: Any) -> None:
    """Write `model/`: the whole model in the config's precision, or the adapter in float32."""
    folder, tensors = job.folder / "model", torch_model.Tensors(model)
    if job.config.method == "lora" and job.base is not None:
        lora.write_adapter(folder, tensors, job.config.lora, job.base, job.special, job.tokenizer)
        return
    kind = ml_dtypes.bfloat16 if job.config.precision == "bfloat16" else np.float32
    model_folder.write_folder(folder, tensors, begun.content, job.special, job.tokenizer, kind)


class _Done(NamedTuple):
    """A step whose numbers may still be computed."""

    step: int
    tokens: int
    losses: list[Any]
    norm: Any
    ids: list[tuple[str, ...]]


class Trainer:
    """A model, its optimizer, and the way through the steps.

    Args:
        job: what is trained.
        begun: the model before its first step.
        before: the checkpoint `job.resume_from`; None at the start.
    """

    def __init__(self, job: Job, begun: Beginning, before: Header | None = None) -> None:
        config, self._job = job.config, job
        self.device = torch_devices.device()
        adapter = config.lora if config.method == "lora" else None
        half = adapter is not None and config.precision == "bfloat16"
        kind = torch.bfloat16 if half else torch.float32  # what is trained is float32 always
        self.dimensions = begun.dimensions
        self.model = torch_model.make(begun.dimensions, begun.content, begun.tensors, self.device, kind, adapter)
        if config.activation_checkpointing:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.parameters = torch_model.trained(self.model)
        self.optimizer = optimizer(config, self.parameters)
        self.step = before.step if before else 0
        if before is not None and job.resume_from is not None:
            self._restore(job.resume_from, self._state(), "")
            for parameter in self.parameters.values():
                self.optimizer.state[parameter]["step"].fill_(self.step)
        elif job.start is not None:
            checkpoints.verify(job.start)
            self._take_parameters(job.start)
        self.progress = Progress(job, self.step, before.progress if before else None)
        # A GPU's numbers are fetched once the next step was started, so that it never waits for them.
        self._lag = int(self.device.type == "cuda")
        self._pending: list[_Done] = []

    def run(self) -> Outcome:
        """Train to the end or to a wish to stop; the model is then the result."""
        job, progress = self._job, self.progress
        self.model.train()
        while self.step < job.total_steps and not progress.stopping:
            self._pending.append(self._train_step())
            self._tell(self._lag)
            if progress.evaluation_due(self.step):
                self._tell(0)
                self._evaluate()
            if progress.checkpoint_due(self.step):
                self._save()
        self._tell(0)
        if self.step and progress.saved_step != self.step:
            self._save()
        outcome, best = progress.outcome(self.step)
        if best is not None:
            self._take_parameters(best)
        return outcome

    def loss(self, batch: Batch) -> Any:
        """Summed loss of a batch, in the config's precision."""
        half = self._job.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if half else contextlib.nullcontext():
            return torch_loss.total(self.model, self.dimensions, batch, self._job.config.loss_chunk)

    def _train_step(self) -> _Done:
        config, losses, tokens, ids = self._job.config, [], 0, []
        for micro in range(config.accumulation):
            batch = self._job.batches.training(self.step + 1, micro)
            loss = self.loss(batch) / batch.weight
            (loss / config.accumulation).backward()
            losses.append(loss.detach())
            tokens += int(batch.lengths.sum())
            ids.append(batch.ids)
        norm = clip(self.parameters, config.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.progress.rate(self.step + 1)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return _Done(self.step, tokens, losses, norm, ids)

    def _tell(self, left: int) -> None:
        """Tell all steps but the newest `left`."""
        while len(self._pending) > left:
            done = self._pending.pop(0)
            self.progress.stepped(done.step, done.tokens, [float(x) for x in done.losses], float(done.norm), done.ids)

    def _evaluate(self) -> None:
        self.model.eval()
        batches = self._job.batches.evaluation
        with torch.inference_mode():
            sums = [self.loss(batch) for batch in batches]
        self.model.train()
        tokens = sum(int(torch_loss.targets(batch).sum()) for batch in batches)
        self.progress.evaluated(self.step, math.fsum(float(value) for value in sums) / tokens, tokens)

    def _save(self) -> None:
        self._tell(0)
        tensors = {
            name: Tensor(tuple(value.shape), np.float32, functools.partial(_fetched, value))
            for name, value in self._state().items()
        }
        self.progress.save(self.step, tensors, torch_devices.machine())

    def _state(self) -> dict[str, Any]:
        """All that a step changes, by name."""
        found = {f"parameters.{name}": value for name, value in self.parameters.items()}
        for moment in _MOMENTS:
            found |= {
                f"optimizer.{moment}.{name}": self.optimizer.state[value][moment]
                for name, value in self.parameters.items()
            }
        return found

    def _take_parameters(self, checkpoint: Path) -> None:
        self._restore(
            checkpoint, {f"parameters.{name}": value for name, value in self.parameters.items()}, "parameters."
        )

    def _restore(self, checkpoint: Path, state: Mapping[str, Any], prefix: str) -> None:
        expected = {name: (tuple(value.shape), np.float32) for name, value in state.items()}
        stored = checkpoints.load(checkpoint, expected, prefix)
        with torch.no_grad():
            for name, value in state.items():
                value.copy_(torch_model.to_torch(stored[name]))


def _fetched(value: Any) -> NDArray[Any]:
    array: NDArray[Any] = value.detach().cpu().numpy()
    return array


def optimizer(config: TrainingConfig, parameters: Mapping[str, Any]) -> Any:
    """AdamW with its moments at zero; decoupled decay (arXiv:1711.05101) of the matrices, the embedding among them."""
    matrices = [value for value in parameters.values() if value.ndim > 1]
    others = [value for value in parameters.values() if value.ndim <= 1]
    made = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            *([{"params": others, "weight_decay": 0.0}] if others else []),
        ],
        lr=0.0,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=True,
    )
    for value in parameters.values():
        step = torch.zeros((), dtype=torch.float32, device=value.device)
        made.state[value] = {"step": step, **{moment: torch.zeros_like(value) for moment in _MOMENTS}}
    return made


def clip(parameters: Mapping[str, Any], limit: float | None) -> Any:
    """Scale the whole gradient down to a global norm of at most `limit`; its norm before, a scalar."""
    gradients = [value.grad for value in parameters.values()]
    norm = torch.nn.utils.get_total_norm(gradients)
    if limit is not None:
        torch._foreach_mul_(gradients, limit / norm.clamp(min=limit))
    return norm
