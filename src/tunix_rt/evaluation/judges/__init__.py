"""Judges by name. There is no default that another name falls back to."""

from tunix_rt.base.errors import BadInput, cut, nearest
from tunix_rt.evaluation.judges.answer_correctness import ANSWER_CORRECTNESS
from tunix_rt.evaluation.judges.contract import Judge, Judgement, Question

__all__ = ["DEFAULT", "JUDGES", "Judge", "Judgement", "Question", "named"]

JUDGES: dict[str, Judge] = {judge.name: judge for judge in (ANSWER_CORRECTNESS,)}
DEFAULT = ANSWER_CORRECTNESS.name


def named(name: str) -> Judge:
    """Find a judge.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in JUDGES:
        raise BadInput(f"No judge named {cut(name, 60)!r}.{nearest(name, JUDGES)}")
    return JUDGES[name]
