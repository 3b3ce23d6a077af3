"""What several samples of an item say together."""

from math import comb


def pass_at(n: int, right: int, k: int) -> float:
    """The chance that one of k samples is right, of which `right` of n were: 1 - C(n - right, k) / C(n, k).

    Chen et al. 2021, "Evaluating Large Language Models Trained on Code", equation 1; unbiased.

    Args:
        n: samples of the item. right: those that were right.
        k: 1 to n.
    """
    return 1.0 - comb(n - right, k) / comb(n, k)
