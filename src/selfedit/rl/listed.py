"""Every self-edit there is as a round's candidates, where they can be listed."""

from __future__ import annotations

from collections.abc import Sequence

from selfedit.errors import UsageError
from selfedit.lm.decoder import Completion
from selfedit.lm.rules import OneOf, TokenTree
from selfedit.rl.policy_tokens import policy_temperature, read_logs, sampled_sequence
from selfedit.rl.sample import edit_row
from selfedit.rl.session import AnySession
from selfedit.run.records import Place, Sampled, SelfEditRow
from selfedit.tasks.task import Context


def check_listed(session: AnySession) -> TokenTree:
    """The tree of all self-edits, where ``rl.draw = "every"`` can be done.

    Raises:
        UsageError: they cannot be listed, or ``rl.candidates`` is not their number.
    """
    rule, count = session.task.rule(), session.settings.rl.candidates
    if not isinstance(rule, OneOf):
        fix = "set arc.listed = true in few-shot ARC; else rl.draw = policy"
        raise UsageError("self-edits cannot be listed", where="rl.draw", fix=fix)
    # Each candidate is one of them: another count would leave some out, or try some twice.
    if len(rule.tree.texts) != count:
        what = f"there are {len(rule.tree.texts)} self-edits, and {count} candidates a context"
        fix = f"set rl.candidates = {len(rule.tree.texts)}, or list fewer"
        raise UsageError(what, where="rl.draw", fix=fix)
    return rule.tree


def write_every(
    session: AnySession, place: Place, contexts: Sequence[Context]
) -> list[SelfEditRow]:
    """All self-edits of each context, with how likely the policy finds each; a context is one
    transaction.
    """
    tree, ledger = check_listed(session), session.run.ledger
    have = {row.context_id for row in ledger.self_edits(place)}
    name = f"listing self-edits ({place})"
    total, done = len(contexts), sum(context.id in have for context in contexts)
    with session.progress.task(name, total=total, unit="contexts", done=done) as task:
        for context in contexts:
            if context.id not in have:
                session.interrupt.check()
                # A context a transaction: hundreds of rows, and a kill loses one context's.
                ledger.add_self_edits(_rows_of(session, place, context, tree))
                task.advance()
    return ledger.self_edits(place)


def _rows_of(
    session: AnySession, place: Place, context: Context, tree: TokenTree
) -> list[SelfEditRow]:
    prompt = session.task.prompt(context)
    sequences = [sampled_sequence(session, prompt, Sampled(text)) for text in tree.texts]
    temperature = policy_temperature(session)
    logs = read_logs(session.lm, sequences, session.policy, temperature)
    rows = []
    for number, (text, sequence, likely) in enumerate(
        zip(tree.texts, sequences, logs, strict=True)
    ):
        chosen = dict(zip(sequence.places, likely, strict=True))
        # Where the grammar leaves one token its log-probability is 0; those are not among the
        # places.
        every = [chosen.get(len(prompt) + index, 0.0) for index in range(len(text))]
        written = Completion(
            session.lm.decode(text), text, "stop", len(prompt), logprobs=tuple(every)
        )
        rows.append(edit_row(session, place, context, number, 0, prompt, [written]))
    return rows
