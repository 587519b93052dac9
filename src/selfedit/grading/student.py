"""Student's t distribution: tail and quantile, so that no run needs scipy."""

from __future__ import annotations

import math

_STEPS = 200  # of the continued fraction; for a hundred degrees of freedom it needs some thirty


def t_tail(value: float, df: float) -> float:
    """The probability that Student's t with ``df`` degrees of freedom is above ``value``, which is
    at least 0.

    Half the regularised incomplete beta function ``I(df/2, 1/2)`` at ``df / (df + value²)``
    (Abramowitz and Stegun 1964, 26.7.1).
    """
    if math.isinf(value):
        return 0.0
    total = df + value * value
    if value < 1:  # the share of df would round to 1
        return 0.5 - 0.5 * _beta_share(value * value / total, 0.5, df / 2)
    return 0.5 * _beta_share(df / total, df / 2, 0.5)


def t_quantile(share: float, df: float) -> float:
    """The value that Student's t with ``df`` degrees of freedom stays below with probability
    ``share``, from 0.5 up.

    Found by bisection of `t_tail`, to 1e-10 of itself.
    """
    low, high = 0.0, 1.0
    while t_tail(high, df) > 1 - share:
        low, high = high, 2 * high
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, df) > 1 - share else (low, middle)
    return (low + high) / 2


def _beta_share(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun
    1964, 26.5.8).
    """
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):  # there the fraction converges for the other side
        return 1 - _beta_share(1 - x, b, a)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) - math.log(a)
    value = 1.0
    for step in range(_STEPS, 0, -1):  # from the innermost term outwards
        half = step // 2
        if step % 2:
            term = -(a + half) * (a + b + half) * x / ((a + step - 1) * (a + step))
        else:
            term = half * (b - half) * x / ((a + step - 1) * (a + step))
        value = 1 + term / value
    return math.exp(a * math.log(x) + b * math.log1p(-x) + scale) / value
