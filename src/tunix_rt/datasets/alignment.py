"""Is a passage a copy of a question with some words changed, or another question of the same template?

Both differ from the question in a few words. A copy differs anywhere; another instance of a template differs in its
slots alone: numbers, a name that is replaced throughout, and whatever else the corpus shows to vary. So a longest
common subsequence of words is found, and each word of the question is weighed: it adds the logarithm of how much
likelier its fate is in a copy, where any word is changed with probability `CHANGED`, than in another instance, where
it agrees with a probability that depends on the word. A change that reads like other prompts of the corpus ("gives
away" for "gets") is one that a template makes. The sum is compared with the prior odds: few questions are copied, and
of many instances one agrees by chance in more than one of few does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import log

import numpy as np
from numpy.typing import NDArray

from tunix_rt.datasets.words import Hashes, Mask

CHANGED = 0.15
NUMBER_AGREES = 0.2
"""Chance that a number agrees in another instance of a template, before the corpus is asked."""
WORD_AGREES = 0.99
"""The same of any other word."""
COPIED = 0.1
"""Share of questions that are taken to be copied, before anything is looked at."""
TEMPLATE = 5
"""Prompts that hold a phrase, from which on it is one of a template."""

_LONGEST = 3  # words that are changed one after the other; more of them count as so many
_SLOT_CHANGED = log(CHANGED / (1 - NUMBER_AGREES))
_WORD_CHANGED = log(CHANGED / (1 - WORD_AGREES))


@dataclass(frozen=True)
class Question:
    """What is compared.

    Attributes:
        words: hashes, (L,).
        numbers: (L,).
        signs: (L,): signs of arithmetic.
        chances: (L,): probability that the word agrees in another instance of the template.
        instances: prompts of the same template, this one included; 1 where there is no other.
    """

    words: Hashes
    numbers: Mask
    signs: Mask
    chances: NDArray[np.float64]
    instances: float


@dataclass(frozen=True)
class Alignment:
    """A question laid over a passage.

    Attributes:
        similarity: words in common, as a share of the longer of the question and what it covers of the passage.
        is_copy: whether the differences are those of a copy.
    """

    similarity: float
    is_copy: bool


def align(question: Question, passage: Hashes, figures: Mask, usual: Mask) -> Alignment:
    """Lay a question over a passage.

    Args:
        question: what is looked for.
        passage: the words about the place to look at, (P,).
        figures: (P,): numbers and signs of arithmetic.
        usual: (P - 2,): whether the three words from each place on, numbers aside, stand in many prompts.
    """
    mine, theirs = question.words.tolist(), passage.tolist()
    pairs = _common(mine, theirs)
    if not pairs:
        return Alignment(0.0, False)
    similarity = len(pairs) / max(len(mine), pairs[-1][1] - pairs[0][1] + 1)
    agrees = np.zeros(len(mine), np.bool_)
    agrees[[i for i, _ in pairs]] = True
    renamed = _replaced(mine, theirs, pairs)
    name = np.zeros(len(mine), np.bool_)
    name[[place for places in renamed for place in places]] = True

    fates = np.where(agrees, np.log((1 - CHANGED) / question.chances), np.log(CHANGED / (1 - question.chances)))
    fates[question.signs & agrees] = 0.0
    fates[name] = 0.0
    varying = question.numbers & (question.chances <= 0.5)
    fates[varying & ~agrees] = 0.0
    mine_figures = question.numbers | question.signs
    evidence, changed = len(renamed) * _SLOT_CHANGED, 0
    for (i, j), (next_i, next_j) in _gaps(pairs, len(mine), figures):
        gap, added = slice(i + 1, next_i), next_j - j - 1
        if next_i - i == 1 and not added:
            continue
        figures_there = int(np.count_nonzero(figures[j + 1 : next_j]))
        more = max(0, figures_there - int(np.count_nonzero(mine_figures[gap])))
        numbers = int(np.count_nonzero(varying[gap]))
        around = usual[max(0, j - 1) : max(0, next_j)]
        long = next_i - i - 1 > _LONGEST
        # A number that is gone without another in its place: no template does that, but where it ends before.
        lost = 0 if long or not around.size else max(0, numbers - figures_there)
        if around.size and around.all():
            fates[gap] = np.minimum(fates[gap], 0.0)
            evidence += (more + numbers + 1) * _SLOT_CHANGED
            changed += more + numbers
        else:
            if long:  # one cut, not many words changed each for itself
                fates[gap] *= _LONGEST / (next_i - i - 1)
            evidence += (more + numbers - lost) * _SLOT_CHANGED + lost * _WORD_CHANGED
            evidence += min(_LONGEST, max(0, added - more - (next_i - i - 1))) * _WORD_CHANGED
            changed += more + numbers - lost
    slots = int(np.count_nonzero(varying))
    if 2 * changed > slots + (slots == 1):
        return Alignment(similarity, False)
    unexplained = question.instances < TEMPLATE and not changed  # by a template: none of its slots differs
    return Alignment(similarity, unexplained or bool(evidence + fates.sum() > log(question.instances / COPIED)))


def _gaps(
    pairs: list[tuple[int, int]], length: int, figures: Mask
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Neighbouring common words; before the first and after the last as many words as the question has there.

    A formula that goes on belongs to what comes after: `2 + 3` is not all of `2 + 3 + 4`.
    """
    (first_i, first_j), (last_i, last_j) = pairs[0], pairs[-1]
    yield (-1, max(0, first_j - first_i) - 1), pairs[0]
    yield from pairwise(pairs)
    end = min(len(figures), last_j + length - last_i)
    while end < len(figures) and figures[end - 1] and figures[end]:
        end += 1
    yield pairs[-1], (length, end)


def _common(mine: list[int], theirs: list[int]) -> list[tuple[int, int]]:
    """A longest common subsequence, as pairs of places; the bit-parallel algorithm of Hyyrö (2004)."""
    places: dict[int, int] = {}
    for i, word in enumerate(mine):
        places[word] = places.get(word, 0) | 1 << i
    full = (1 << len(mine)) - 1
    row, rows = full, []
    for word in theirs:
        hit = row & places.get(word, 0)
        row = ((row + hit) | (row - hit)) & full
        rows.append(row)
    pairs = []
    i, j = len(mine) - 1, len(theirs) - 1
    while i >= 0 and j >= 0:
        if rows[j] >> i & 1:
            i -= 1
        elif j and not rows[j - 1] >> i & 1:
            j -= 1
        else:
            pairs.append((i, j))
            i, j = i - 1, j - 1
    return pairs[::-1]


def _replaced(mine: list[int], theirs: list[int], pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Places of each word that stands in the question several times and is one other word everywhere: a name, say."""
    instead: dict[int, set[int]] = {}
    places: dict[int, list[int]] = {}
    last_i, last_j = -1, -1
    for i, j in [*pairs, (len(mine), len(theirs))]:
        if i - last_i == j - last_j:
            for at in range(1, i - last_i):
                instead.setdefault(mine[last_i + at], set()).add(theirs[last_j + at])
                places.setdefault(mine[last_i + at], []).append(last_i + at)
        last_i, last_j = i, j
    return [
        found
        for word, found in places.items()
        if len(found) > 1 and len(instead[word]) == 1 and mine.count(word) == len(found)
    ]
