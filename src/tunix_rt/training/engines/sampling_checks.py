"""What every engine refuses to answer, in the same words."""

from tunix_rt.base.errors import BadInput
from tunix_rt.training.engines import Sampling
from tunix_rt.training.engines.architecture import Dimensions


def check(d: Dimensions, prompts: list[list[int]], sampling: Sampling) -> None:
    """Refuse prompts that the model cannot answer.

    Raises:
        BadInput: an empty prompt, an id that the model does not have, more tokens than it has positions, or a sampling
            that is none.
    """
    if sampling.max_new_tokens < 1 or not sampling.temperature >= 0:
        raise BadInput(
            f"max_new_tokens is at least 1 and temperature at least 0, not {sampling.max_new_tokens} and "
            f"{sampling.temperature}."
        )
    for index, prompt in enumerate(prompts):
        if not prompt:
            raise BadInput(f"Prompt {index} has no tokens: there is nothing to continue.")
        if len(prompt) + sampling.max_new_tokens > d.max_positions:
            raise BadInput(
                f"Prompt {index} has {len(prompt)} tokens; with {sampling.max_new_tokens} new ones that is over the "
                f"model's {d.max_positions} positions.",
                hint=f"Set --max-new-tokens to at most {max(0, d.max_positions - len(prompt))}.",
            )
        if not 0 <= min(prompt) <= max(prompt) < d.vocabulary:
            raise BadInput(
                f"Prompt {index} has token ids outside of the model's 0..{d.vocabulary - 1}.",
                hint="The tokenizer does not belong to this model.",
            )
