"""Seeded draws without repetition, equal on every machine and every Python.

They use nothing of `random` but `Random(str)` and `random()`, the two that Python promises to keep as they are.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple, TypeVar

from tunix_rt.base.errors import BadInput

Item = TypeVar("Item")


class Space(NamedTuple):
    """A set of `size` members, numbered from 0, of which `weight` says how often it is drawn from."""

    size: int
    weight: int = 1


def seeded(name: str, seed: int) -> Random:
    """A generator of random numbers of its own for each source and seed."""
    return Random(f"{name}/{seed}")


def below(random: Random, limit: int) -> int:
    """Draw a whole number from 0 to `limit - 1`."""
    if limit <= 2**53:
        return int(random.random() * limit)
    bits = 32 * (limit.bit_length() // 32 + 2)
    value = 0
    for _ in range(bits // 32):
        value = value << 32 | int(random.random() * 2**32)
    return value * limit >> bits


def pick(random: Random, items: Sequence[Item]) -> Item:
    """Draw one of `items`."""
    return items[int(random.random() * len(items))]


def require(count: int, spaces: Sequence[Space], hint: str) -> None:
    """Refuse a count that the spaces cannot fill.

    Raises:
        BadInput: the count is negative, or larger than the spaces are together.
    """
    if count < 0:
        raise BadInput(f"The count of traces is {count}; it must be 0 or more.")
    size = sum(space.size for space in spaces)
    if count > size:
        raise BadInput(
            f"{count:,} traces were asked for, and only {size:,} distinct ones exist with these options.", hint=hint
        )


def balanced(one: Sequence[Space], other: Sequence[Space]) -> list[Space]:
    """Join two lists of spaces so that each list as a whole is drawn from equally often."""
    totals = [sum(space.weight for space in spaces) for spaces in (one, other)]
    return [Space(size, weight * totals[1]) for size, weight in one] + [
        Space(size, weight * totals[0]) for size, weight in other
    ]


def distinct(random: Random, spaces: Sequence[Space]) -> Iterator[tuple[int, int]]:
    """Draw every member of every space once: the space by its weight, the member evenly.

    A space that is used up is no longer drawn from. What is kept in memory grows with the draws (about 100 bytes
    each), not with the spaces.

    Yields:
        The number of the space and the number of the member in it.
    """
    # Fisher and Yates's shuffle of 0..size-1, of which only the places that were touched are written down.
    moved: list[dict[int, int]] = [{} for _ in spaces]
    drawn = [0] * len(spaces)
    left = [number for number, space in enumerate(spaces) if space.size]
    total = sum(spaces[number].weight for number in left)
    while left:
        mark = below(random, total)
        for number in left:
            mark -= spaces[number].weight
            if mark < 0:
                break
        size, weight = spaces[number]
        first = drawn[number]
        chosen = first + below(random, size - first)
        places = moved[number]
        displaced = places.pop(first, first)
        yield number, displaced if chosen == first else places.get(chosen, chosen)
        if chosen != first:
            places[chosen] = displaced
        drawn[number] += 1
        if drawn[number] == size:
            left.remove(number)
            total -= weight
