"""What a step keeps for going back, held in the host's memory in between."""

import contextlib
from typing import Any

import torch

_SMALLEST_BYTES = 2**20  # what is smaller saves nothing worth a copy


def offloading(device: Any) -> contextlib.AbstractContextManager[Any]:
    """Move what autograd keeps of a device to the host, and back when it is asked for; parameters stay where they are.

    Args:
        device: that computes.
    """

    def away(kept: Any) -> tuple[Any, Any]:
        whole = kept if kept._base is None else kept._base
        moves = kept.device.type == device.type and kept.nbytes >= _SMALLEST_BYTES and not whole.is_leaf
        return (kept.device, kept.to("cpu")) if moves else (None, kept)

    def back(packed: tuple[Any, Any]) -> Any:
        where, kept = packed
        return kept if where is None else kept.to(where)

    hooks: contextlib.AbstractContextManager[Any] = torch.autograd.graph.saved_tensors_hooks(away, back)
    return hooks
