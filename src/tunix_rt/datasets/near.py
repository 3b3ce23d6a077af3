"""Questions that stand in traces with words changed: passages are found by n-grams and MinHash, then compared."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tunix_rt.datasets.alignment import NUMBER_AGREES, TEMPLATE, WORD_AGREES, Question, align
from tunix_rt.datasets.passages import Lookup, Passages
from tunix_rt.datasets.phrases import Seen, Sketch
from tunix_rt.datasets.words import Hashes, Mask, Places, Words

LEAST_WORDS = 8
"""A shorter question cannot be told from another of its kind by a part of it."""
LEAST_SHARE = 0.5
"""Of a question's 13- or 8-grams, in one trace."""
LEAST_SIMILARITY = 0.65
"""Of a near duplicate: words in common."""

_CANDIDATES = 4  # passages a question that are compared word by word, of each way to find them
_TRUST = 5  # prompts that the corpus has to show before it counts as much as what is assumed of any
_COMMON = 64  # a phrase of more questions than these leads to none of them
_NUMBER = 4.0  # weight of a phrase with a number: that is what tells a question from another of its template
_BANDS, _ROWS = 48, 2  # of MinHash: pairs with a Jaccard index of 0.3 are found in 99 of 100 cases
_LEAST_ESTIMATE = 0.2  # of the Jaccard index, by all of the MinHash


@dataclass(frozen=True)
class Passage:
    """A part of a trace that resembles a question."""

    trace: str
    words: Words


class Candidates:
    """The best passages for each question, a few of them: by score, then the first that came."""

    def __init__(self, questions: int) -> None:
        self.floor = np.zeros(questions)  # what a score must be above to matter
        self._heaps: list[list[tuple[float, int, Passage]]] = [[] for _ in range(questions)]
        self._came = 0

    def keep(self, row: int, score: float, trace: str, words: Words, low: int, high: int) -> None:
        """Keep a passage, `words[low:high]`, for a question where it is among the best."""
        heap = self._heaps[row]
        if score <= self.floor[row]:
            return
        hashes = words.hashes[low:high]
        if any(np.array_equal(hashes, entry[2].words.hashes) for entry in heap if entry[0] == score):
            return
        self._came += 1
        entry = (score, -self._came, Passage(trace, words.cut(low, high)))
        if len(heap) < _CANDIDATES:
            heapq.heappush(heap, entry)
        else:
            heapq.heapreplace(heap, entry)
        if len(heap) == _CANDIDATES:
            self.floor[row] = heap[0][0]

    def of(self, row: int) -> list[Passage]:
        """The best passages for a question, best first."""
        return [passage for *_, passage in sorted(self._heaps[row], key=lambda entry: entry[:2], reverse=True)]


