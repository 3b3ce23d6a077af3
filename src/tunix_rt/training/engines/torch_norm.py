"""RMSNorm in fewer passes over memory than transformers' takes, for a CPU has no kernel of it."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from tunix_rt.training.engines.architecture import Dimensions


class RMSNorm(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """x / rms(x) * weight (arXiv:1910.07467), computed in float32; of Gemma * (1 + weight).

    Args:
        weight: (D,)
        d: of the model.
    """

    def __init__(self, weight: Any, d: Dimensions) -> None:
        super().__init__()
        self.weight, self._epsilon, self._gemma = weight, d.norm_epsilon, d.gemma

    def forward(self, states: Any) -> Any:
        """Of (..., D) the same shape; of Gemma the type of what is given, else the wider of that and the weight's."""
        scale = 1 + self.weight.float() if self._gemma else self.weight
        normed = _Normed.apply(states, scale.float(), self._epsilon)
        return normed.to(states.dtype if self._gemma else torch.promote_types(states.dtype, scale.dtype))


class _Normed(torch.autograd.Function):  # type: ignore[misc]  # torch is untyped here
    """With r = 1 / rms(x), y = x r w: dx = r (g w - x r^2 mean(g w x)), and dw = sum(g x r)."""

    @staticmethod
    def forward(context: Any, states: Any, weight: Any, epsilon: float) -> Any:
        x, width = states.float(), states.shape[-1]
        r = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(width).add_(epsilon).rsqrt_()
        context.save_for_backward(states, weight, r)
        return (x * r).mul_(weight)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]  # torch is untyped here
    def backward(context: Any, gradient: Any) -> tuple[Any, Any, None]:
        states, weight, r = context.saved_tensors
        x, width = states.float(), states.shape[-1]
        product = gradient * x
        along = (product @ weight).unsqueeze(-1).mul_(r.pow(3)).div_(-width)
        of_weight = product.reshape(-1, width).T @ r.reshape(-1) if context.needs_input_grad[1] else None
        of_x = torch.mul(gradient, weight, out=product).mul_(r).addcmul_(x, along)
        return of_x, of_weight, None


def put_norms(model: Any, d: Dimensions) -> None:
    """Have a model of transformers compute its norms by `RMSNorm`, with the same parameters."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__.endswith("RMSNorm"):
                setattr(module, name, RMSNorm(child.weight, d))
