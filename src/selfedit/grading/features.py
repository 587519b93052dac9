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

from selfedit.grading.align import grams_found, in_order, nearest, overlap, share, span
from selfedit.grading.lexicon import NEGATIONS, OPPOSITES, STOP_WORDS
from selfedit.grading.quantities import nearest_gap, periods_met
from selfedit.grading.text import contains_gold, normalise
from selfedit.grading.view import View, answer_body, sentences, view

VERSION = 1
"""Raised whenever a feature changes its meaning: a fitted grader only runs with the version it was fitted with."""

Rarity = Callable[[str], float]
"""How rare a stem is in answers to other questions: the logarithm of its inverse document frequency."""

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
    asked, wanted, body = view(question), view(gold), answer_body(answer)
    parts = sentences(body)
    whole, first = view(body), view(parts[0])
    best = max(map(view, parts), key=lambda part: overlap(wanted.content, part.content)[1])
    known: dict[str, dict[str, float]] = {}
    out: dict[str, float] = {}
    for name, said in (("whole", whole), ("first", first), ("best", best)):
        if said.raw not in known:  # most replies are one sentence: measured once
            known[said.raw] = _stretch(asked, wanted, said, rarity)
        out |= {f"{name}_{key}": value for key, value in known[said.raw].items()}
    out |= _containment(gold, answer, body, parts) | _form(asked, wanted, whole, answer, body)
    out["sentences"] = len(parts)
    out |= _enumeration(wanted, whole) | _question(asked, wanted, rarity)
    return {name: round(float(value), 4) for name, value in out.items()}


def _stretch(asked: View, gold: View, said: View, rarity: Rarity) -> dict[str, float]:
    return (
        _words(gold, said)
        | _nearness(asked, gold, said, rarity)
        | _surplus(asked, gold, said, rarity)
        | _places(asked, gold, said)
        | _names(asked, gold, said)
        | _numbers(asked, gold, said)
        | _contradictions(asked, gold, said)
    )


def _words(gold: View, said: View) -> dict[str, float]:
    precision, recall, f1 = overlap(gold.content, said.content)
    _, token_recall, token_f1 = overlap(gold.tokens, said.tokens)
    pairs = set(pairwise(gold.stems))
    joined = "".join(gold.tokens)
    return {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "token_recall": token_recall,
        "token_f1": token_f1,
        "pairs": share(len(pairs & set(pairwise(said.stems))), len(pairs)) if pairs else -1,
        "letters": grams_found(" ".join(gold.tokens), " ".join(said.tokens)),
        "joined": len(joined) > 4 and joined in "".join(said.tokens),
    }


def _nearness(asked: View, gold: View, said: View, rarity: Rarity) -> dict[str, float]:
    """By stem, meaning or spelling: how much of gold is found, and how rare what is missing is."""
    near = nearest(gold.content, said.stem_set)
    rows = [(rarity(stem), value, stem) for stem, value in zip(gold.content, near, strict=True)]
    missing = [weight for weight, value, _ in rows if value < _CLOSE]
    new = [row for row in rows if row[2] not in asked.stem_set]
    found = [weight for weight, value, _ in new if value >= _CLOSE]
    return {
        "near": share(sum(near), len(near)),
        "near_least": min(near, default=0),
        "close": share(len(near) - len(missing), len(near)),
        "missing": sum(missing),
        "missing_rarest": max(missing, default=0),
        "rare_recall": 1 - share(sum(missing), sum(weight for weight, *_ in rows)),
        "new_recall": (
            share(sum(stem in said.stem_set for *_, stem in new), len(new)) if new else -1
        ),
        "new_near": share(sum(value for _, value, _ in new), len(new)) if new else -1,
        "new_least": min(value for _, value, _ in new) if new else -1,
        "new_rare": share(sum(found), sum(weight for weight, *_ in new)) if new else -1,
        "new_rarest": max(new)[1] if new else -1,
        "head": next((value for _, value, stem in rows if stem == gold.head), 0),
        "first_word": near[0] if near else 0,
        "last_word": near[-1] if near else 0,
    }


def _surplus(asked: View, gold: View, said: View, rarity: Rarity) -> dict[str, float]:
    """What the reply says beyond question and gold."""
    told = [stem for stem in said.content if stem not in asked.stem_set]
    extra = [stem for stem in told if stem not in gold.content_set]
    return {
        "length": len(said.tokens),
        "extra": len(extra),
        "extra_share": share(len(extra), len(said.content)),
        "extra_rarity": share(sum(map(rarity, extra)), len(extra)),
        "told_gold": share(len(told) - len(extra), len(told)),
        "told_near": share(sum(nearest(told, gold.stem_set)), len(told)),
    }


