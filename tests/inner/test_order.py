"""Every epoch takes every sequence once, in an order that is the seed's alone and that jobs can
share.
"""

from __future__ import annotations

from collections import defaultdict

import pytest

from selfedit.inner.job import AdaptJob, OptimSpec
from selfedit.inner.order import batches


def job(
    lengths: list[int],
    epochs: int = 40,
    size: int = 1,
    seed: int = 0,
    order_seed: int | None = None,
) -> AdaptJob:
    return AdaptJob(
        ["x"] * len(lengths),
        optim=OptimSpec(epochs=epochs, batch_size=size),
        seed=seed,
        order_seed=order_seed,
    )


def orders(made: AdaptJob, lengths: list[int]) -> dict[int, tuple[int, ...]]:
    """The order of each epoch."""
    found: dict[int, tuple[int, ...]] = defaultdict(tuple)
    for batch in batches(made, lengths):
        found[batch.when[0]] += batch.indices
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_each_epoch_takes_every_sequence_once_in_a_new_order(size: int) -> None:
    lengths = [4, 9, 2, 9, 5]
    made = job(lengths, size=size)
    steps = list(batches(made, lengths))
    assert len(steps) == made.steps
    assert all(0 < len(step.indices) <= size for step in steps)
    assert steps == sorted(steps, key=lambda step: step.when)
    epochs = orders(made, lengths)
    assert len(epochs) == 40
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs.values())
    assert len(set(epochs.values())) > 20


def test_an_order_is_its_seeds() -> None:
    lengths = [3, 1, 2, 5]
    assert orders(job(lengths), lengths) == orders(job(lengths), lengths)
    assert orders(job(lengths, seed=1), lengths) != orders(job(lengths), lengths)
    assert orders(job(lengths, seed=1, order_seed=7), lengths) == orders(
        job(lengths, seed=2, order_seed=7), lengths
    )
    assert orders(job(lengths, seed=7), lengths) == orders(job(lengths, order_seed=7), lengths)


def test_every_order_is_as_likely_as_any() -> None:
    lengths, counts = [3, 1, 2], defaultdict(int)
    for order in orders(job(lengths, epochs=3000), lengths).values():
        counts[order] += 1
    assert len(counts) == 6
    assert all(
        abs(count - 500) < 5 * 21 for count in counts.values()
    )  # five standard deviations of a binomial


def test_jobs_of_one_order_seed_are_at_like_lengths() -> None:
    many, few = [10, 50, 20, 40, 30], [22, 41, 9]
    places = {batch.when: batch.indices for batch in batches(job(many, seed=1, order_seed=3), many)}
    for batch in batches(job(few, seed=2, order_seed=3), few):
        rank = sorted(few, reverse=True).index(few[batch.indices[0]])
        assert many[places[batch.when][0]] == sorted(many, reverse=True)[rank]
