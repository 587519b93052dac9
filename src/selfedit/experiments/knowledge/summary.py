"""What the knowledge experiments end with: the methods of one table as results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfedit.results.compare import compare, on_shared
from selfedit.results.results import Published, Reference, Results
from selfedit.rl.evaluate import undecided
from selfedit.rl.session import AnySession
from selfedit.tasks.knowledge.published import SOURCE


def method_results(
    kind: str,
    session: AnySession,
    scores: Mapping[str, Mapping[str, float]],
    hashes: Mapping[str, str],
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    published: Mapping[str, Reference] | None = None,
    published_pairs: Mapping[tuple[str, str], Reference] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Results:
    """The results of methods measured on held-out passages, and what ``more`` an experiment found.

    No times and no dates: equal runs give equal bytes.
    """
    compared = compare(on_shared(scores), pairs)
    return Results(
        experiment=kind,
        rows=compared.rows,
        paired=compared.paired,
        published=Published(SOURCE, published or {}, published_pairs or {}),
        contexts=scores,
        model={"name": session.settings.model, "fingerprint": session.lm.fingerprint},
        grader=session.settings.answer.grader,
        data=hashes,
        settings=session.settings.model_dump(mode="json"),
        more={"no_verdict": undecided(session.run.ledger, scores), **(more or {})},
    )
