"""A training in PyTorch: a plain loop of our own over batches by index, so that a resumed training seeks.

AdamW is PyTorch's fused one; clipping, the learning rate and what is divided by are ours, as in the other engine.
"""

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import (
    Batch,
    Generated,
    Job,
    Outcome,
    Sampling,
    checkpoints,
    lora,
    model_folder,
    torch_attention,
    torch_devices,
    torch_generation,
    torch_loss,
    torch_model,
)
from tunix_rt.training.engines.beginning import Beginning, beginning
from tunix_rt.training.engines.checkpoints import Header, Tensor
from tunix_rt.training.engines.in_flight import InFlight, Step
from tunix_rt.training.engines.progress import Progress, resumed
from tunix_rt.training.engines.torch_alone import ALONE, Alone
from tunix_rt.training.engines.whole_folder import sweep

_MOMENTS = ("exp_avg", "exp_avg_sq")
_PARAMETERS = "parameters."


def train(job: Job, team: Alone = ALONE) -> Outcome:
    """Train from `job.resume_from` or the start to `job.total_steps`, and write `model/`.

    Args:
        job: what is trained; each process of a team has it.
        team: this process's part in it.

    Raises:
        BadInput: a base folder or checkpoint that cannot be read.
        Conflict: a checkpoint of another training.
        Failed: a loss or gradient that is not finite.
        DiskFull: while a checkpoint or the model was written.
    """
    torch_devices.make_exact(team.size)
    before = resumed(job, torch_devices.machine(team.mesh))
    if job.stopping():  # a large model takes long to read or make
        return Outcome("stopped", before.step if before else 0)
    begun = beginning(job)
    trainer = Trainer(job, begun, before, team)
    outcome = trainer.run()
    if outcome.reason == "completed" and team.first:
        sweep(job.folder)
        _write_result(job, begun, _result(job, outcome) if team.size > 1 else torch_model.Tensors(trainer.model))
    return outcome


def _result(job: Job, outcome: Outcome) -> dict[str, NDArray[Any]]:
    """The trained parameters, from the checkpoint that has them whole, when each device holds a part."""
    path = checkpoints.path_of(job.folder, outcome.step if outcome.best_step is None else outcome.best_step)
    stored = checkpoints.load(path)
    return {name.removeprefix(_PARAMETERS): array for name, array in stored.items() if name.startswith(_PARAMETERS)}


