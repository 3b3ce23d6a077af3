"""Adding and taking away column by column, from the right, as on paper.

The first step restates the numbers. Then a step for each column: its two digits and the carry that comes in, what they
make in two places, and the digits of the result so far. The carry that goes out is the ten:

    934+92      4+2+0=06 6      3+9+0=12 26      9+0+1=10 026      1026

When taking away, a column below zero borrows: ten more is the digit, and the next column has one less.

    934-92      4-2-0=02 2      3-9-0=-6 42      9-0-1=08 842      842

This is what a small model learns soonest, of the ways that were tried: it stumbled over a borrow written before its
digits (13-9-0=4), and without the result so far over answers such as 013, whose zeros it has to drop while it gathers
the digits from all columns.
"""

from itertools import zip_longest
from typing import Any

MAX_DIGITS = 9


def solve(left: int, sign: str, right: int) -> tuple[list[dict[str, Any]], str]:
    """Write down the steps as one takes them, the carry running from column to column.

    Args:
        left: at least 1; for taking away at least `right`.
        sign: `+` or `-`.
        right: at least 1.

    Returns:
        The steps and the final answer.
    """
    steps = [{"i": 0, "type": "restate", "content": f"{left}{sign}{right}"}]
    carry, result = 0, ""
    for x, y in zip_longest(reversed(str(left)), reversed(str(right)), fillvalue="0"):
        made = int(x) + int(y) + carry if sign == "+" else int(x) - int(y) - carry
        result = f"{made % 10}{result}"
        steps.append({"i": len(steps), "type": "column", "content": f"{x}{sign}{y}{sign}{carry}={made:02d} {result}"})
        carry = int(not 0 <= made <= 9)
    return steps, f"{carry}{result}".lstrip("0") or "0"


def expect(left: int, sign: str, right: int) -> tuple[list[tuple[str, str]], str]:
    """Say what each step must be, found another way than `solve` finds it: each column alone, by place values.

    Returns:
        Type and content of each step, and the final answer.
    """
    total = left + right if sign == "+" else left - right
    steps = [("restate", f"{left}{sign}{right}")]
    for place in range(len(str(max(left, right)))):
        power = 10**place
        x, y = left // power % 10, right // power % 10
        if sign == "+":
            carry = (left % power + right % power) // power
            made = x + y + carry
        else:
            carry = int(left % power < right % power)
            made = x - y - carry
        result = total % (10 * power)
        steps.append(("column", f"{x}{sign}{y}{sign}{carry}={made:02d} {result:0{place + 1}d}"))
    return steps, str(total)
