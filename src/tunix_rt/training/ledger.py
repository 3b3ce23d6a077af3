"""The ledger: every row and every token of a data set, accounted for before anything is trained.

Three sums always hold (a property test says so):
    rows.total = rows.trained + sum(rows.rejected)
    tokens.total = supervised + context + truncated + rejected
    sum of rows * width over an epoch's batches = supervised + context + padding
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tunix_rt.base.errors import BadInput, Fault
from tunix_rt.training import packing
from tunix_rt.training.config import DataChoice, TrainingConfig
from tunix_rt.training.render import Rejected, Row, row
from tunix_rt.training.tokenizer import Folder

SHOWN = 100
MEND = {
    "overlong": "raise data.max_length (audit: --max-length), or say data.overlong: drop or truncate (--overlong)",
    "answer_cut_off": "raise data.max_length (audit: --max-length)",
    "no_supervised_tokens": "use a tokenizer whose chat template renders the assistant's turn",
    "stop_not_supervised": "use a chat template that ends the assistant's turn with the stop token",
    "prompt_not_prefix": "use a chat template whose prompt stays the same once the answer follows",
    "control_token_in_text": "edit these traces, or use a tokenizer without that control token",
    "unknown_character": "use tokenizer.kind: bpe, which expresses every text",
    "template_fails": "mend the tokenizer's chat template",
}


@dataclass
class Ledger:
    """What becomes of each row and each token.

    Attributes:
        choice: template, maximum length and what is done with overlong rows.
        tokenizer: its digest.
        config: says how rows share batches, whose padding is counted, with the empty rows that fill up a last batch;
            None: nothing is trained yet, and each row is padded to the longest.
        supervised: tokens that are targets of the loss, over the trained rows.
        context: tokens that are read only.
        truncated: tokens cut from prompts.
        lost: tokens of rejected rows.
        lengths: tokens of each trained row, in order.
        rejected: how many rows for each reason.
        problems: the first rejected rows, each with its number from 1.
    """

    choice: DataChoice
    tokenizer: str
    config: TrainingConfig | None = None
    supervised: int = 0
    context: int = 0
    truncated: int = 0
    truncated_rows: int = 0
    lost: int = 0
    lengths: list[int] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[int, Rejected]] = field(default_factory=list)
    total: int = 0

    def add(self, entry: Row | Rejected) -> None:
        """Enter a row."""
        self.total += 1
        if isinstance(entry, Rejected):
            self.rejected[entry.reason] += 1
            self.lost += entry.tokens
            if len(self.problems) < SHOWN:
                self.problems.append((self.total, entry))
            return
        self.lengths.append(len(entry.tokens))
        self.supervised += entry.stop - entry.start
        self.context += len(entry.tokens) - (entry.stop - entry.start)
        self.truncated += len(entry.truncated)
        self.truncated_rows += bool(entry.truncated)

    @property
    def width(self) -> int:
        """Tokens of the widest row that is computed; without a config the longest one's, rounded up to a multiple of 8,
        at most `max_length`."""
        return max((width for width, _, _ in self._batches()), default=0)

    def _batches(self) -> list[tuple[int, int, int]]:
        """(width, rows, batches) of an epoch, widest first."""
        if not self.lengths:
            return []
        if self.config is None:
            longest = max(self.lengths)
            return [(min(packing.rounded(longest), self.choice.max_length or longest + 8), 1, len(self.lengths))]
        return [(found.width, found.rows, found.batches) for found in packing.buckets(self.lengths, self.config)]

    @property
    def fatal(self) -> dict[str, int]:
        """Reasons for which the data set is refused; leaving out overlong rows on purpose is none."""
        meant = {"overlong"} if self.choice.overlong == "drop" else set()
        return {reason: count for reason, count in sorted(self.rejected.items()) if reason not in meant}

    def document(self) -> dict[str, Any]:
        """The ledger as plain JSON."""
        kept, batches = np.array(self.lengths or [0]), self._batches()
        computed = sum(width * rows * count for width, rows, count in batches)
        return {
            "template": self.choice.template,
            "max_length": self.choice.max_length,
            "overlong": self.choice.overlong,
            "tokenizer": self.tokenizer,
            "width": max((width for width, _, _ in batches), default=0),
            "batching": self.config.batching if self.config else "padded",
            "batches": [{"width": width, "rows": rows, "batches": count} for width, rows, count in batches],
            "rows": {
                "total": self.total,
                "trained": len(self.lengths),
                "truncated": self.truncated_rows,
                "rejected": dict(sorted(self.rejected.items())),
            },
            "tokens": {
                "total": self.supervised + self.context + self.truncated + self.lost,
                "supervised": self.supervised,
                "context": self.context,
                "truncated": self.truncated,
                "rejected": self.lost,
                "padding": computed - self.supervised - self.context,
            },
            "lengths": {
                "min": int(kept.min()),
                "mean": round(float(kept.mean()), 2),
                "p95": int(np.percentile(kept, 95, method="higher")),
                "max": int(kept.max()),
            },
            "ok": not self.fatal and bool(self.lengths),
            "problems": [
                {"row": number, "id": entry.id, "reason": entry.reason, "detail": entry.detail}
                for number, entry in self.problems
            ],
        }

    def refuse(self, what: str) -> None:
        """Stop before anything is trained, if this data set must not be.

        Raises:
            BadInput: rows that cannot be trained, named with the mend; or no row at all.
        """
        if self.fatal:
            counts = ", ".join(f"{count} {reason}" for reason, count in self.fatal.items())
            shown = [item for item in self.problems if item[1].reason in self.fatal][:20]
            raise BadInput(
                f"{what}: {sum(self.fatal.values())} of {self.total} rows cannot be trained ({counts}).",
                hint="Mend: " + "; ".join(MEND[reason] for reason in self.fatal) + ".",
                faults=[
                    Fault(f"row {number} ({entry.id})", f"{entry.reason}: {entry.detail}") for number, entry in shown
                ],
            )
        if not self.lengths:
            raise BadInput(
                f"{what}: no row is left to train ({self.total} read).",
                hint=MEND["overlong"].capitalize() + "." if self.rejected else "Is the split's name right?",
            )


def rows(traces: Iterable[dict[str, Any]], tokenizer: Folder, choice: DataChoice, ledger: Ledger) -> Iterator[Row]:
    """Render traces, entering each into the ledger; yields those that are trained."""
    for trace in traces:
        entry = row(trace, tokenizer, choice)
        ledger.add(entry)
        if isinstance(entry, Row):
            yield entry
