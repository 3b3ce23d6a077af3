"""Pairs of numbers of chosen lengths, each pair with a number of its own, so that none is drawn twice."""

from math import isqrt
from typing import NamedTuple

from tunix_rt.traces.sources.draws import Space


class Pairs(NamedTuple):
    """All pairs whose left number has `left_digits` digits and whose right one has `right_digits`.

    `falling` leaves only those whose left number is at least the right one.
    """

    left_digits: int
    right_digits: int
    falling: bool

    def space(self) -> Space:
        """How many there are. Each further digit is drawn four times as often: most are long."""
        left, right = _numbers(self.left_digits), _numbers(self.right_digits)
        triangle = self.falling and self.left_digits == self.right_digits
        return Space(left * (left + 1) // 2 if triangle else left * right, 4 ** (self.left_digits + self.right_digits))

    def pair(self, number: int) -> tuple[int, int]:
        """The pair that has this number."""
        if self.falling and self.left_digits == self.right_digits:
            left = (isqrt(8 * number + 1) - 1) // 2
            right = number - left * (left + 1) // 2
        else:
            left, right = divmod(number, _numbers(self.right_digits))
        return left + 10 ** (self.left_digits - 1), right + 10 ** (self.right_digits - 1)


def pairs(digits: int, *, falling: bool, least: int = 1) -> list[Pairs]:
    """Every combination of lengths from `least` to `digits`; the falling ones without a left number too short."""
    lengths = range(least, digits + 1)
    return [Pairs(left, right, falling) for left in lengths for right in lengths if left >= right or not falling]


def _numbers(digits: int) -> int:
    return int(9 * 10 ** (digits - 1))
