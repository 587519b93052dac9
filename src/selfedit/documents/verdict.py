"""What came of learning documents, in words that a person can act on.

The number is a share of questions that no training has seen, with the passage nowhere in the
prompt. It says nothing of what was not asked: whether the model says "I do not know" where it does
not, or follows from two facts a third.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import TypedDict

from selfedit.documents.answers import AskedRecord
from selfedit.documents.changes import Change
from selfedit.grading.stats import EstimateDict, mean_se

FEW = 10
"""With fewer questions the number is rough."""
DAMAGE = 0.02
"""Rise of the loss on unrelated text, as a share of it, that is called damage."""
FORGOTTEN = 0.25
"""Share of the everyday facts answered before that, lost, is called damage, from three facts on."""
_POOR = 0.6
_EQUAL = 0.05


class DocumentVerdict(TypedDict):
    """The verdict of one adapter.

    Keys:
        questions: questions that have a verdict.
        can, cannot: the questions that are answered now, and those that are not.
        before, weights, prompt: shares answered before, from the weights, and by the unadapted
            model with the passage in its prompt; None where nothing was asked.
        covered: share of the documents' sentences that its own questions could be about; None for
            questions that were given.
        expected: share of anybody's questions about the documents that the weights answer:
            ``weights``, and of what its own questions are not about, nothing.
        damage: rise of the loss on unrelated text, as a share of it.
        known_before, known_now: everyday facts answered, and those of them answered still.
        words: all of it in sentences, the last ones what to try next.
    """

    questions: int
    can: list[str]
    cannot: list[str]
    before: EstimateDict | None
    weights: EstimateDict | None
    prompt: EstimateDict | None
    covered: float | None
    expected: EstimateDict | None
    damage: float
    known_before: int
    known_now: int
    words: list[str]


@dataclass(frozen=True)
class Circumstances:
    """What else bears on the advice: sentences the model wrote and those left out, its size."""

    written: int
    dropped: int
    parameters: int


def verdict_of(
    questions: Sequence[AskedRecord],
    general: Change,
    known: tuple[int, int],
    covered: float | None,
    circumstances: Circumstances,
) -> DocumentVerdict:
    """The verdict from what was measured; see `DocumentVerdict`."""
    judged = [each for each in questions if each["right_now"] is not None]
    weights = _share([each["right_now"] for each in judged])
    verdict: DocumentVerdict = {
        "questions": len(judged),
        "can": [each["question"] for each in judged if each["right_now"]],
        "cannot": [each["question"] for each in judged if not each["right_now"]],
        "before": _share([each["right_before"] for each in judged]),
        "weights": weights,
        "prompt": _share([each["right_in_prompt"] for each in judged]),
        "covered": covered,
        "expected": _scaled(weights, covered),
        "damage": general["after"]["mean"] / general["before"]["mean"] - 1,
        "known_before": known[0],
        "known_now": known[1],
        "words": [],
    }
    verdict["words"] = [
        *_learned_words(verdict),
        _damaged(verdict),
        *_prompted(verdict),
        *_advice(verdict, circumstances),
    ]
    return verdict


def _share(right: Sequence[bool | None]) -> EstimateDict | None:
    return mean_se(float(bool(each)) for each in right).as_dict() if right else None


def _scaled(share: EstimateDict | None, covered: float | None) -> EstimateDict | None:
    if share is None or covered is None:
        return share
    error = None if share["se"] is None else covered * share["se"]
    return {"mean": covered * share["mean"], "se": error, "n": share["n"]}


def _learned_words(verdict: DocumentVerdict) -> list[str]:
    weights, before = verdict["weights"], verdict["before"]
    if weights is None or before is None:
        return ["No question could be made of it: give some with --questions FILE."]
    already = round(before["mean"] * before["n"])
    words = (
        f"{len(verdict['can'])} of {weights['n']} facts asked about can be asked for now:"
        f" {_share_words(weights)}; {already} of {before['n']} could before."
    )
    if verdict["covered"] is not None and (expected := verdict["expected"]) is not None:
        words += (
            f" Its questions are about {100 * verdict['covered']:.0f} % of the sentences, so expect"
            f" {_share_words(expected)} of anybody's questions to be answered."
        )
    rough = f"The number is rough: there are only {weights['n']} questions. Give some with"
    return [words, *([f"{rough} --questions FILE."] if weights["n"] < FEW else [])]


def _damaged(verdict: DocumentVerdict) -> str:
    words = f"Loss on unrelated text: {100 * verdict['damage']:+.1f} %"
    if verdict["known_before"]:
        words += (
            f"; of {verdict['known_before']} everyday facts that it answered before,"
            f" {verdict['known_now']} are answered still"
        )
    return f"{words}: much of what it knew is lost." if _forgets(verdict) else f"{words}."


def _forgets(verdict: DocumentVerdict) -> bool:
    before = verdict["known_before"]
    return before - verdict["known_now"] > max(2, FORGOTTEN * before)


def _prompted(verdict: DocumentVerdict) -> list[str]:
    weights, prompt = verdict["expected"], verdict["prompt"]
    if weights is None or prompt is None:
        return []
    # Of anybody's questions, as the passage in the prompt is of all of them.
    gap = prompt["mean"] - weights["mean"]
    words = (
        f"With the right passage in its prompt the model as it was answers {_share_words(prompt)}:"
    )
    if gap > _EQUAL:
        return [f"{words} showing the passage is the better tool for this document."]
    if gap < -_EQUAL:
        return [f"{words} the weights are the better tool for these questions."]
    return [f"{words} about as many as from the weights."]


def _advice(verdict: DocumentVerdict, circumstances: Circumstances) -> list[str]:
    """What to try, most promising first."""
    weights, prompt = verdict["expected"], verdict["prompt"]
    advice: list[str] = []
    if weights is not None and prompt is not None and weights["mean"] < _POOR:
        # What it cannot read it cannot learn either.
        if prompt["mean"] < _POOR:
            size = f"{circumstances.parameters / 1e6:,.0f} million parameters"
            advice.append(
                f"It reads the document poorly even where it is shown: a larger model than this"
                f" one of {size} helps more than longer training."
            )
        else:
            advice.append(
                "To hold more: more passes (--inner.optim.epochs), more self-edits (--samples), a"
                " larger adapter (--inner.lora.rank), or a larger model."
            )
    if verdict["damage"] > DAMAGE or _forgets(verdict):
        advice.append(
            "To damage less: fewer passes (--inner.optim.epochs) or more rehearsal"
            " (--retention.pseudorehearsal.share); with --library, questions that share no words"
            " with the documents go to the model as it was."
        )
    if circumstances.dropped > circumstances.written / 2:
        advice.append(
            f"{circumstances.dropped} of the {circumstances.written} sentences that it wrote are"
            " not supported by the document and were left out; --samples 0 writes none."
        )
    return advice


def _share_words(share: EstimateDict) -> str:
    error = "?" if share["se"] is None else f"{100 * share['se']:.0f}"
    return f"{100 * share['mean']:.0f} % (standard error {error})"
