"""The loss of a batch in PyTorch: the vocabulary is projected to where there is loss, and nowhere else.

Axes: B rows, T tokens, N tokens of all traces, S supervised ones, D width, V vocabulary.
"""

import contextlib
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import Batch
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.torch_offload import offloading

LOGITS_BYTES = 256 * 2**20
"""Logits are held up to this many bytes at once where `loss_chunk` is left open."""


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
        loss_chunk: supervised tokens whose logits are held at once; they are computed again going back.
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
    chunk = loss_chunk or max(1, LOGITS_BYTES // (4 * d.vocabulary))
    if len(where) <= chunk:
        return _surprise(model.lm_head, d.final_softcap, hidden, wanted)
    pieces = [
        checkpoint(_surprise, model.lm_head, d.final_softcap, *piece, use_reentrant=False)
        for piece in zip(hidden.split(chunk), wanted.split(chunk), strict=True)
    ]
    return torch.stack(pieces).sum()


def targets(batch: Batch) -> Any:
    """Which tokens are targets, bool (B, T): not the first of a row or segment, which has nothing before it."""
    counted = batch.supervised.copy()
    counted[:, :1] = False
    if batch.segments is not None:
        counted[:, 1:] &= batch.segments[:, 1:] == batch.segments[:, :-1]
    return counted


def _surprise(head: Any, softcap: float | None, hidden: Any, wanted: Any) -> Any:
    logits = head(hidden).float()
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return functional.cross_entropy(logits, wanted, reduction="sum")


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
