"""The verdict on a document: its numbers are those of the answers, its words follow from them."""

from __future__ import annotations

from selfedit.documents.answers import AskedRecord
from selfedit.documents.changes import Change
from selfedit.documents.recall import compared
from selfedit.documents.verdict import Circumstances, DocumentVerdict, verdict_of

SMALL = Circumstances(written=10, dropped=1, parameters=135_000_000)


def record(number: int, now: bool | None, shown: bool) -> AskedRecord:
    return {
        "context": "c",
        "id": f"q{number}",
        "question": f"Question {number}?",
        "answers": ["yes"],
        "before": "no",
        "now": "yes" if now else "no",
        "in_prompt": "yes" if shown else "no",
        "right_before": False,
        "right_now": now,
        "right_in_prompt": shown,
    }


def general(rise: float) -> Change:
    return compared({"a": 4.0, "b": 4.0}, {"a": 4.0 * (1 + rise), "b": 4.0 * (1 + rise)})


def verdict(
    right: int, shown: int, of: int = 20, *, rise: float = 0.0, covered: float | None = None,
    circumstances: Circumstances = SMALL, known: tuple[int, int] = (10, 9),
) -> DocumentVerdict:  # fmt: skip
    records = [record(n, n < right, n < shown) for n in range(of)]
    return verdict_of(records, general(rise), known, covered, circumstances)


def test_the_number_is_the_share_of_right_answers() -> None:
    made = verdict(5, 15)
    assert made["weights"] is not None and made["weights"]["mean"] == 0.25
    assert made["can"] == [f"Question {n}?" for n in range(5)] and len(made["cannot"]) == 15
    assert "5 of 20 facts asked about can be asked for now: 25 % (standard error 10)" in "".join(
        made["words"]
    )


def test_own_questions_count_for_the_sentences_they_are_about() -> None:
    made = verdict(10, 15, covered=0.5)
    assert made["expected"] is not None and made["expected"]["mean"] == 0.25
    assert "about 50 % of the sentences, so expect 25 %" in made["words"][0]
    assert verdict(10, 15)["expected"] == verdict(10, 15)["weights"]


def test_it_says_which_tool_is_better() -> None:
    assert "showing the passage is the better tool" in " ".join(verdict(5, 15)["words"])
    assert "the weights are the better tool" in " ".join(verdict(15, 5)["words"])
    assert "about as many as from the weights" in " ".join(verdict(10, 10)["words"])


def test_what_to_try_follows_from_what_was_measured() -> None:
    assert "a larger model than this one of 135 million" in " ".join(verdict(2, 6)["words"])
    assert "more passes (--inner.optim.epochs)" in " ".join(verdict(2, 18)["words"])
    assert "more passes" not in " ".join(verdict(18, 18)["words"])
    assert "fewer passes" in " ".join(verdict(18, 18, rise=0.05)["words"])
    invented = Circumstances(written=10, dropped=6, parameters=135_000_000)
    words = " ".join(verdict(18, 18, circumstances=invented)["words"])
    assert "6 of the 10 sentences that it wrote are not supported" in words


def test_damage_is_said_in_percent_and_in_facts() -> None:
    assert any(
        "+3.0 %; of 10 everyday facts that it answered before, 9 are" in words
        for words in verdict(5, 15, rise=0.03)["words"]
    )


def test_facts_that_are_lost_are_damage_though_the_loss_hardly_rises() -> None:
    words = " ".join(verdict(18, 18, rise=0.01, known=(13, 3))["words"])
    assert "3 are answered still: much of what it knew is lost." in words
    assert "To damage less" in words and "--library" in words
    for known in ((13, 10), (4, 2), (0, 0)):
        words = " ".join(verdict(18, 18, rise=0.01, known=known)["words"])
        assert "is lost" not in words and "To damage less" not in words


def test_few_questions_and_none_are_said() -> None:
    assert "The number is rough" in " ".join(verdict(2, 3, of=4)["words"])
    nothing = verdict(0, 0, of=0)
    assert nothing["weights"] is None and "--questions FILE" in nothing["words"][0]


def test_an_answer_without_a_verdict_counts_for_nothing() -> None:
    records = [record(0, True, True), record(1, None, True)]
    made = verdict_of(records, general(0.0), (0, 0), None, SMALL)
    assert made["questions"] == 1 and made["weights"] is not None and made["weights"]["mean"] == 1