def _places(asked: View, gold: View, said: View) -> dict[str, float]:
    """Order, density and position of the gold words."""
    at = [
        place
        for place, stem in enumerate(said.stems)
        if stem in gold.content_set and stem not in asked.stem_set
    ]
    start = at[0] if at else len(said.stems)
    return {
        "in_order": share(in_order(gold.stems, said.stems), len(gold.stems)),
        "span": share(span(gold.content_set, said.stems), len(gold.stems)),
        "at": start if at else -1,
        "at_share": share(start, len(said.stems)) if at else -1,
        "told_before": sum(
            stem in said.content_set and stem not in asked.stem_set for stem in said.stems[:start]
        ),
    }


def _names(asked: View, gold: View, said: View) -> dict[str, float]:
    initials = "".join(token[0] for token in gold.tokens if token not in STOP_WORDS)
    return {
        "names": share(len(gold.names & said.stem_set), len(gold.names)) if gold.names else -1,
        "other_names": len(said.names - gold.stem_set - asked.stem_set),
        "asked_words": share(len(asked.content_set & said.stem_set), len(asked.content_set)),
        "asked_names": (
            share(len(asked.names & said.stem_set), len(asked.names)) if asked.names else -1
        ),
        "surname": _surname(gold, said),
        "acronym": (
            (len(initials) > 1 and initials in said.tokens) or _spells(gold.tokens, said.tokens)
        ),
    }


def _surname(gold: View, said: View) -> float:
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
    if gold.stems[-1] not in said.stem_set:
        return 0
    before = said.stems[: said.stems.index(gold.stems[-1])][-1:]
    return 0.5 if set(before) & said.names - gold.stem_set and len(before[0]) > 1 else 1


def _spells(gold: Sequence[str], said: Sequence[str]) -> bool:
    """Whether words in a row begin with the letters of a one-word gold answer of two to six
    letters.
    """
    size = len(gold[0]) if len(gold) == 1 else 0
    if not 2 <= size <= 6:
        return False
    return gold[0] in (
        "".join(token[0] for token in said[at : at + size]) for at in range(len(said) - size + 1)
    )


def _numbers(asked: View, gold: View, said: View) -> dict[str, float]:
    wanted, told, given = gold.numbers, said.numbers, asked.numbers
    values = set(wanted.values)
    return {
        "numbers": share(len(values & set(told.values)), len(values)) if values else -1,
        "other_numbers": len(set(told.values) - values - set(given.values)),
        "number_gap": nearest_gap(wanted.values, told.values) if values else -1,
        "periods": periods_met(wanted, told),
        "other_years": len(told.years - wanted.years - given.years),
        "months": bool(wanted.months & told.months) - bool(told.months - wanted.months),
        "units": share(len(wanted.units & told.units), len(wanted.units)) if wanted.units else -1,
    }


def _contradictions(asked: View, gold: View, said: View) -> dict[str, float]:
    negations = sum(token in NEGATIONS for token in said.tokens)
    unsaid = gold.stem_set - said.stem_set - asked.stem_set
    return {
        "opposites": sum(
            (a, b) in OPPOSITES for a in unsaid for b in said.stem_set - gold.stem_set
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


def _form(asked: View, gold: View, said: View, answer: str, body: str) -> dict[str, float]:
    decided = gold.tokens[:1] in (("yes",), ("no",))
    return {
        "same": said.tokens == gold.tokens,
        "run_on": len(answer.strip()) - len(body),
        "cut_off": not _FINISHED.search(answer),
        "asks": body.endswith("?"),
        "repeats_question": share(
            sum(stem in asked.stem_set for stem in said.stems), len(said.stems)
        ),
        "bullets": len(_BULLET.findall(body)),
        "or": "or" in said.tokens,
        "commas": body.count(","),
        "yes_no": said.tokens[:1] == gold.tokens[:1] if decided else -1,
    }


def _enumeration(gold: View, said: View) -> dict[str, float]:
    """Gold answers that list several things: how much of each is said; of names, whether the
    surname is.
    """
    parts = [view(part) for part in _LISTED.split(gold.raw) if normalise(part)]
    found = [share(sum(nearest(part.content, said.stem_set)), len(part.content)) for part in parts]
    surnames = [
        names[-1] in said.stem_set
        for part in parts
        if (names := [w for w in part.content if w in part.names])
    ]
    return {
        "parts_least": min(found, default=0),
        "parts_mean": share(sum(found), len(found)),
        "parts_most": max(found, default=0),
        "surnames": share(sum(surnames), len(surnames)) if surnames else -1,
    }


def _question(asked: View, gold: View, rarity: Rarity) -> dict[str, float]:
    text = asked.raw.casefold()
    kind = next((kind for kind in _KINDS if re.search(rf"\b{kind}\b", text)), None)
    asks: dict[str, float] = {f"asks_{each.replace(' ', '_')}": kind == each for each in _KINDS}
    return asks | {
        "gold_length": len(gold.tokens),
        "gold_names": share(len(gold.names), len(gold.content_set)),
        "gold_numbers": len(gold.numbers.values),
        "gold_new": share(
            sum(stem not in asked.stem_set for stem in gold.content), len(gold.content)
        ),
        "gold_rarity": share(sum(map(rarity, gold.content)), len(gold.content)),
        "gold_parts": len(_LISTED.split(gold.raw)),
    }
