"""Answers of a model folder to prompts: rendered, stopped and decoded exactly as in training."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tunix_rt.base.errors import BadInput, Fault
from tunix_rt.training import engines
from tunix_rt.training.decoding import Decoding
from tunix_rt.training.engines import Sampling
from tunix_rt.training.render import prompt_tokens
from tunix_rt.training.tokenizer import Folder


def answers(
    model: Path,
    items: Sequence[tuple[str, str]],
    decoding: Decoding,
    device: str,
    done: Callable[[int], None] = lambda _: None,
    engine: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Answer prompts.

    Args:
        model: a folder in the Hugging Face layout.
        items: (id, prompt), ids unique.
        decoding: how.
        device: `auto`, `cpu`, `gpu` or `tpu`.
        done: told how many answers are finished.
        engine: who computes; None: see `engines.pick`.

    Yields:
        Predictions as in `spec/formats.md`, in the order of the items, `sample` 0.. within an item, each with the
        digest of its decoding.

    Raises:
        MissingExtra: no engine is installed, or not the one named.
        BadInput: samples without a temperature; prompts that cannot be rendered, each named.
    """
    chosen = engines.pick(engine)
    if decoding.samples > 1 and decoding.temperature == 0:
        raise BadInput(
            f"{decoding.samples} samples at temperature 0 would all be equal.", hint="Set --temperature, 0.8 say."
        )
    tokenizer = Folder(model)
    prompts = given(tokenizer, items)
    loaded = engines.load(chosen)
    loaded.devices(device)
    sampling = Sampling(decoding.max_new_tokens, decoding.temperature, decoding.seed, tokenizer.stop)
    repeated = [prompt for prompt in prompts for _ in range(decoding.samples)]
    digest = decoding.digest
    generated = loaded.generate(model, repeated, sampling, done)
    for number, answer in enumerate(generated):
        item, sample = divmod(number, decoding.samples)
        yield {
            "id": items[item][0],
            "output": tokenizer.decode(answer.tokens),
            "finish_reason": answer.finish_reason,
            "prompt_tokens": len(prompts[item]),
            "completion_tokens": len(answer.tokens) + (answer.finish_reason == "stop"),
            **({"sample": sample} if decoding.samples > 1 else {}),
            "decoding": digest,
        }


def given(tokenizer: Folder, items: Sequence[tuple[str, str]]) -> list[list[int]]:
    """The token ids that the model is given for prompts.

    Args:
        tokenizer: the model's.
        items: (id, prompt).

    Raises:
        BadInput: prompts that cannot be rendered, each named.
    """
    prompts: list[list[int]] = []
    faults: list[Fault] = []
    for name, prompt in items:
        try:
            prompts.append(prompt_tokens(prompt, tokenizer))
        except BadInput as error:
            faults.append(Fault(name, error.detail))
    if faults:
        raise BadInput(f"{len(faults)} of {len(items)} prompts cannot be given to this model.", faults=faults)
    return prompts
