"""The methods of the knowledge tables: the outer loop's own, the passage in the prompt, and what
others wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from selfedit.config import Settings
from selfedit.errors import UsageError
from selfedit.experiments.knowledge.external import store_written, write_external
from selfedit.grading.stats import mean
from selfedit.lm.lora import Adapter
from selfedit.rl.base_answers import measure_base
from selfedit.rl.evaluate import METHODS as LOOP_METHODS
from selfedit.rl.evaluate import check_methods, evaluate, held_out, run_edits
from selfedit.rl.sample import sample
from selfedit.rl.session import Session
from selfedit.run.ledger import Ledger
from selfedit.run.records import SelfEditRow
from selfedit.tasks.knowledge.shown import ShownTask
from selfedit.tasks.task import Context

METHODS: dict[str, str] = {
    **LOOP_METHODS,
    "context": "the model as it is, with the passage in its prompt (what retrieval would give)",
    "external": "passage + self-edits by another writer",
}
"""Every method of ``eval.methods`` and what it is."""

_SEAL = re.compile(r"seal(-\d+)?")


def check_settings(settings: Settings) -> None:
    """Refuse methods that do not exist or lack what they need.

    Raises:
        UsageError: says which.
    """
    methods = settings.eval.methods
    check_methods(methods, METHODS)
    if "passage" in methods and not settings.edit.passage:
        fix = "set edit.passage = true, or leave the method out of eval.methods"
        raise UsageError(
            "the method 'passage' trains on the passage, edit.passage forbids it",
            where="edit",
            fix=fix,
        )


def measured_methods(settings: Settings) -> list[str]:
    """The rows of the table in order: ``seal`` only after RL, and once a round with
    ``eval.by_round``.
    """
    rows: list[str] = []
    for method in settings.eval.methods:
        if method != "seal":
            rows.append(method)
        elif settings.eval.by_round:
            rows += [f"seal-{number}" for number in range(1, settings.rl.rounds + 1)]
        elif settings.rl.rounds:
            rows.append(method)
    return rows


def is_seal(method: str) -> bool:
    """Whether this row needs a policy after RL."""
    return _SEAL.fullmatch(method) is not None


def measure(
    session: Session,
    method: str,
    contexts: Sequence[Context],
    policy: Adapter | None = None,
    name: str | None = None,
) -> None:
    """Answer the contexts' questions by one method; what the ledger has is not done again.

    Args:
        session: the run.
        method: one of `METHODS`.
        contexts: held-out passages.
        policy: the policy's adapter, for ``seal``, if it is not in the weights.
        name: the row's name (``seal-2``), if it is not the method's.
    """
    at = held_out(name or method)
    if method == "context":
        in_prompt = ShownTask(session.lm, session.settings)
        return measure_base(replace(session, task=in_prompt), at, contexts)
    samples = session.settings.eval.samples
    if method == "external":
        rows = write_external(session, at, contexts, samples)
    elif name is None or name == method:
        return evaluate(session, method, contexts, policy)
    else:
        rows = sample(session, at, contexts, samples, policy)
    return run_edits(session, at, _edits_of(session, rows, contexts))


def measure_written(
    session: Session, name: str, contexts: Sequence[Context], texts: Mapping[str, Sequence[str]]
) -> None:
    """Train on self-edits that somebody else wrote, as on the model's own; ``texts`` has each
    context's by its id.
    """
    at = held_out(name)
    rows = store_written(session, at, contexts, texts)
    run_edits(session, at, _edits_of(session, rows, contexts))


def _edits_of(session: Session, rows: Sequence[SelfEditRow], contexts: Sequence[Context]):
    by_id = {context.id: context for context in contexts}
    return [(by_id[row.context_id], row.candidate, session.task.parse(row.text)) for row in rows]


def pairs_of(methods: Sequence[str]) -> list[tuple[str, str]]:
    """What is compared, the earlier row first: neighbours, and the last of SEAL with no RL and
    another writer.
    """
    rows = list(methods)
    pairs = list(pairwise(rows))
    seal = [method for method in rows if is_seal(method)]
    distant = [("own", seal[-1]), ("external", seal[-1]), ("context", seal[-1])] if seal else []
    distant += [("passage", method) for method in ("own", "external")]
    known = {frozenset(pair) for pair in pairs}
    return pairs + [
        (b, a) for b, a in distant if b in rows and a in rows and frozenset((b, a)) not in known
    ]


def by_seed(ledger: Ledger, method: str) -> list[float]:
    """A method's accuracy with each inner seed alone: the mean over passages of each repeat's
    answers.
    """
    shares: dict[int, list[float]] = {}
    for verdicts in ledger.verdicts(held_out(method)):
        if verdicts.judged:
            shares.setdefault(verdicts.repeat, []).append(verdicts.right / verdicts.judged)
    return [mean(values) for _, values in sorted(shares.items())]
