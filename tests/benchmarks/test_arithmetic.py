"""Operations and bytes from a model's shape, by hand for one case."""

from __future__ import annotations

import pytest

from benchmarks.arithmetic import arithmetic
from selfedit.errors import UsageError


def test_by_hand() -> None:
    found = arithmetic(
        "smollm2-135m", ks=(1, 4), tokens=10, rank=2, width=4, tflops=1e-3, bandwidth=1.0
    )
    n, vd = 30 * (576 * (576 + 192 + 192) + 576 * 576 + 3 * 576 * 1536), 49152 * 576
    p = 30 * 2 * (2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536))
    one, four = found["rows"]
    assert one["flops"] == (4 * n + 4 * vd + 6 * p) * 10 and four["flops"] == 4 * one["flops"]
    kept = 30 * (4 * 576 + 2 * 576 + 2 * 192 + 4 * 1536 + 2 * 7)
    assert one["bytes"] == 2 * 4 * (n + vd) + 40 * p + 2 * 4 * kept * 10
    assert one["seconds"] == pytest.approx(max(one["flops"] / 1e9, one["bytes"] / 1e9))


def test_more_adapters_pay_until_the_rate_bounds() -> None:
    rows = arithmetic()["rows"]
    assert rows[0]["bound"] == "bandwidth" and rows[-1]["bound"] == "rate"
    costs = [row["seconds_an_adapter"] for row in rows]
    assert costs == sorted(costs, reverse=True) or costs[-1] == pytest.approx(costs[-2])
    assert rows[-1]["times_cheaper"] > 3


@pytest.mark.parametrize("wrong", [{"model": "gpt"}, {"ks": (0,)}, {"bandwidth": 0.0}])
def test_what_cannot_be_reckoned(wrong: dict) -> None:
    with pytest.raises(UsageError):
        arithmetic(**wrong)
