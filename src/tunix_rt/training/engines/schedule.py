"""The learning rate of each step, the same in every engine."""

import math

from tunix_rt.training.config import TrainingConfig


def learning_rate(config: TrainingConfig, total_steps: int, step: int) -> float:
    """Learning rate of a step, from 1.

    Step s of the warm-up's w has s / w of the peak. The steps after it go down from the peak so that one more would
    reach the final share; a warm-up longer than the training just ends early.
    """
    warmup, peak, share = config.warmup_steps, config.learning_rate, config.final_learning_rate_share
    if step <= warmup:
        return peak * step / warmup
    gone = (step - 1 - warmup) / (total_steps - warmup)
    if config.schedule == "cosine":
        return peak * (share + (1 - share) * (1 + math.cos(math.pi * gone)) / 2)
    return peak * (1 - (1 - share) * gone) if config.schedule == "linear" else peak
