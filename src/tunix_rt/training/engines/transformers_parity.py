"""What transformers makes of a folder that we wrote: its token ids and its logits, beside an engine's own.

Axes: T tokens of a row, V vocabulary.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunix_rt.base import extras
from tunix_rt.base.errors import Failed, cut
from tunix_rt.training.engines import lora

_LOADS = "tunix_rt.training.engines."


TOKENS = ("transformers",)
"""What comparing token ids needs of the extra `torch`."""
LOGITS = ("torch", "transformers")
ADAPTED_LOGITS = (*LOGITS, "peft")
"""What comparing logits needs of it, of a model and of an adapter."""


def require(modules: tuple[str, ...]) -> None:
    """Refuse to compare without these libraries.

    Raises:
        MissingExtra: one of them is not installed.
    """
    extras.require("torch", "A comparison with transformers", modules)


class Tokens:
    """The tokenizer and chat template of a folder as transformers loads them.

    Raises:
        MissingExtra: transformers is not installed.
        Failed: it does not load the folder.
    """

    def __init__(self, folder: Path) -> None:
        require(TOKENS)
        transformers: Any = importlib.import_module("transformers")  # takes seconds
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unloadable(folder, error) from error

    def prompt(self, prompt: str) -> list[int]:
        """Token ids of a prompt, up to where the model goes on."""
        return self._ids([{"role": "user", "content": prompt}], True)

    def row(self, prompt: str, completion: str) -> list[int]:
        """Token ids of a whole conversation."""
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
        return self._ids(messages, False)

    def _ids(self, messages: list[dict[str, str]], more: bool) -> list[int]:
        ids: list[int] = self._tokenizer.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=more, return_dict=False
        )
        return ids


def transformers_logits(folder: Path, rows: Sequence[list[int]]) -> list[NDArray[np.float32]]:
    """Logits float32 (T, V) of each row by transformers, and PEFT where the folder holds an adapter.

    Raises:
        MissingExtra: torch, transformers or PEFT is not installed.
        Failed: the folder does not load.
    """
    adapted = lora.is_adapter(folder)
    require(ADAPTED_LOGITS if adapted else LOGITS)
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    whole = lora.read_adapter(folder).base if adapted else folder
    try:
        # Of transformers' attentions the eager one alone knows Gemma 2's capped scores.
        model = transformers.AutoModelForCausalLM.from_pretrained(
            str(whole), dtype=torch.float32, attn_implementation="eager", local_files_only=True
        )
        if adapted:
            model = importlib.import_module("peft").PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise _unloadable(folder, error) from error
    model.eval()
    with torch.inference_mode():
        return [model(torch.tensor([row])).logits[0].float().numpy() for row in rows]


def engine_logits(engine: str, folder: Path, rows: Sequence[list[int]]) -> list[NDArray[np.float32]]:
    """Logits float32 (T, V) of each row by an engine's own reading of the folder."""
    width = max(map(len, rows))
    tokens = np.zeros((len(rows), width), np.int32)  # padded on the right, which causal attention does not see
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = row
    if engine == "tunix":
        jax: Any = importlib.import_module("jax")
        model = importlib.import_module(f"{_LOADS}jax_generation").load(folder)
        with jax.default_matmul_precision("float32"):
            # As one program, which the cache keeps: operation by operation takes three times as long to compile.
            logits = np.asarray(importlib.import_module("flax").nnx.jit(type(model).__call__)(model, tokens))
    else:
        torch: Any = importlib.import_module("torch")
        model = importlib.import_module(f"{_LOADS}torch_generation").load(folder).model
        with torch.inference_mode():
            found = model(torch.from_numpy(tokens).long().to(next(model.parameters()).device)).logits
        logits = found.float().cpu().numpy()
    return [logits[place, : len(row)] for place, row in enumerate(rows)]


def _unloadable(folder: Path, error: Exception) -> Failed:
    return Failed(
        f"transformers does not load {folder}: {type(error).__name__}: {cut(str(error))}",
        hint="The folder is not one that others can serve; train or merge it again.",
    )
