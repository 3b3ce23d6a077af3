"""Transformers' models with our numbers in them, adapted by PEFT where the method is lora; tensors by folder names.

The class builds no weights of its own and reads no folder: names, shapes and files are checked by `model_folder`, so
that both engines take and refuse the same folders.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers import initialization

from tunix_rt.training.config import LoraChoice
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.torch_alone import ALONE, Alone
from tunix_rt.training.engines.torch_norm import put_norms

_ADAPTER = ".default."  # PEFT's name of the only adapter, which its folders leave out
_ADAPTED = ".base_layer."  # PEFT's name of what was there


def make(
    d: Dimensions,
    content: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]] | None,
    device: Any,
    kind: Any = torch.float32,
    lora: LoraChoice | None = None,
) -> Any:
    """A causal language model of transformers on a device.

    Args:
        d: its dimensions.
        content: its config.json.
        tensors: its numbers by their names in a folder, and an adapter's by theirs; None leaves them unset.
        device: where it computes.
        kind: of the parameters; with `lora` of the frozen ones: those that are trained are float32.
        lora: adapt it, and train the adapter alone.
    """
    config = transformers.AutoConfig.for_model(**{**content, "attention_dropout": 0.0, "use_cache": False})
    # Of transformers' attentions the eager one alone knows Gemma 2's capped scores.
    attention = "eager" if d.attention_softcap else "sdpa"
    with torch.device(device), initialization.no_init_weights():
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=kind, attn_implementation=attention)
    model.tie_weights()
    put_norms(model, d)
    # PyTorch leaves the padding's embedding as it is; ids that Gemma's defaults call so may be tokens here.
    model.get_input_embeddings().padding_idx = None
    if lora is not None:
        import peft  # takes a second, which only adapters need wait for

        choice = peft.LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.targets), task_type="CAUSAL_LM"
        )
        peft.get_peft_model(model, choice)  # changes the layers in place
    if tensors is not None:
        fill(model, tensors)
    return model


def fill(model: Any, tensors: Mapping[str, NDArray[Any]], team: Alone = ALONE) -> None:
    """Give a model, or this device's part of it, its numbers by their names in a folder."""
    for name, parameter in _named(model).items():
        put(parameter, tensors[name], team)


def trained(model: Any) -> dict[str, Any]:
    """The parameters that are trained by their names in a folder."""
    return {name: value for name, value in _named(model).items() if value.requires_grad}


def put(value: Any, array: NDArray[Any], team: Alone) -> None:
    """Copy numbers into a tensor, of one that is divided this device's."""
    with torch.no_grad():
        team.own(value).copy_(to_torch(team.rows(array)))


def to_torch(array: NDArray[Any]) -> Any:
    """A tensor of its own, with an array's numbers and type."""
    copy = np.array(array)
    if copy.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(copy)


class Tensors(Mapping[str, NDArray[Any]]):
    """What is trained of a model by name, float32; fetched from its device when it is asked for."""

    def __init__(self, model: Any) -> None:
        self._values = trained(model)

    def __getitem__(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = self._values[name].detach().float().cpu().numpy()
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _named(model: Any) -> dict[str, Any]:
    """All parameters by their names in a folder."""
    return {
        f"base_model.model.{name.replace(_ADAPTER, '.')}" if _ADAPTER in name else name.replace(_ADAPTED, "."): value
        for name, value in model.named_parameters()
    }
