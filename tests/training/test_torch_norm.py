"""Our RMSNorm beside transformers', of which it keeps the meaning and not the passes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tunix_rt.training.config import ModelDimensions
from tunix_rt.training.engines import architecture, torch_norm

WIDTH = 24


@pytest.mark.parametrize("theirs", [LlamaRMSNorm(WIDTH, 1e-6), Gemma2RMSNorm(WIDTH, 1e-6)], ids=["llama", "gemma"])
@pytest.mark.parametrize(
    ("given", "trained", "tolerance"),
    [(torch.float32, True, 1e-5), (torch.float32, False, 1e-5), (torch.bfloat16, True, 2e-2)],
    ids=["float32", "frozen", "bfloat16"],
)
def test_norms_and_their_gradients_are_those_of_transformers(
    theirs: Any, given: Any, trained: bool, tolerance: float
) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        theirs.weight.normal_()
    theirs.weight.requires_grad_(trained)
    d = architecture.from_scratch(ModelDimensions(), 8, 8)
    ours = torch_norm.RMSNorm(theirs.weight, replace(d, family="gemma2") if "Gemma" in type(theirs).__name__ else d)
    # Queries and keys are normed by head, and lie transposed.
    states = torch.randn(2, 5, 3, WIDTH).to(given).transpose(1, 2)
    found = []
    for norm in (ours, theirs):
        leaf = states.detach().requires_grad_()
        theirs.weight.grad = None
        out = norm(leaf)
        (out.float() * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
        found.append((out, leaf.grad, theirs.weight.grad))
    for one, other in zip(*found, strict=True):
        if other is None:
            assert one is None
            continue
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
