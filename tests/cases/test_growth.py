"""What is done for each of many things grows with their number, not with its square."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from selfedit.lm.lora import Adapter, LoraSpec
from selfedit.retention.learner import Edit, Learner
from selfedit.retention.library import WordRouter
from selfedit.run.ledger import Ledger
from selfedit.run.records import Answer, KnownAnswer

FACTOR = 4
"""The second size is as many times the first; a square would take its square times as long."""


def _seconds(work: Callable[[], object]) -> float:
    """The least of three, in this thread's own time: other programs do not count."""
    times = []
    for _ in range(3):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


def _grows_with_the_number(make: Callable[[int], Callable[[], object]], size: int) -> None:
    small, large = (_seconds(make(count)) for count in (size, FACTOR * size))
    assert large < small * FACTOR**1.6 + 0.01, f"{small:.3f} s, then {large:.3f} s"


def test_answers_that_are_known_are_looked_up_by_what_is_asked(tmp_path: Path) -> None:
    answer = Answer(question_id="q", text="a", tokens=1, seconds=0.0)

    def make(count: int) -> Callable[[], object]:
        with Ledger(tmp_path / f"{count}.sqlite") as new:
            new.add_trials(
                [],
                known=[KnownAnswer(weights="w", asked=str(n), answer=answer) for n in range(count)],
            )

        def look_up() -> None:
            with Ledger(tmp_path / f"{count}.sqlite", readonly=True) as ledger:
                for start in range(0, count, 8):
                    keys = [str(number) for number in range(start, start + 8)]
                    assert len(ledger.known("w", keys)) == 8

        return look_up

    _grows_with_the_number(make, 400)


def test_edits_are_added_to_a_learner() -> None:
    adapter = Adapter(LoraSpec(8, 8, ("q",)), {"q": (torch.ones(8, 512), torch.ones(512, 8))})

    def make(count: int) -> Callable[[], object]:
        def add() -> None:
            learner = Learner()
            for _ in range(count):
                learner.add(Edit("", (), adapter))
            assert learner.merged is not None and learner.merged.spec.rank == 8 * count

        return add

    _grows_with_the_number(make, 60)


def test_questions_are_routed_by_the_documents_that_have_their_words() -> None:
    def make(count: int) -> Callable[[], object]:
        texts = [f"the harbour {n} of word{n} and name{n} is at coast{n}" for n in range(count)]
        router = WordRouter(texts, 0.1)

        def route() -> None:
            for n in range(count):
                assert router.route(f"word{n} name{n} coast{n}?") == n

        return route

    _grows_with_the_number(make, 300)


@pytest.mark.parametrize("query", ["harbour word7", "harbour", "unheard of word7 name7"])
def test_a_route_is_the_entry_with_the_largest_share_of_the_words(query: str) -> None:
    router = WordRouter([f"the harbour of word{n} and name{n}" for n in range(20)], 0.1)
    expected = {"harbour word7": 7, "harbour": 0, "unheard of word7 name7": 7}
    assert router.route(query) == expected[query]
