"""The loss of a batch in PyTorch: the vocabulary is projected to where there is loss, and nowhere else.

Axes: B rows, T tokens, N tokens of all traces, S supervised ones, D width, V vocabulary.
"""

import contextlib
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import Batch, memory_formula
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.torch_offload import offloading


class Loss(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """`total` of a model as a module: what is divided among devices comes together where a module is called.

    Args:
        model: of transformers.
        d: its dimensions.
        loss_chunk: see `total`.
    """

    def __init__(self, model: Any, d: Dimensions, loss_chunk: int | None) -> None:
        super().__init__()
        self.model, self._dimensions, self._loss_chunk = model, d, loss_chunk

    def forward(self, batch: Batch) -> Any:
        return total(self.model, self._dimensions, batch, self._loss_chunk)


def computing(config: TrainingConfig, device: Any) -> contextlib.AbstractContextManager[Any]:
    """How a loss is computed on a device: in the config's precision, with what is kept for going back where it says."""
    with contextlib.ExitStack() as stack:
        if config.activation_offload:
            stack.enter_context(offloading(device))
        if config.precision == "bfloat16":
            stack.enter_context(torch.autocast(device.type, torch.bfloat16))
        return stack.pop_all()


def total(model: Any, d: Dimensions, batch: Batch, loss_chunk: int | None = None) -> Any:
    """Summed cross entropy of a batch's supervised tokens, each predicted from those before it, in nats: a scalar.

    Args:
        model: of transformers, attending by trace (`torch_attention`).
        d: its dimensions.
        batch: its traces are put into one row; padding is left out.
        loss_chunk: supervised tokens whose logits are held at once.
    """
    tokens, positions, counted, lengths = _in_one_row(batch)
    where = np.flatnonzero(counted)
    given, place, before, at = (
        torch.from_numpy(each).to(model.device, torch.int64) for each in (tokens, positions, where - 1, where)
    )
    hidden = model.model(
        input_ids=given[None], position_ids=place[None], use_cache=False, trace_lengths=lengths
    ).last_hidden_state[0]
    hidden, wanted = hidden.index_select(0, before), given.index_select(0, at)  # (S, D), (S,)
    chunk = loss_chunk or max(1, memory_formula.LOGITS_BYTES // (4 * d.vocabulary))
    return _Surprise.apply(hidden, model.lm_head.weight, wanted, d.final_softcap, chunk, torch.is_grad_enabled())


def targets(batch: Batch) -> Any:
    """Which tokens are targets, bool (B, T): not the first of a row or segment, which has nothing before it."""
    counted = batch.supervised.copy()
    counted[:, :1] = False
    if batch.segments is not None:
        counted[:, 1:] &= batch.segments[:, 1:] == batch.segments[:, :-1]
    return counted


class _Surprise(torch.autograd.Function):  # type: ignore[misc]  # torch is untyped here
    """Summed cross entropy of logits that are held once, a chunk at a time.

    A chunk's gradient is taken while its logits are there, and in their place (arXiv:2410.10989, section 3.2).
    """

    @staticmethod
    def forward(
        context: Any, hidden: Any, weight: Any, wanted: Any, softcap: float | None, chunk: int, differentiated: bool
    ) -> Any:
        total, device = hidden.new_zeros((), dtype=torch.float32), hidden.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        table = weight.to(kind)
        of_hidden = torch.empty_like(hidden) if differentiated else None
        of_weight = torch.zeros_like(weight) if differentiated and weight.requires_grad else None
        for begin in range(0, len(wanted), chunk):
            here = slice(begin, begin + chunk)
            into = None if of_hidden is None else (of_hidden[here], of_weight)
            total += _of_chunk(hidden[here].to(kind), table, wanted[here, None], softcap, into)
        context.gradients = of_hidden, of_weight  # attributes: what is saved may be offloaded
        return total

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]  # torch is untyped here
    def backward(context: Any, gradient: Any) -> tuple[Any, ...]:
        of_hidden, of_weight = context.gradients
        del context.gradients
        return of_hidden.mul_(gradient), None if of_weight is None else of_weight.mul_(gradient), *[None] * 4


def _of_chunk(hidden: Any, table: Any, wanted: Any, softcap: float | None, into: tuple[Any, Any] | None) -> Any:
    """Summed cross entropy of (C, D), where (C, 1) is wanted; its gradients are put `into` (C, D) and added to (V, D).

    A function of its own, so that one chunk's logits are gone when the next one's are made.
    """
    logits, slope = _capped((hidden @ table.T).float(), softcap)
    logits.sub_(logits.amax(-1, keepdim=True))
    likely = logits.gather(-1, wanted)
    shares = logits.exp_()
    sums = shares.sum(-1, keepdim=True)
    surprise = (sums.log() - likely).sum()
    if into is None:
        return surprise
    shares.div_(sums)
    shares.scatter_(-1, wanted, shares.gather(-1, wanted) - 1)
    if slope is not None:
        shares.mul_(slope)
    shares = shares.to(table.dtype)
    of_hidden, of_weight = into
    of_hidden.copy_(shares @ table)
    if of_weight is not None and of_weight.dtype == table.dtype:
        of_weight.addmm_(shares.T, hidden)
    elif of_weight is not None:
        of_weight += shares.T @ hidden
    return surprise


def _capped(logits: Any, softcap: float | None) -> tuple[Any, Any]:
    """Logits in their place as c tanh(l / c), and the slope of that; None: as they are, and none."""
    if softcap is None:
        return logits, None
    bent = logits.div_(softcap).tanh_()
    slope = bent.square().neg_().add_(1)
    return bent.mul_(softcap), slope


def _in_one_row(batch: Batch) -> tuple[Any, Any, Any, list[int]]:
    """A batch's traces one after the other, without padding.

    Returns:
        tokens, their places in their traces, which are targets: each (N,); how many tokens each trace has.
    """
    size = batch.tokens.shape
    segments = np.ones(size, np.int32) if batch.segments is None else batch.segments
    real = (np.arange(size[1]) < batch.lengths[:, None]) & (segments > 0)
    if not real.any():  # a device's share may be padding alone: it computes what counts for nothing
        return batch.tokens[0, :2], np.arange(2), np.zeros(2, np.bool_), [2]
    row, column = np.nonzero(real)
    segment = segments[row, column]
    begins = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(segment, prepend=0) != 0))
    lengths = np.diff(begins, append=len(row))
    positions = np.arange(len(row)) - np.repeat(begins, lengths)
    return batch.tokens[real], positions, targets(batch)[real], lengths.tolist()
