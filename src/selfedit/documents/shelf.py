"""What can answer: a model, and the adapters that stand on it, each loaded when it is first needed
and at most a number of them in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from selfedit.errors import UsageError
from selfedit.lm.load import LanguageModel
from selfedit.lm.lora import Adapter
from selfedit.lm.seats import check_adapter

AUTO = "auto"
"""The name under which each question goes to what knows the answer."""
KEPT = 64
"""Adapters in memory at once."""

Kind = Literal["document", "adapter", "policy", "base"]
Route = Callable[[str, str], str | None]
"""A question and its topic to the name of what knows the answer; None for the model itself."""


@dataclass(frozen=True)
class Source:
    """What answers a question.

    Attributes:
        kind: a document's adapter, some other adapter, a run's policy, or the model itself.
        name: the document's or the adapter's; None for the model itself.
        adapter: None for the model itself.
        reason: why the model itself answers.
    """

    kind: Kind
    name: str | None = None
    adapter: Adapter | None = None
    reason: str | None = None

    @property
    def wants_form(self) -> bool:
        """Whether it is to be asked as adapters of documents are (`selfedit.documents.asking`)."""
        return self.adapter is not None and self.kind != "policy"


class Shelf:
    """The model, its adapters by name, and which of them a question goes to. For any thread.

    Args:
        lm: the model.
        loaders: of each adapter, what loads it.
        route: for questions that name no adapter.
        is_follow_up: whether a question that names none is about what was asked before it.
        kind: what the adapters are.
        base: the name of the model itself.
        kept: adapters in memory at once; the one unused for longest goes.
    """

    def __init__(
        self,
        lm: LanguageModel,
        loaders: Mapping[str, Callable[[], Adapter]],
        route: Route,
        *,
        is_follow_up: Callable[[str], bool] = lambda question: True,
        kind: Kind,
        base: str,
        kept: int = KEPT,
    ) -> None:
        self.lm, self.base = lm, base
        self.kind: Kind = kind
        self._loaders, self._route = dict(loaders), route
        self._is_follow_up = is_follow_up
        self._loaded = lru_cache(kept)(self._load)
        # Two requests for one adapter are not to read it twice, and tokenizers and caches are
        # shared.
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Every name that can be asked: `AUTO`, the model, each adapter."""
        return list(dict.fromkeys([AUTO, self.base, *self._loaders]))

    @property
    def in_words(self) -> str:
        """The model, and how many adapters stand on it."""
        adapters = len(self._loaders)
        return f"{self.base} with {adapters} adapter{'s' * (adapters != 1)}"

    def source(self, name: str, questions: Sequence[str], topic: str = "") -> Source:
        """What answers.

        Args:
            name: one of `names`.
            questions: the question, and what was asked before it, latest first: a follow-up stays
                with the document of the question before it.
            topic: what the question is about, in the words of a document's title.

        Raises:
            UsageError: there is no such name, or an adapter that does not fit the model.
            ModelFileError: the adapter cannot be read.
        """
        if name not in self.names:
            raise UsageError("there is no model of this name", fix="see the list of models")
        with self._lock:
            if name == self.base:
                return self._itself("the model itself was asked")
            chosen = self._routed(questions, topic) if name == AUTO else name
            if chosen is None:
                return self._itself("no document knows this")
            return Source(self.kind, chosen, self._loaded(chosen))

    def _routed(self, questions: Sequence[str], topic: str) -> str | None:
        for question in questions:
            name = self._route(question, topic)
            if name is not None or not self._is_follow_up(question):
                return name
        return None

    def _itself(self, reason: str) -> Source:
        # A policy without an adapter is in the weights: then the model itself is what was learned.
        if self.kind == "policy" and not self._loaders:
            return Source("policy", self.base)
        return Source("base", reason=reason)

    def _load(self, name: str) -> Adapter:
        adapter = self._loaders[name]()
        check_adapter(self.lm, adapter)
        return adapter
