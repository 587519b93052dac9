"""What the calibrated grader looks at: how question, gold answer and reply overlap, as numbers.

Three stretches of the reply are held against the gold answer: all of it, its first sentence, and
its best sentence. "New" gold words are those that are not in the question: only they can show that
the answer is known. A feature that cannot be measured, such as the share of gold names where gold
has none, is -1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from selfedit.grading.align import grams_found, nearest, overlap, share, span, words_in_order
from selfedit.grading.lexicon import NEGATIONS, OPPOSITES, STOP_WORDS
from selfedit.grading.quantities import nearest_gap, periods_met
from selfedit.grading.text import contains_gold, normalise
from selfedit.grading.view import View, answer_body, sentences, viewed_text

VERSION = 1
"""Raised whenever a feature changes its meaning: a fitted grader only runs with the version
it was fitted with.
"""

Rarity = Callable[[str], float]
"""How rare a stem is in answers to other questions: the logarithm of its inverse document
frequency.
"""

_GOLD, _ANSWER = 2_000, 20_000
"""Letters of a question or a gold answer, and of a reply, that are looked at: some features hold
each word of one against each of the other.
"""
_CLOSE = 0.8  # a nearest word at least this close counts as found
_LISTED = re.compile(r",|;|/|\band\b|\bor\b|&")
_BULLET = re.compile(r"(?:^|\n)\s*(?:\d+[.)]|[-*•])\s")
_FINISHED = re.compile(r"[.!?。！？\"”)]\s*$")
_KINDS = ("who", "when", "where", "why", "how many", "how much", "how", "which", "what")


def features(question: str, gold: str, answer: str, rarity: Rarity) -> dict[str, float]:
    """The features of one reply against one gold answer, always the same names in the same order.

    Rounded to four decimals, so that the thresholds of a fitted tree are short and mean the same on
    every machine.
    """
    question, gold, answer = question[:_GOLD], gold[:_GOLD], answer[:_ANSWER]
    asked_view, gold_view, body = viewed_text(question), viewed_text(gold), answer_body(answer)
    parts = sentences(body)
    whole_view, first_view = viewed_text(body), viewed_text(parts[0])
    best_view = max(
        map(viewed_text, parts), key=lambda part: overlap(gold_view.content, part.content)[1]
    )
    known: dict[str, dict[str, float]] = {}
    out: dict[str, float] = {}
    for name, part_view in (("whole", whole_view), ("first", first_view), ("best", best_view)):
        if part_view.raw not in known:  # most replies are one sentence: measured once
            known[part_view.raw] = _stretch(asked_view, gold_view, part_view, rarity)
        out |= {f"{name}_{key}": value for key, value in known[part_view.raw].items()}
    out |= _containment(gold, answer, body, parts) | _form(
        asked_view, gold_view, whole_view, answer, body
    )
    out["sentences"] = len(parts)
    out |= _enumeration(gold_view, whole_view) | _question(asked_view, gold_view, rarity)
    return {name: round(float(value), 4) for name, value in out.items()}


def _stretch(question: View, gold: View, answer: View, rarity: Rarity) -> dict[str, float]:
    return (
        _word_features(gold, answer)
        | _nearness(question, gold, answer, rarity)
        | _surplus(question, gold, answer, rarity)
        | _places(question, gold, answer)
        | _names(question, gold, answer)
        | _numbers(question, gold, answer)
        | _contradictions(question, gold, answer)
    )


def _word_features(gold: View, answer: View) -> dict[str, float]:
    precision, recall, f1 = overlap(gold.content, answer.content)
    _, token_recall, token_f1 = overlap(gold.tokens, answer.tokens)
    pairs = set(pairwise(gold.stems))
    joined = "".join(gold.tokens)
    return {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "token_recall": token_recall,
        "token_f1": token_f1,
        "pairs": share(len(pairs & set(pairwise(answer.stems))), len(pairs)) if pairs else -1,
        "letters": grams_found(" ".join(gold.tokens), " ".join(answer.tokens)),
        "joined": len(joined) > 4 and joined in "".join(answer.tokens),
    }


def _nearness(question: View, gold: View, answer: View, rarity: Rarity) -> dict[str, float]:
    """By stem, meaning or spelling: how much of gold is found, and how rare what is missing is."""
    near = nearest(gold.content, answer.stem_set)
    rows = [(rarity(stem), value, stem) for stem, value in zip(gold.content, near, strict=True)]
    missing = [weight for weight, value, _ in rows if value < _CLOSE]
    new = [row for row in rows if row[2] not in question.stem_set]
    near_new = [weight for weight, value, _ in new if value >= _CLOSE]
    return {
        "near": share(sum(near), len(near)),
        "near_least": min(near, default=0),
        "close": share(len(near) - len(missing), len(near)),
        "missing": sum(missing),
        "missing_rarest": max(missing, default=0),
        "rare_recall": 1 - share(sum(missing), sum(weight for weight, *_ in rows)),
        "new_recall": (
            share(sum(stem in answer.stem_set for *_, stem in new), len(new)) if new else -1
        ),
        "new_near": share(sum(value for _, value, _ in new), len(new)) if new else -1,
        "new_least": min(value for _, value, _ in new) if new else -1,
        "new_rare": share(sum(near_new), sum(weight for weight, *_ in new)) if new else -1,
        "new_rarest": max(new)[1] if new else -1,
        "head": next((value for _, value, stem in rows if stem == gold.head), 0),
        "first_word": near[0] if near else 0,
        "last_word": near[-1] if near else 0,
    }


def _surplus(question: View, gold: View, answer: View, rarity: Rarity) -> dict[str, float]:
    """What the reply says beyond question and gold."""
    outside = [stem for stem in answer.content if stem not in question.stem_set]
    extra = [stem for stem in outside if stem not in gold.content_set]
    return {
        "length": len(answer.tokens),
        "extra": len(extra),
        "extra_share": share(len(extra), len(answer.content)),
        "extra_rarity": share(sum(map(rarity, extra)), len(extra)),
        "told_gold": share(len(outside) - len(extra), len(outside)),
        "told_near": share(sum(nearest(outside, gold.stem_set)), len(outside)),
    }


def _places(question: View, gold: View, answer: View) -> dict[str, float]:
    """Order, density and position of the gold words."""
    positions = [
        position
        for position, stem in enumerate(answer.stems)
        if stem in gold.content_set and stem not in question.stem_set
    ]
    start = positions[0] if positions else len(answer.stems)
    return {
        "in_order": share(words_in_order(gold.stems, answer.stems), len(gold.stems)),
        "span": share(span(gold.content_set, answer.stems), len(gold.stems)),
        "at": start if positions else -1,
        "at_share": share(start, len(answer.stems)) if positions else -1,
        "told_before": sum(
            stem in answer.content_set and stem not in question.stem_set
            for stem in answer.stems[:start]
        ),
    }


def _names(question: View, gold: View, answer: View) -> dict[str, float]:
    initials = "".join(token[0] for token in gold.tokens if token not in STOP_WORDS)
    return {
        "names": share(len(gold.names & answer.stem_set), len(gold.names)) if gold.names else -1,
        "other_names": len(answer.names - gold.stem_set - question.stem_set),
        "asked_words": share(
            len(question.content_set & answer.stem_set), len(question.content_set)
        ),
        "asked_names": (
            share(len(question.names & answer.stem_set), len(question.names))
            if question.names
            else -1
        ),
        "surname": _surname(gold, answer),
        "acronym": (
            (len(initials) > 1 and initials in answer.tokens) or _spells(gold.tokens, answer.tokens)
        ),
    }


def _surname(gold: View, answer: View) -> float:
    """For a gold answer that could be a person's full name: 1 if the last name is said and no other
    first name with it.

    0.5 if a name that gold has not stands before it (``Karl Compton`` for ``Arthur H. Compton``), 0
    if it is not said.
    """
    if (
        not 2 <= len(gold.stems) <= 5
        or gold.stems[-1] not in gold.names
        or gold.stems[0] not in gold.names
    ):
        return -1
    if gold.stems[-1] not in answer.stem_set:
        return 0
    before = answer.stems[: answer.stems.index(gold.stems[-1])][-1:]
    return 0.5 if set(before) & answer.names - gold.stem_set and len(before[0]) > 1 else 1


def _spells(gold: Sequence[str], answer: Sequence[str]) -> bool:
    """Whether words in a row begin with the letters of a one-word gold answer of two to six
    letters.
    """
    size = len(gold[0]) if len(gold) == 1 else 0
    if not 2 <= size <= 6:
        return False
    return gold[0] in (
        "".join(token[0] for token in answer[at : at + size])
        for at in range(len(answer) - size + 1)
    )


def _numbers(question: View, gold: View, answer: View) -> dict[str, float]:
    true, stated, known = gold.numbers, answer.numbers, question.numbers
    values = set(true.values)
    return {
        "numbers": share(len(values & set(stated.values)), len(values)) if values else -1,
        "other_numbers": len(set(stated.values) - values - set(known.values)),
        "number_gap": nearest_gap(true.values, stated.values) if values else -1,
        "periods": periods_met(true, stated),
        "other_years": len(stated.years - true.years - known.years),
        "months": bool(true.months & stated.months) - bool(stated.months - true.months),
        "units": share(len(true.units & stated.units), len(true.units)) if true.units else -1,
    }


def _contradictions(question: View, gold: View, answer: View) -> dict[str, float]:
    negations = sum(token in NEGATIONS for token in answer.tokens)
    unsaid = gold.stem_set - answer.stem_set - question.stem_set
    return {
        "opposites": sum(
            (a, b) in OPPOSITES for a in unsaid for b in answer.stem_set - gold.stem_set
        ),
        "negations": min(negations, 3),
        "negation_differs": (negations > 0) != any(token in NEGATIONS for token in gold.tokens),
    }


def _containment(gold: str, answer: str, body: str, parts: list[str]) -> dict[str, float]:
    return {
        "contains": contains_gold(answer, [gold]),
        "contains_body": contains_gold(body, [gold]),
        "contains_first": contains_gold(parts[0], [gold]),
        "inside_gold": bool(normalise(body)) and contains_gold(gold, [body]),
    }


def _form(question: View, gold: View, reply: View, answer: str, body: str) -> dict[str, float]:
    decided = gold.tokens[:1] in (("yes",), ("no",))
    return {
        "same": reply.tokens == gold.tokens,
        "run_on": len(answer.strip()) - len(body),
        "cut_off": not _FINISHED.search(answer),
        "asks": body.endswith("?"),
        "repeats_question": share(
            sum(stem in question.stem_set for stem in reply.stems), len(reply.stems)
        ),
        "bullets": len(_BULLET.findall(body)),
        "or": "or" in reply.tokens,
        "commas": body.count(","),
        "yes_no": reply.tokens[:1] == gold.tokens[:1] if decided else -1,
    }


def _enumeration(gold: View, answer: View) -> dict[str, float]:
    """Gold answers that list several things: how much of each is said; of names, whether the
    surname is.
    """
    parts = [viewed_text(part) for part in _LISTED.split(gold.raw) if normalise(part)]
    shares = [
        share(sum(nearest(part.content, answer.stem_set)), len(part.content)) for part in parts
    ]
    surnames = [
        names[-1] in answer.stem_set
        for part in parts
        if (names := [w for w in part.content if w in part.names])
    ]
    return {
        "parts_least": min(shares, default=0),
        "parts_mean": share(sum(shares), len(shares)),
        "parts_most": max(shares, default=0),
        "surnames": share(sum(surnames), len(surnames)) if surnames else -1,
    }


def _question(question: View, gold: View, rarity: Rarity) -> dict[str, float]:
    text = question.raw.casefold()
    kind = next((kind for kind in _KINDS if re.search(rf"\b{kind}\b", text)), None)
    asks: dict[str, float] = {f"asks_{each.replace(' ', '_')}": kind == each for each in _KINDS}
    return asks | {
        "gold_length": len(gold.tokens),
        "gold_names": share(len(gold.names), len(gold.content_set)),
        "gold_numbers": len(gold.numbers.values),
        "gold_new": share(
            sum(stem not in question.stem_set for stem in gold.content), len(gold.content)
        ),
        "gold_rarity": share(sum(map(rarity, gold.content)), len(gold.content)),
        "gold_parts": len(_LISTED.split(gold.raw)),
    }
