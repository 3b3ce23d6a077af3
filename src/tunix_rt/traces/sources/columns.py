"""Adding and taking away column by column, from the right, as on paper.

The first step restates the numbers. Then a step for each column: its two digits, the carry or the borrow that comes
in, and the result, whose tens are the carry that goes out:

    934+292      4+2+0=6      3+9+0=12      9+2+1=12

A column that has to borrow shows the ten before its upper digit, so that every step is a true equation:

    934-292      4-2-0=2      13-9-0=4      9-2-1=6
"""

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
    result, carry, power = 0, 0, 1
    upper, lower = left, right
    while upper or lower:
        upper, x = divmod(upper, 10)
        lower, y = divmod(lower, 10)
        if sign == "+":
            total = x + y + carry
            content = f"{x}+{y}+{carry}={total}"
            carry, digit = divmod(total, 10)
        else:
            borrow = x < y + carry
            digit = x + 10 * borrow - y - carry
            content = f"{x + 10 * borrow}-{y}-{carry}={digit}"
            carry = int(borrow)
        steps.append({"i": len(steps), "type": "column", "content": content})
        result += digit * power
        power *= 10
    return steps, str(result + carry * power)


def expect(left: int, sign: str, right: int) -> tuple[list[tuple[str, str]], str]:
    """Say what each step must be, found another way than `solve` finds it: each column alone, by place values.

    Returns:
        Type and content of each step, and the final answer.
    """
    steps = [("restate", f"{left}{sign}{right}")]
    for place in range(len(str(max(left, right)))):
        power = 10**place
        x, y = left // power % 10, right // power % 10
        if sign == "+":
            carry = (left % power + right % power) // power
            steps.append(("column", f"{x}+{y}+{carry}={x + y + carry}"))
        else:
            carry = int(left % power < right % power)
            upper = x + 10 if left % (10 * power) < right % (10 * power) else x
            steps.append(("column", f"{upper}-{y}-{carry}={upper - y - carry}"))
    return steps, str(left + right if sign == "+" else left - right)
