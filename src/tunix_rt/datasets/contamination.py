"""Which questions of an eval set stand in training traces: copied, in other case or dots, or with words changed.

One pass over the traces, in memory that depends on the questions alone. Each trace is looked at as its prompt and as
its whole text. What is the same question is told from what only shares its template by `alignment`. What each kind
means and what was measured: docs/contamination.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunix_rt.datasets.near import LEAST_SHARE, LEAST_SIMILARITY, LEAST_WORDS, Near
from tunix_rt.datasets.passages import Lookup, Passages
from tunix_rt.datasets.words import Places, words

METHOD = "overlap-1"
KINDS = ("in_sample", "exact", "normalised", "ngram_13", "ngram_8", "near_duplicate")
"""Strongest first."""

_BATCH_CHARACTERS = 2**20
_REMEMBERED = 2**16  # texts that were looked at: the same one again tells nothing new


@dataclass(frozen=True)
class Overlap:
    """A question that stands in a training trace.

    Attributes:
        kind: how, one of `KINDS`.
        share: 1 where the whole question does; else of its n-grams, or of its words.
        trace: the id of the first such trace, or of the one with the largest share.
    """

    kind: str
    share: float
    trace: str


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
        n_items: questions.
        n_traces: traces that were looked at.
        overlaps: by the question's position, in order.
    """

    n_items: int
    n_traces: int
    overlaps: Mapping[int, Overlap]

    def summary(self) -> dict[str, Any]:
        """The figures with the rule that decided."""
        kinds = [overlap.kind for overlap in self.overlaps.values()]
        return {
            "method": METHOD,
            "thresholds": {"ngram_share": LEAST_SHARE, "similarity": LEAST_SIMILARITY, "least_words": LEAST_WORDS},
            "n_traces": self.n_traces,
            "n_items": self.n_items,
            "n_contaminated": len(kinds),
            "share": len(kinds) / self.n_items if self.n_items else None,
            "kinds": {kind: kinds.count(kind) for kind in KINDS},
        }


@dataclass(frozen=True)
class _Anchor:
    """By which run of words a question is found: its row, and where in it the run begins."""

    lookup: Lookup
    rows: Places
    offsets: Places


