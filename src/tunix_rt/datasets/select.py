"""Which traces a data set holds, in which order and split: pure functions of the traces and the request."""

import hashlib
import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A trace that the filters let through.

    Attributes:
        number: its row.
        digest: its identity.
        group: what must not be divided between splits.
        steps: how many steps it has.
        characters: length of its prompt, steps and answer together.
    """

    number: int
    digest: str
    group: str
    steps: int
    characters: int


def sample(candidates: Iterable[Candidate], limit: int | None, seed: int) -> list[Candidate]:
    """Draw at random, the same traces for the same seed whatever the database's order.

    Each trace's lot is SHA-256 of seed and identity; the lowest `limit` win, in the order of their lots.
    """

    def lot(candidate: Candidate) -> bytes:
        return hashlib.sha256(f"{seed}|{candidate.digest}".encode()).digest()

    return sorted(candidates, key=lot) if limit is None else heapq.nsmallest(limit, candidates, key=lot)


def split_of(group: str, shares: Mapping[str, float]) -> str:
    """The split of a group: by its hash alone, so that adding traces never moves one.

    Args:
        group: the group key.
        shares: of each split but `train`.
    """
    place = int.from_bytes(hashlib.sha256(b"split|" + group.encode()).digest()[:8]) / 2**64
    for name in sorted(shares):
        place -= shares[name]
        if place < 0:
            return name
    return "train"


def digest(identities: Iterable[str]) -> str:
    """`sha256:` over trace identities in order, each on a line."""
    total = hashlib.sha256()
    for identity in identities:
        total.update(identity.encode() + b"\n")
    return "sha256:" + total.hexdigest()