def _write_result(job: Job, begun: Beginning, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write `model/`: the whole model in the config's precision, or the adapter in float32."""
    folder = job.folder / "model"
    if job.config.method == "lora" and job.base is not None:
        lora.write_adapter(folder, tensors, job.config.lora, job.base, job.special, job.tokenizer)
        return
    kind = ml_dtypes.bfloat16 if job.config.precision == "bfloat16" else np.float32
    model_folder.write_folder(folder, tensors, begun.content, job.special, job.tokenizer, kind)


class Trainer:
    """A model, its optimizer, and the way through the steps.

    Args:
        job: what is trained.
        begun: the model before its first step.
        before: the checkpoint `job.resume_from`; None at the start.
        team: this process's part in it.
    """

    def __init__(self, job: Job, begun: Beginning, before: Header | None = None, team: Alone = ALONE) -> None:
        config, self._job, self._team = job.config, job, team
        self.device = torch_devices.device()
        adapter = config.lora if config.method == "lora" else None
        half = adapter is not None and config.precision == "bfloat16"
        kind = torch.bfloat16 if half else torch.float32  # what is trained is float32 always
        # Several devices get their parts of what is made on the host, where memory that nobody has written takes none.
        where = self.device if team.size == 1 else torch.device("cpu")
        self.model = torch_model.make(begun.dimensions, begun.content, None, where, kind, adapter)
        torch_attention.attend_by_trace(self.model)
        if config.activation_checkpointing:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self._dimensions = begun.dimensions
        self._loss = torch_loss.Loss(self.model, begun.dimensions, config.loss_chunk)
        team.divide(self._loss, self.model.model.layers)
        torch_model.fill(self.model, begun.tensors, team)
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
        self.in_flight = InFlight(self.progress, depth=int(self.device.type == "cuda"))

    def run(self) -> Outcome:
        """Train to the end or to a wish to stop; the model is then the result."""
        job, progress = self._job, self.progress
        self.model.train()
        while self.step < job.total_steps and not progress.stopping:
            self.in_flight.add(self._train_step())
            if progress.evaluation_due(self.step):
                self.in_flight.drain()
                self._evaluate()
                progress.sampled(self.step, self._answer)
            if progress.checkpoint_due(self.step):
                self._save()
        self.in_flight.drain()
        if self.step and progress.saved_step != self.step:
            self._save()
        outcome, best = progress.outcome(self.step)
        if best is not None:
            self._take_parameters(best)
        return outcome

    def loss(self, batch: Batch) -> Any:
        """Summed loss of a batch, in the config's precision."""
        with torch_loss.computing(self._job.config, self.device):
            return self._loss(batch)

    def _train_step(self) -> Step:
        config, losses, tokens, ids = self._job.config, [], 0, []
        for micro in range(config.accumulation):
            batch = self._job.batches.training(self.step + 1, micro)
            loss = self.loss(self._team.share(batch)) / batch.weight
            (loss * self._team.size / config.accumulation).backward()  # a team's gradient is the mean of its members'
            losses.append(loss.detach())
            del loss  # and the graph behind it, before the next one is made
            tokens += int(batch.lengths.sum())
            ids.append(batch.ids)
        norm = clip(self.parameters, config.clip_norm, self._team)
        for group in self.optimizer.param_groups:
            group["lr"] = self.progress.rate(self.step + 1)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        numbers = torch.cat([self._team.sum(torch.stack(losses)), norm.reshape(1)])
        return Step(self.step, tokens, ids, *_readers(numbers))

    def _evaluate(self) -> None:
        self.model.eval()
        batches = self._job.batches.evaluation
        with torch.no_grad():
            sums = self._team.sum(torch.stack([self.loss(self._team.share(batch)) for batch in batches]))
        self.model.train()
        tokens = sum(int(torch_loss.targets(batch).sum()) for batch in batches)
        self.progress.evaluated(self.step, math.fsum(float(value) for value in sums) / tokens, tokens)

    def _answer(self, prompts: list[list[int]], sampling: Sampling) -> list[Generated]:
        self.model.eval()
        loaded = torch_generation.Loaded(self.model, self._dimensions)
        with torch_loss.computing(self._job.config, self.device):
            found = torch_generation.generate(loaded, prompts, sampling, lambda _: None)
        self.model.train()
        return found

    def _save(self) -> None:
        self.in_flight.drain()
        tensors = {
            name: Tensor(tuple(value.shape), np.float32, functools.partial(self._fetched, value))
            for name, value in self._state().items()
        }
        if self._team.first:
            self.progress.save(self.step, tensors, torch_devices.machine(self._team.mesh))
            return
        for tensor in tensors.values():  # which the first writes
            tensor.fetch()
        self.progress.saved(self.step, checkpoints.path_of(self._job.folder, self.step))

    def _fetched(self, value: Any) -> NDArray[Any]:
        array: NDArray[Any] = self._team.whole(value.detach()).cpu().numpy()
        return array

    def _state(self) -> dict[str, Any]:
        """All that a step changes, by name."""
        found = {f"{_PARAMETERS}{name}": value for name, value in self.parameters.items()}
        for moment in _MOMENTS:
            found |= {
                f"optimizer.{moment}.{name}": self.optimizer.state[value][moment]
                for name, value in self.parameters.items()
            }
        return found

    def _take_parameters(self, checkpoint: Path) -> None:
        self._restore(
            checkpoint, {f"{_PARAMETERS}{name}": value for name, value in self.parameters.items()}, _PARAMETERS
        )

    def _restore(self, checkpoint: Path, state: Mapping[str, Any], prefix: str) -> None:
        expected = {name: (tuple(value.shape), np.float32) for name, value in state.items()}
        stored = checkpoints.load(checkpoint, expected, prefix)
        for name, value in state.items():
            torch_model.put(value, stored[name], self._team)


def _readers(numbers: Any) -> tuple[Callable[[], bool], Callable[[], tuple[list[float], float]]]:
    """`Step.ended` and `Step.numbers` of the losses of a step's micro-batches and, last, the gradient's norm."""
    # Reading a GPU's tensor waits for all that the GPU was given, the next step too; this copy waits for this step.
    fetched = numbers.to("cpu", non_blocking=True)
    copied = torch.cuda.current_stream(numbers.device).record_event() if numbers.is_cuda else None

    def read() -> tuple[list[float], float]:
        if copied is not None:
            copied.synchronize()
        *losses, norm = fetched.tolist()
        return losses, norm

    return lambda: copied is None or copied.query(), read


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


def clip(parameters: Mapping[str, Any], limit: float | None, team: Alone = ALONE) -> Any:
    """Scale the whole gradient down to a global norm of at most `limit`; its norm before, a scalar."""
    gradients = [value.grad for value in parameters.values()]
    norm = team.whole(torch.nn.utils.get_total_norm(gradients))
    if limit is not None:
        torch._foreach_mul_([team.own(gradient) for gradient in gradients], limit / norm.clamp(min=limit))
    return norm
