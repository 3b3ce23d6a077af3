"""Attention of each trace to itself, in a batch whose traces stand one after the other in a single row.

So no padding is computed, and no mask between packed traces: what a trace is trained on does not depend on how it was
packed, to the bit.

Axes: H heads, K of keys and values, N tokens of all traces, T of one, D of a head.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface

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
    of_each = (states.split(trace_lengths, dim=2) for states in (query, key, value))
    mixed = [_mixed(q, k, v, scaling, sliding_window, softcap) for q, k, v in zip(*of_each, strict=True)]
    return torch.cat([each.transpose(1, 2) for each in mixed], dim=1), None


def _mixed(query: Any, key: Any, value: Any, scaling: float, window: int | None, softcap: float | None) -> Any:
    length = query.shape[2]
    if window is not None and window >= length:
        window = None
    if softcap:
        return _capped(query, key, value, scaling, softcap, window)
    mask = None if window is None else _seen(length, window, query.device)
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=key.shape[1] < query.shape[1],
    )


def _capped(query: Any, key: Any, value: Any, scaling: float, softcap: float, window: int | None) -> Any:
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    scores = softcap * torch.tanh(query @ key.transpose(2, 3) * (scaling / softcap))
    unseen = ~_seen(query.shape[2], window or query.shape[2], query.device)
    return scores.masked_fill(unseen, -torch.inf).softmax(-1, dtype=torch.float32).to(value.dtype) @ value


def _seen(length: int, window: int, device: Any) -> Any:
    """Which tokens a token sees, bool (T, T)."""
    return torch.ones((length, length), dtype=torch.bool, device=device).tril().triu(1 - window)


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
