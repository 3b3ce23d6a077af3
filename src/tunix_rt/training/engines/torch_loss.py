"""The loss of a batch in PyTorch: the vocabulary is projected to where there is loss, and nowhere else.

Axes: B rows, T tokens, N supervised tokens, D width, V vocabulary.
"""

from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tunix_rt.training.engines import Batch
from tunix_rt.training.engines.architecture import Dimensions

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


def total(model: Any, d: Dimensions, batch: Batch, loss_chunk: int | None = None) -> Any:
    """Summed cross entropy of a batch's supervised tokens, each predicted from those before it, in nats: a scalar.

    Args:
        model: of transformers.
        d: its dimensions.
        batch: its rows are cut to the longest one; what is padding alone is left out.
        loss_chunk: supervised tokens whose logits are held at once; they are computed again going back.
    """
    device = model.device
    length, rows = max(2, int(batch.lengths.max())), batch.lengths > 0
    rows[0] |= not rows.any()  # one that is padding alone, where a device has no other
    tokens = torch.from_numpy(batch.tokens[rows, :length]).to(device, torch.int64)
    where = torch.from_numpy(np.flatnonzero(targets(batch)[rows, 1:length])).to(device)
    hidden = model.model(input_ids=tokens, use_cache=False, **_seen(batch, d, rows, length, device)).last_hidden_state
    hidden = hidden[:, :-1].flatten(0, 1).index_select(0, where)  # (N, D)
    wanted = tokens[:, 1:].flatten().index_select(0, where)  # (N,)
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


def _seen(batch: Batch, d: Dimensions, rows: Any, length: int, device: Any) -> dict[str, Any]:
    """What else the decoder is given: nothing (what pads a row on the right is seen by nobody), or for packed rows a
    token's place in its segment and which tokens it sees, (B, 1, T, T)."""
    if batch.segments is None or batch.positions is None:
        return {}
    segments = torch.from_numpy(batch.segments[rows, :length]).to(device)
    positions = torch.from_numpy(batch.positions[rows, :length]).to(device, torch.int64)
    place = torch.arange(length, device=device)
    back = place[:, None] - place[None]
    mask = (segments[:, :, None] == segments[:, None]) & (back >= 0)  # padding is a segment too, so none sees nothing
    masks = {"full_attention": mask, "sliding_attention": mask & (back < (d.window or length))}
    shown = {name: _as_attention_wants(each[:, None], d) for name, each in masks.items()}
    return {"position_ids": positions, "attention_mask": shown if d.sliding else shown["full_attention"]}


def _as_attention_wants(mask: Any, d: Dimensions) -> Any:
    if not d.attention_softcap:
        return mask
    lowest = torch.finfo(torch.float32).min  # the eager attention adds its mask to the scores
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, lowest)
