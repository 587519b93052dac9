"""The adapter library: adapters are kept apart, and a question is routed to one of them (see
`retention.library`).
"""

from __future__ import annotations

from collections.abc import Sequence

from selfedit.lm.lora import Adapter
from selfedit.retention.learner import Learner
from selfedit.retention.library import WordRouter, route_by_likelihood
from selfedit.retention.remedies.base import Questions, Remedy, Routed


class AdapterLibrary(Remedy):
    """Each edit has its own adapter; a router chooses by the question's words, or by its
    likelihood.
    """

    turn = 60
    apart = True

    def answering(self, learner: Learner, questions: Questions) -> Routed:
        """See `Remedy`."""
        edits = [edit for edit in learner.edits if edit.factor]
        adapters = [Learner.with_edits([edit]) for edit in edits]
        routes = self._routes(
            [edit.text for edit in edits], [a for a in adapters if a is not None], questions
        )
        numbers = [learner.edits.index(edit) for edit in edits]
        return (
            [None if route is None else adapters[route] for route in routes],
            [None if route is None else numbers[route] for route in routes],
        )

    def _routes(
        self, texts: Sequence[str], adapters: Sequence[Adapter], questions: Questions
    ) -> list[int | None]:
        library = self.settings.library
        queries = [
            f"{title}\n{question}" if title and library.title else question
            for title, question in questions
        ]
        if library.route == "words":
            router = WordRouter(texts, library.least)
            return [router.route(query) for query in queries]
        lm = self.task.lm
        prompts = [(*lm.text_start, *lm.encode(query)) for query in queries]
        return route_by_likelihood(lm, prompts, adapters, library.margin)


REMEDY = AdapterLibrary