class Check:
    """Looks for questions in traces, a batch at a time.

    Args:
        questions: the prompts of an eval set, in order; one may stand there several times.
    """

    def __init__(self, questions: Sequence[str]) -> None:
        self._positions: dict[str, list[int]] = defaultdict(list)
        for position, question in enumerate(questions):
            self._positions[question].append(position)
        self._n_items, self._n_traces = len(questions), 0
        self._texts = list(self._positions)
        self._rows = {text: row for row, text in enumerate(self._texts)}
        self._found: dict[int, Overlap] = {}
        self._rank = np.full(len(self._texts), len(KINDS))  # of what was found, in KINDS
        self._texts_seen, self._prompts_seen = _Recent(), _Recent()
        split = words(self._texts)
        self._questions = Passages(split, split.starts)
        self._whole = self._questions.runs(split.starts[:-1], self._questions.lengths)
        self._anchors = dict(self._anchored())
        self._near = Near(self._questions)

    def _anchored(self) -> Iterator[tuple[int, _Anchor]]:
        """Anchor each question by its rarest 8-gram, a shorter one by all of its words."""
        starts, lengths = self._questions.starts, self._questions.lengths
        grams, places = self._questions.grams(LEAST_WORDS)
        lookup = Lookup(grams)
        row = self._questions.text[places]
        order = np.lexsort((places, lookup.counts[lookup.keys_of(grams)[1]], row))
        chosen = order[np.unique(row[order], return_index=True)[1]]
        yield LEAST_WORDS, _Anchor(Lookup(grams[chosen]), row[chosen], (places - starts[row])[chosen])
        for length in range(1, LEAST_WORDS):
            rows = np.flatnonzero(lengths == length)
            if len(rows):
                yield length, _Anchor(Lookup(self._whole[rows]), rows, np.zeros_like(rows))

    def add(self, traces: Iterable[Mapping[str, Any]]) -> None:
        """Look at traces in the format `trace`, with their ids."""
        batch: list[tuple[str, str, str]] = []
        size = 0
        for trace in traces:
            self._n_traces += 1
            prompt, identity = trace["prompt"], trace["id"]
            if prompt in self._rows:
                self._note(self._rows[prompt], "in_sample", 1.0, identity)
            rest = "\n".join([*(step["content"] for step in trace["steps"]), trace["final_answer"]])
            if not self._texts_seen.new(f"{prompt}\n{rest}"):
                continue
            batch.append((identity, prompt, rest))
            size += len(prompt) + len(rest)
            if size >= _BATCH_CHARACTERS:
                self._look(batch)
                batch, size = [], 0
        if batch:
            self._look(batch)

    def _note(self, row: int, kind: str, share: float, trace: str) -> None:
        if KINDS.index(kind) < self._rank[row]:
            self._rank[row] = KINDS.index(kind)
            self._found[row] = Overlap(kind, share, trace)

    def _look(self, batch: list[tuple[str, str, str]]) -> None:
        split = words([text for _, prompt, rest in batch for text in (prompt, rest)])
        traces = Passages(split, split.starts[::2])
        prompt_ends = split.starts[1::2]
        self._look_for_whole(traces, prompt_ends, batch)
        fresh = np.array([self._prompts_seen.new(prompt) for _, prompt, _ in batch])
        ids = [identity for identity, *_ in batch]
        self._near.look(traces, prompt_ends, fresh, ids, self._rank > KINDS.index("normalised"))

    def _look_for_whole(self, traces: Passages, prompt_ends: Places, batch: list[tuple[str, str, str]]) -> None:
        for length, anchor in self._anchors.items():
            grams, places = traces.grams(length)
            hits, found = anchor.lookup.find(grams)
            rows = anchor.rows[found]
            open_ = self._rank[rows] > KINDS.index("exact")
            rows, begins = rows[open_], (places[hits] - anchor.offsets[found])[open_]
            text = traces.text[places[hits[open_]]]
            fits = (begins >= traces.starts[text]) & (begins + self._questions.lengths[rows] <= traces.starts[text + 1])
            rows, begins, text = rows[fits], begins[fits], text[fits]
            ends = begins + self._questions.lengths[rows]
            same = traces.runs(begins, ends - begins) == self._whole[rows]
            same &= _stands_alone(traces, begins, ends, prompt_ends[text])
            for row, number in zip(rows[same].tolist(), text[same].tolist(), strict=True):
                identity, prompt, rest = batch[number]
                exact = self._texts[row].strip() in f"{prompt}\n{rest}"
                self._note(row, "exact" if exact else "normalised", 1.0, identity)

    def findings(self) -> Findings:
        """What was found in all traces so far."""
        for row in np.flatnonzero(self._rank > KINDS.index("normalised")).tolist():
            best = self._near.best(row)
            if best is not None:
                self._note(row, *best)
        overlaps = {
            position: self._found[row]
            for row, text in enumerate(self._texts)
            if row in self._found
            for position in self._positions[text]
        }
        return Findings(self._n_items, self._n_traces, dict(sorted(overlaps.items())))


class _Recent:
    """Texts that came lately, by hash: some of them are forgotten, none is taken for another one."""

    def __init__(self) -> None:
        self._hashes: set[int] = set()

    def new(self, text: str) -> bool:
        """Whether a text comes for the first time; it is known from then on."""
        if len(self._hashes) >= _REMEMBERED:
            self._hashes.clear()
        before = len(self._hashes)
        self._hashes.add(hash(text))
        return len(self._hashes) > before


def _stands_alone(traces: Passages, begins: Places, ends: Places, prompt_ends: Places) -> Any:
    """Whether a question in a trace is that question: `2 + 3` in `2 + 3 + 4` is not.

    A long one must not go on where it ends (or begins) with a number or sign; one of under 8 words must be a sentence
    of its own, and one of under 3 the whole prompt.
    """
    split, starts = traces.words, traces.starts[:-1]
    figures = np.append(split.numbers | split.signs, False)
    first = starts[traces.text[begins]] == begins
    free_left = first | split.breaks[begins - 1]
    free_right = split.breaks[ends - 1]
    flows_left = ~free_left & figures[begins] & figures[begins - 1]
    flows_right = ~free_right & figures[ends - 1] & figures[ends]
    size = ends - begins
    return np.where(
        size >= LEAST_WORDS,
        ~flows_left & ~flows_right,
        free_left & free_right & ((size >= 3) | first & (ends == prompt_ends)),
    )
