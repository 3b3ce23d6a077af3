"""Attention of each trace to itself, in a batch whose traces stand one after the other in a single row.

So no padding is computed, and no mask between packed traces: what a trace is trained on does not depend on how it was
packed, to the bit.

Axes: H heads, K of keys and values, N tokens of all traces, T of one, D of a head.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface

from tunix_rt.training.engines import memory_formula

_NAME = "tunix_rt_by_trace"


def by_trace(
    _layer: Any,
    query: Any,
    key: Any,
    value: Any,
    _mask: None,
    *,
    trace_lengths: list[int],
    scaling: float,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Any, None]:
    """An attention as transformers calls one: queries (1, H, N, D), keys and values (1, K, N, D) -> (1, N, H, D).

    Args:
        query: of all traces.
        key: of all traces.
        value: of all traces.
        trace_lengths: tokens of each trace in turn, N together.
        scaling: of the scores.
        sliding_window: how many tokens a token sees, itself among them; None: all before it.
        softcap: scores are squeezed into this many, both ways (arXiv:2408.00118, section 2).
    """
    of_each = zip(*(states.split(trace_lengths, dim=2) for states in (query, key, value)), strict=True)
    limit = _plain_up_to(query, softcap)
    unseen = _unseen(max((n for n in trace_lengths if n <= limit), default=0), sliding_window, query)
    mixed = [
        _plainly(q, k, v, scaling, softcap, unseen) if q.shape[2] <= limit else _fused(q, k, v, scaling, sliding_window)
        for q, k, v in of_each
    ]
    return torch.cat([each.transpose(1, 2) for each in mixed], dim=1), None


def _plain_up_to(query: Any, softcap: float | None) -> float:
    """Tokens of a trace up to which attention is plain products: PyTorch's fused kernel knows no cap, and is slower on
    a CPU for short traces (a third at 128 tokens, not at all beyond 256)."""
    if softcap:
        return math.inf
    precise = query.dtype == torch.float32 and not torch.is_autocast_enabled(query.device.type)
    return memory_formula.PLAIN_TOKENS if precise and query.device.type == "cpu" else 0


def _fused(query: Any, key: Any, value: Any, scaling: float, window: int | None) -> Any:
    length = query.shape[2]
    mask = None if window is None or window >= length else _unseen(length, window, query) == 0
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=key.shape[1] < query.shape[1],
    )


def _plainly(query: Any, key: Any, value: Any, scaling: float, softcap: float | None, unseen: Any) -> Any:
    length, groups = query.shape[2], query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    unseen = unseen[:length, :length]
    if softcap:
        scores = softcap * torch.tanh(query @ key.transpose(2, 3) * (scaling / softcap)) + unseen
    else:
        scores = torch.baddbmm(unseen, query[0], key[0].transpose(1, 2), alpha=scaling)[None]
    return scores.softmax(-1, dtype=torch.float32).to(value.dtype) @ value


def _unseen(length: int, window: int | None, like: Any) -> Any:
    """What is added to scores, (T, T): 0 where a token sees another, else minus infinity."""
    seen = torch.ones((length, length), dtype=torch.bool, device=like.device).tril().triu(1 - (window or length))
    return torch.zeros((length, length), dtype=like.dtype, device=like.device).masked_fill_(~seen, -torch.inf)


AttentionInterface.register(_NAME, by_trace)


def attend_by_trace(model: Any) -> None:
    """Have a model call `by_trace`; every call of it must then say the `trace_lengths`."""
    model.set_attn_implementation(_NAME)


@contextlib.contextmanager
def padded(model: Any) -> Iterator[None]:
    """Have a model take rows with padding and masks meanwhile, whatever it is trained with."""
    trained_with = model.config._attn_implementation
    if trained_with != _NAME:
        yield
        return
    model.set_attn_implementation("eager" if getattr(model.config, "attn_logit_softcapping", None) else "sdpa")
    try:
        yield
    finally:
        model.set_attn_implementation(_NAME)
