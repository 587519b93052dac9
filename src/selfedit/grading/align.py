"""How much of one list of words is found in another: exactly, by stem, by meaning, by spelling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

from selfedit.grading.lexicon import alike

_SOUND = str.maketrans(
    {"d": "t", "g": "k", "c": "k", "q": "k", "b": "p", "v": "f", "z": "s", "x": "s", "j": "s"}
    | dict.fromkeys("aeiouyhw")
)


def share(part: float, total: float) -> float:
    """``part / whole``, 0 where there is no whole."""
    return part / total if total else 0.0


def overlap(gold: Sequence[str], answer: Sequence[str]) -> tuple[float, float, float]:
    """Precision, recall and F1 of the words said against the gold words, as multisets."""
    shared = (Counter(gold) & Counter(answer)).total()
    return (
        share(shared, len(answer)),
        share(shared, len(gold)),
        share(2 * shared, len(gold) + len(answer)),
    )


@lru_cache(maxsize=262144)
def closeness(gold: str, word: str) -> float:
    """How near one stem is to another in [0, 1]: 1 the same, 0.9 a near synonym, else the likeness
    of the spelling.

    The likeness is Dice's coefficient of the letter pairs; words of the same consonants
    (``khuruldai``, ``kurultai``) count 0.8. Numbers are the same or not.
    """
    if gold == word:
        return 1.0
    if alike(gold, word):
        return 0.9
    if gold[0].isdigit() or word[0].isdigit():
        return 0.0
    pairs = dice(gold, word)
    if (
        pairs < 0.8
        and len(gold) > 3
        and gold.isascii()
        and _sound(gold) == _sound(word)
        and len(_sound(gold)) > 2
    ):
        return 0.8
    return pairs


def _sound(word: str) -> str:
    bare = word.translate(_SOUND)
    return word[0] + "".join(
        char for at, char in enumerate(bare) if at == 0 or bare[at - 1] != char
    )


def dice(a: str, b: str, n: int = 2) -> float:
    """Dice's coefficient of the two texts' letter n-grams, edges included."""
    grams_a, grams_b = _grams(a, n), _grams(b, n)
    return share(2 * (grams_a & grams_b).total(), grams_a.total() + grams_b.total())


def grams_found(gold: str, answer: str, n: int = 3) -> float:
    """The share of the gold text's letter n-grams that occur in the other."""
    grams = _grams(gold, n)
    return share((grams & _grams(answer, n)).total(), grams.total())


@lru_cache(maxsize=32768)
def _grams(text: str, n: int) -> Counter[str]:
    text = f" {text} "
    return Counter(text[at : at + n] for at in range(len(text) - n + 1))


def nearest(gold: Sequence[str], answer: Iterable[str]) -> list[float]:
    """For each gold stem the closeness of the nearest stem said."""
    words = tuple(answer)
    return [_nearest_word(stem, words) for stem in gold]


def _nearest_word(stem: str, words: Sequence[str]) -> float:
    if stem in words:
        return 1.0
    return max((closeness(stem, word) for word in words), default=0.0)


def words_in_order(gold: Sequence[str], answer: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(answer) + 1)
    for word in gold:
        diagonal = 0
        for at, other in enumerate(answer, start=1):
            above = row[at]
            row[at] = diagonal + 1 if word == other else max(above, row[at - 1])
            diagonal = above
    return row[-1]


def span(gold: frozenset[str], answer: Sequence[str]) -> int:
    """The length of the shortest stretch that holds every gold stem said at all; 0 if none is."""
    places = [(at, stem) for at, stem in enumerate(answer) if stem in gold]
    want = len({stem for _, stem in places})
    best, counts, left = len(answer) if places else 0, Counter[str](), 0
    for at, stem in places:
        counts[stem] += 1
        while counts[places[left][1]] > 1:
            counts[places[left][1]] -= 1
            left += 1
        if sum(count > 0 for count in counts.values()) == want:
            best = min(best, at - places[left][0] + 1)
    return best
