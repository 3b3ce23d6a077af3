"""Samples of a training: which prompts are answered at each evaluation, and what memory that takes.

They are the first different prompts of the evaluation split, given as that split renders them, so that the same config
asks the same ones. Answering reads the parameters and changes nothing: a training is the same to the bit without it.

Axes: B prompts, filled up to a power of two, P tokens of a prompt, M of an answer, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import replace

from tunix_rt.training.config import TrainingConfig
from tunix_rt.training.engines import Samples, Sampling, memory_formula
from tunix_rt.training.engines.architecture import Dimensions
from tunix_rt.training.engines.memory import Memory
from tunix_rt.training.folder import RunFolder
from tunix_rt.training.packing import Bucket
from tunix_rt.training.render import Row
from tunix_rt.training.tokenizer import Folder

LONGEST_TOKENS = 128
"""M: what an answer that does not stop is cut at."""
_COPIES = 2  # of keys and values: a longer cache is made beside the one before


def chosen(folder: RunFolder, rows: Sequence[Row], tokenizer: Folder, d: Dimensions) -> Samples | None:
    """The prompts that a run's config asks for; fewer where the split has no more different ones.

    Args:
        folder: the run.
        rows: of its evaluation split, as they are evaluated.
        tokenizer: the run's.
        d: of its model, whose positions an answer must not leave.
    """
    wanted = folder.config.samples
    if not wanted:
        return None
    known = {row.id: row.tokens[: row.start] for row in rows}
    found: dict[str, list[int]] = {}
    for trace in folder.traces("eval"):
        if str(trace["id"]) in known:
            found.setdefault(str(trace["prompt"]), known[str(trace["id"])])
        if len(found) == wanted:
            break
    longest = min(LONGEST_TOKENS, d.max_positions - max(map(len, found.values())))
    return Samples(tuple(found), list(found.values()), Sampling(longest, 0.0, 0, tokenizer.stop), tokenizer.decode)


def counted(memory: Memory, config: TrainingConfig, d: Dimensions, rows: Sequence[Row]) -> Memory:
    """A training's memory at its peak with its samples, which are answered between two steps.

    What is held then are parameters, optimizer and, at most, gradients; where an answer takes more than a step does
    beside them, the difference counts as temporary.
    """
    if not config.samples or not rows:
        return memory
    prompts, width = _power_of_two(min(config.samples, len(rows))), _power_of_two(max(row.start for row in rows))
    cache = _COPIES * 2 * prompts * (width + LONGEST_TOKENS) * d.layers * d.kv_heads * d.head_size
    scores = prompts * d.heads * width * width
    working = prompts * width * (2 * d.width + 2 * d.hidden)
    answering = (cache + scores + working) * memory_formula.compute_bytes(config) + 2 * prompts * d.vocabulary * 4
    over = answering - memory.activations - memory.logits - memory.temporary
    return replace(memory, temporary=memory.temporary + max(0, over))


def computed(config: TrainingConfig, rows: Sequence[Row]) -> tuple[Bucket, ...]:
    """What an evaluation's samples compute, as a batch of prompts whose answers do not stop.

    Args:
        config: the training's.
        rows: of its evaluation split.
    """
    count = min(config.samples, len(rows))
    width = max((row.start for row in rows[:count]), default=0) + LONGEST_TOKENS
    return (Bucket(width, count, tuple((number,) for number in range(count))),) if count else ()


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()