class Near:
    """Looks for questions with words changed.

    Args:
        questions: one text each.
    """

    def __init__(self, questions: Passages) -> None:
        # Half a second of SciPy, which neither the server's start nor any other command has to pay.
        from datasketch import MinHash, MinHashLSH

        self._minhash: Any = MinHash
        self._questions = questions
        self._by_grams, self._by_minhash = (Candidates(len(questions.lengths)) for _ in range(2))
        long = questions.lengths >= LEAST_WORDS

        grams, places = questions.grams(LEAST_WORDS)
        lookup = Lookup(grams)
        rare = lookup.counts[lookup.keys_of(grams)[1]] <= _COMMON
        self._grams, self._gram_places = Lookup(grams[rare]), places[rare]
        self._gram_weights = self._weights(self._gram_places, LEAST_WORDS)

        self._usual = Sketch()
        self._usual.add(_masked(questions).grams(3)[0])
        self._phrases = Seen(_masked(questions), 4)
        self._frames = Seen(_masked(questions), 2)
        self._pairs_seen = Seen(questions, 2)
        keys, places = self._pairs_seen.keys, self._pairs_seen.places
        self._rare = self._pairs_seen.counts <= max(_COMMON // 8, len(questions.lengths) // 50)

        self._scores: dict[int, dict[int, float]] = {}
        kept = self._rare[keys] & long[questions.text[places]]
        weights = self._weights(places, 2)
        for row, key, weight in zip(
            questions.text[places[kept]].tolist(),
            self._pairs_seen.hashes[kept].tolist(),
            weights[kept].tolist(),
            strict=True,
        ):
            self._scores.setdefault(row, {})[key] = weight
        self._scores = {row: scores for row, scores in self._scores.items() if len(scores) >= 2}
        self._rows = np.array(list(self._scores), np.int64)
        self._index = MinHashLSH(num_perm=_BANDS * _ROWS, params=(_BANDS, _ROWS))
        signatures = []
        for place, sketch in enumerate(self._sketches(self._scores.values())):
            self._index.insert(place, sketch)
            signatures.append(sketch.hashvalues)
        self._signatures = np.array(signatures)

    def _weights(self, places: Places, length: int) -> Any:
        numbers = np.concatenate(([0], np.cumsum(self._questions.words.numbers)))
        return np.where(numbers[places + length] > numbers[places], _NUMBER, 1.0)

    def _sketches(self, sets: Iterable[Iterable[int]]) -> Any:
        shortened = ([key >> 32 for key in keys] for keys in sets)
        return self._minhash.generator(shortened, num_perm=_BANDS * _ROWS, hashfunc=int)

    def look(self, traces: Passages, prompt_ends: Places, fresh: Mask, ids: Sequence[str], open_rows: Mask) -> None:
        """Look at traces.

        Args:
            traces: their whole texts, the prompt first.
            prompt_ends: (T,): where the prompt's words end.
            fresh: (T,): whether this prompt was not seen before.
            ids: of the traces.
            open_rows: (Q,): questions that were not found in their whole yet.
        """
        self._look_for_grams(traces, prompt_ends, ids, open_rows)
        self._look_for_prompts(traces, prompt_ends, fresh, ids, open_rows)

    def _look_for_grams(self, traces: Passages, prompt_ends: Places, ids: Sequence[str], open_rows: Mask) -> None:
        questions = self._questions
        grams, places = traces.grams(LEAST_WORDS)
        hits, found = self._grams.find(grams)
        row = questions.text[self._gram_places[found]]
        wanted = open_rows[row]
        hits, found, row = hits[wanted], found[wanted], row[wanted]
        if not len(hits):
            return
        at = places[hits]
        begins = at - (self._gram_places[found] - questions.starts[row])  # where the question would begin
        pairs = traces.text[at] * len(questions.lengths) + row
        pairs, first, group = np.unique(pairs, return_index=True, return_inverse=True)
        scores = np.bincount(group, weights=self._gram_weights[found])
        for k in np.flatnonzero(scores > self._by_grams.floor[row[first]]).tolist():
            text, question, begin = traces.text[at[first[k]]], int(row[first[k]]), begins[first[k]]
            length = questions.lengths[question]
            slack = 3 + length // 3
            end = prompt_ends[text]  # what stands in the prompt is compared with the prompt alone
            floor, top = (traces.starts[text], end) if at[first[k]] < end else (end, traces.starts[text + 1])
            low, high = max(floor, begin - slack), min(top, begin + length + slack)
            self._by_grams.keep(question, scores[k], ids[text], traces.words, low, high)

    def _look_for_prompts(
        self, traces: Passages, prompt_ends: Places, fresh: Mask, ids: Sequence[str], open_rows: Mask
    ) -> None:
        plain = _masked(traces)
        _, grams = _of_prompts(plain, 3, prompt_ends, fresh)
        self._usual.add(grams)
        for seen in (self._phrases, self._frames):
            seen.see(*_of_prompts(plain, seen.length, prompt_ends, fresh))
        text, grams = _of_prompts(traces, 2, prompt_ends, fresh)
        hits, keys = self._pairs_seen.see(text, grams)
        if not len(self._rows):
            return
        common = np.zeros(len(grams), np.bool_)
        common[hits] = ~self._rare[keys]
        pairs, text = grams[~common], text[~common]
        texts = np.flatnonzero(np.bincount(text, minlength=len(ids)) >= 2)
        bounds = np.searchsorted(text, np.stack((texts, texts + 1)))
        sets = [pairs[low:high].tolist() for low, high in bounds.T.tolist()]
        for number, keys_, sketch in zip(texts.tolist(), sets, self._sketches(sets), strict=True):
            near = self._index.query(sketch)
            if not near:
                continue
            close = np.array(near)
            close = close[(self._signatures[close] == sketch.hashvalues).mean(axis=1) >= _LEAST_ESTIMATE]
            for question in self._rows[np.sort(close)].tolist():
                if not open_rows[question]:
                    continue
                scores = self._scores[question]
                score = sum(scores.get(key, 0.0) for key in set(keys_))
                start = traces.starts[number]
                end = min(prompt_ends[number], start + 4 * self._questions.lengths[question])
                self._by_minhash.keep(question, score, ids[number], traces.words, start, end)

    def best(self, row: int) -> tuple[str, float, str] | None:
        """How a question was found with words changed: kind, share and trace; None where it was not."""
        passages = (*self._by_grams.of(row), *self._by_minhash.of(row))
        if not passages:
            return None
        question = self._question(row)
        found: list[tuple[str, float, str]] = []
        for passage in passages:
            split = passage.words
            usual = self._usual.of(_masked(Passages(split, split.starts)).grams(3)[0]) > TEMPLATE
            alignment = align(question, split.hashes, split.numbers | split.signs, usual)
            if not alignment.is_copy:
                continue
            for length in (13, 8):
                share = _share(question.words, split.hashes, length)
                if share >= LEAST_SHARE:
                    found.append((f"ngram_{length}", share, passage.trace))
            if alignment.similarity >= LEAST_SIMILARITY:
                found.append(("near_duplicate", alignment.similarity, passage.trace))
        kinds = ("ngram_13", "ngram_8", "near_duplicate")
        return min(found, key=lambda entry: (kinds.index(entry[0]), -entry[1]), default=None)

    def _question(self, row: int) -> Question:
        """A question, with what the corpus shows of how its words vary between the instances of its template.

        How many there are is told by its phrases of four words, numbers aside, the median of them; how often a word
        agrees in them by the phrases of two words that it stands in, of which those of a word are taken numbers aside.
        """
        words = self._questions.words
        begin, end = self._questions.starts[row], self._questions.starts[row + 1]
        numbers = words.numbers[begin:end]
        instances = float(np.median(self._phrases.counts_of(begin, end)))
        exact, masked = (
            np.maximum(np.append(0, pairs), np.append(pairs, 0))
            for pairs in (self._pairs_seen.counts_of(begin, end), self._frames.counts_of(begin, end))
        )
        others = np.where(numbers, exact, masked) - 1
        before = np.where(numbers, NUMBER_AGREES, WORD_AGREES)
        chances = (others + _TRUST * before) / (instances - 1 + _TRUST)
        most = np.where(numbers & (instances < TEMPLATE), 0.5, WORD_AGREES)
        chances = np.clip(chances, 1e-5, most)
        return Question(words.hashes[begin:end], numbers, words.signs[begin:end], chances, instances)


def _of_prompts(traces: Passages, length: int, ends: Places, fresh: Mask) -> tuple[Places, Hashes]:
    """The runs of some words in the prompts that are new: the trace of each, and its hash."""
    grams, places = traces.grams(length)
    text = traces.text[places]
    wanted = fresh[text] & (places + length <= ends[text])
    return text[wanted], grams[wanted]


def _masked(passages: Passages) -> Passages:
    """The same texts with all numbers equal."""
    words = passages.words
    return Passages(replace(words, hashes=np.where(words.numbers, np.uint64(0), words.hashes)), passages.starts)


def _share(question: Hashes, passage: Hashes, length: int) -> float:
    """Of the n-grams of a question, those that a passage holds; 0 for a question that is too short to have one."""
    if len(question) < length:
        return 0.0
    theirs = {tuple(passage[k : k + length].tolist()) for k in range(len(passage) - length + 1)}
    mine = [tuple(question[k : k + length].tolist()) for k in range(len(question) - length + 1)]
    return sum(gram in theirs for gram in mine) / len(mine)
