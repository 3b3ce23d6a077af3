"""Answers in PyTorch, with transformers' model and cache and a sampling of our own.

As in the other engine, an answer depends on the prompt, its place in the list and the seed, not on its neighbours:
prompts of a similar length are padded to the same width, padding is never attended to, a batch has a fixed number of
rows, and row i draws from (seed, i). Padding stands on the left: the distance of two tokens in the cache is then that
of their positions, which sliding windows go by.

Axes: B rows, P prompt width, M longest answer, V vocabulary.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from tunix_rt.training.engines import (
    Generated,
    Sampling,
    lora,
    sampling_checks,
    torch_attention,
    torch_devices,
    torch_model,
)
from tunix_rt.training.engines.architecture import Dimensions

_ROWS = 64
_NARROWEST = 16


@dataclass(frozen=True)
class Loaded:
    """A model that answers."""

    model: Any
    dimensions: Dimensions


def load(folder: Path) -> Loaded:
    """Read a model folder, or an adapter's with its base, to compute with in float32."""
    opened = lora.open_folder(folder)
    d = opened.dimensions
    return Loaded(torch_model.make(d, opened.config, opened.tensors, torch_devices.device()).eval(), d)


def generate(
    loaded: Loaded, prompts: list[list[int]], sampling: Sampling, done: Callable[[int], None]
) -> list[Generated]:
    """Answer prompts, in order; see `Engine.generate`.

    Raises:
        BadInput: an empty prompt, an id that the model does not have, or more tokens than it has positions.
    """
    sampling_checks.check(loaded.dimensions, prompts, sampling)
    torch_devices.make_exact()
    answers: dict[int, Generated] = {}
    by_width: dict[int, list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        by_width[max(_NARROWEST, 1 << (len(prompt) - 1).bit_length())].append(index)
    rows = min(_ROWS, 1 << (len(prompts) - 1).bit_length()) if prompts else 0
    for width, indices in sorted(by_width.items()):
        for start in range(0, len(indices), rows):
            chosen = indices[start : start + rows]
            padded = [prompts[index] for index in chosen] + [[0]] * (rows - len(chosen))
            with torch.inference_mode(), torch_attention.padded(loaded.model):
                found = _answer(loaded.model, padded, chosen, width, sampling)
            answers |= dict(zip(chosen, found, strict=True))
            done(len(answers))
    return [answers[index] for index in range(len(prompts))]


def _answer(model: Any, prompts: list[list[int]], places: list[int], width: int, sampling: Sampling) -> list[Generated]:
    """Answer one batch; the prompts after the first len(places) only fill it."""
    longest, device = sampling.max_new_tokens, model.device
    rows, asked = len(prompts), len(places)
    tokens = np.zeros((rows, width), np.int64)
    real = np.zeros((rows, width + longest), np.int64)
    for row, prompt in enumerate(prompts):
        tokens[row, width - len(prompt) :] = prompt
        real[row, width - len(prompt) :] = 1
    mask, cache = torch.from_numpy(real).to(device), transformers.DynamicCache(config=model.config)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    chances = torch.from_numpy(_chances(places, rows, sampling)).to(device)
    stop = torch.tensor(sampling.stop, dtype=torch.int64, device=device)
    out = torch.zeros((rows, longest), dtype=torch.int64, device=device)
    counts = torch.zeros(rows, dtype=torch.int64, device=device)
    stopped = torch.zeros(rows, dtype=torch.bool, device=device)
    finished = torch.arange(rows, device=device) >= asked
    given, before = torch.from_numpy(tokens).to(device), 0
    for step in range(longest):
        end = before + given.shape[1]
        logits = model(
            input_ids=given,
            attention_mask=mask[:, :end],
            position_ids=positions[:, before:end],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        drawn = (
            logits.argmax(-1) if sampling.temperature == 0 else _draw(logits, sampling.temperature, chances[:, step])
        )
        out[:, step] = drawn
        stopped |= ~finished & torch.isin(drawn, stop)
        finished |= stopped
        counts += ~finished
        given, before = drawn[:, None], end
        if bool(finished.all()):
            break
    ended, lengths, ids = stopped.tolist(), counts.tolist(), out.cpu()
    return [Generated(ids[row, : lengths[row]].tolist(), "stop" if ended[row] else "length") for row in range(asked)]


def _chances(places: list[int], rows: int, sampling: Sampling) -> NDArray[np.float64]:
    """Numbers in [0, 1), (B, M): a row's follow from the seed and its place; the first ones do not depend on M."""
    found = np.zeros((rows, sampling.max_new_tokens))
    if sampling.temperature > 0:
        for row, place in enumerate(places):
            found[row] = np.random.Generator(np.random.Philox(key=[sampling.seed, place])).random(found.shape[1])
    return found


def _draw(logits: Any, temperature: float, chances: Any) -> Any:
    """The token at whose share of the probability a chance falls, (B,)."""
    shares = (logits.double() / temperature).softmax(-1).cumsum(-1)  # (B, V)
    drawn = torch.searchsorted(shares, chances[:, None] * shares[:, -1:], right=True)[:, 0]
    return drawn.clamp(max=logits.shape[-1] - 1)
