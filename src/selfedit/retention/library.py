"""The adapter library: adapters are kept apart, and a question is routed to one of them, or to
none.

A mixture of experts chosen by retrieval, as in LoraRetriever (Zhao et al. 2024, arXiv 2402.09997).
The router sees what the model will see, the question and, unless it is told otherwise, the topic
line above it; it is never told which passage a question is of. With titles as telling as an
encyclopaedia's that is an easy task: leave the topic line out (``retention.library.title = false``)
to see how much of the result hangs on it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.perplexity import row_losses
from selfedit.retention.general import gate_texts, measured_texts

_WORD = re.compile(r"\w+")


def words(text: str) -> set[str]:
    """The different words of a text, case folded."""
    return set(_WORD.findall(text.casefold()))


class WordRouter:
    """Routes by words: to the entry that holds the largest share of the question's words, by their
    weight.

    A word weighs log((1 + N) / (1 + n)), where n of N texts have it (Spärck Jones 1972); the texts
    are the entries and the project's everyday prose, which makes words such as "what" weigh little
    even in a library of one.

    Args:
        entries: what each adapter was made from.
        least: the share an entry must hold; below it the question goes to no adapter.
    """

    def __init__(self, entries: Sequence[str], least: float) -> None:
        entry_words = [words(text) for text in entries]
        texts = [*entry_words, *map(words, [*measured_texts(), *gate_texts()])]
        frequencies = Counter(word for text in texts for word in text)
        self._count = len(entry_words)
        self._least = least
        self._unknown = math.log(1 + len(texts))
        self._weights = {
            word: math.log((1 + len(texts)) / (1 + number)) for word, number in frequencies.items()
        }
        holders: dict[str, list[int]] = {}
        for number, of_entry in enumerate(entry_words):
            for word in of_entry:
                holders.setdefault(word, []).append(number)
        self._holders = {word: np.array(numbers) for word, numbers in holders.items()}

    def route(self, query: str) -> int | None:
        """The entry a query goes to; of equals the first."""
        shares = np.zeros(self._count)
        total = 0.0
        for word in sorted(words(query)):  # sums with the same last bits in every process
            weight = self._weights.get(word, self._unknown)
            total += weight
            if word in self._holders:
                shares[self._holders[word]] += weight
        if not total or not self._count:
            return None
        best = int(shares.argmax())
        return best if shares[best] / total >= self._least and shares[best] > 0 else None


def route_by_likelihood(
    lm: LanguageModel, prompts: Sequence[Sequence[int]], adapters: Sequence[Adapter], margin: float
) -> list[int | None]:
    """For each prompt the adapter under which it is most likely; None where none gains ``margin``
    over the base.

    Args:
        lm: the model.
        prompts: token ids of what the router may see.
        adapters: those to choose from.
        margin: nats a token.
    """
    base = row_losses(lm, prompts, None)
    gains = []  # [adapters][prompts]
    for adapter in adapters:
        losses = row_losses(lm, prompts, adapter)
        gains.append([before - after for before, after in zip(base, losses, strict=True)])
    chosen: list[int | None] = []
    for number in range(len(prompts)):
        best = max(range(len(adapters)), key=lambda k: gains[k][number], default=None)
        chosen.append(best if best is not None and gains[best][number] > margin else None)
    return chosen
