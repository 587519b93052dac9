"""E-step, first half: the policy writes self-edits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from selfedit.lm.generate import Completion
from selfedit.lm.lora import Adapter
from selfedit.lm.rules import TokenRule
from selfedit.rl.session import Session, timed
from selfedit.rl.trial import seed_parts
from selfedit.run.records import Place, Sampled, SelfEditRow, TimingRow
from selfedit.run.seeds import derive
from selfedit.storage.files import fingerprint
from selfedit.tasks.task import Context, Note

ROWS = 64
"""Self-edits sampled together, and stored together: what a kill can lose."""


def sample(
    session: Session,
    place: Place,
    contexts: Sequence[Context],
    candidates: int,
    policy: Adapter | None = None,
) -> list[SelfEditRow]:
    """Sample ``candidates`` self-edits for each context; those already in the ledger are not
    sampled again.

    Contexts are taken in fixed groups, so a resumed run makes the same batches, and so the same
    bits, as one that was never stopped.
    """
    ledger = session.run.ledger
    have = {row.context_id for row in ledger.self_edits(place)}
    # Whole contexts: a context's self-edits are written in one batch.
    size = max(1, ROWS // candidates)
    groups = [contexts[start : start + size] for start in range(0, len(contexts), size)]
    with session.progress.task(
        f"writing self-edits ({place})",
        total=len(contexts) * candidates,
        unit="self-edits",
        done=len(have) * candidates,
    ) as task:
        for group in groups:
            if all(context.id in have for context in group):
                continue
            session.interrupt.check()
            timings: list[TimingRow] = []
            with timed(timings, place, "sampling", len(group) * candidates):
                rows = _sample_group(session, place, group, candidates, policy)
            # Evenly: a batch's seconds are no row's own.
            seconds = timings[0].seconds / len(rows)
            ledger.add_self_edits([replace(row, seconds=seconds) for row in rows], timings)
            task.advance(len(rows))
    return ledger.self_edits(place)


def _sample_group(
    session: Session,
    place: Place,
    group: Sequence[Context],
    candidates: int,
    policy: Adapter | None,
) -> list[SelfEditRow]:
    pairs = [(context, candidate) for context in group for candidate in range(candidates)]
    prompts = {context.id: session.task.prompt(context) for context in group}
    # Without the method: the same policy at the same place writes the same text.
    at = seed_parts(place)
    seeds = [
        derive(session.settings.seed, "sample", *at, c.id, candidate) for c, candidate in pairs
    ]
    tries = _tries(session, [prompts[context.id] for context, _ in pairs], seeds, policy)
    return [
        edit_row(session, place, context, candidate, seed, prompts[context.id], written)
        for (context, candidate), seed, written in zip(pairs, seeds, tries, strict=True)
    ]


def _tries(
    session: Session,
    prompts: Sequence[tuple[int, ...]],
    seeds: Sequence[int],
    policy: Adapter | None,
) -> list[list[Completion]]:
    """What was written for each prompt: once, or again while it is rejected, as often as the task
    allows.
    """

    def write(prompts: Sequence[tuple[int, ...]], seeds: Sequence[int]) -> list[Completion]:
        return sampled(
            session, prompts, seeds, [policy] * len(prompts), [session.task.rule() for _ in prompts]
        )

    tries = [[written] for written in write(prompts, seeds)]
    for number in range(1, session.task.tries):
        # Only the last try is judged: earlier ones were rejected already.
        again = [n for n, texts in enumerate(tries) if _note(session, texts[-1:]).rejected]
        if not again:
            break
        # A new seed that depends on the first: a second try is not the same text again.
        fresh = [derive(seeds[n], "again", number) for n in again]
        for n, written in zip(again, write([prompts[n] for n in again], fresh), strict=True):
            tries[n].append(written)
    return tries


def sampled(
    session: Session,
    prompts: Sequence[tuple[int, ...]],
    seeds: Sequence[int],
    adapters: Sequence[Adapter | None] | None = None,
    rules: Sequence[TokenRule | None] | None = None,
) -> list[Completion]:
    """One completion for each prompt, by the run's model with an adapter each or none, decoded as
    ``edit`` says.
    """
    edit = session.settings.edit
    return session.sampler.generate(
        prompts,
        adapters,
        max_new_tokens=edit.max_new_tokens,
        temperature=edit.temperature,
        top_p=edit.top_p,
        seeds=seeds,
        rules=rules,
    )


# All tries, since the note says how many there were.
def _note(session: Session, tries: Sequence[Completion]) -> Note:
    return session.task.note([session.task.parse(written.text) for written in tries])


def edit_row(
    session: Session,
    place: Place,
    context: Context,
    candidate: int,
    seed: int,
    prompt: tuple[int, ...],
    tries: Sequence[Completion],
) -> SelfEditRow:
    """The last of what was written after a prompt, as it goes into the ledger."""
    note = _note(session, tries)
    directives = json.dumps(note.directives, sort_keys=True) if note.directives else None
    return written_row(
        place, context, candidate, prompt, seed, tries[-1], note.rejected, directives
    )


def written_row(
    place: Place,
    context: Context,
    candidate: int,
    prompt: tuple[int, ...],
    seed: int,
    written: Completion,
    rejected: str | None,
    directives_json: str | None = None,
) -> SelfEditRow:
    """What the model wrote after a prompt, as it goes into the ledger; ``rejected`` says why it is
    of no use.
    """
    return SelfEditRow(
        place=place,
        context_id=context.id,
        candidate=candidate,
        text=written.text,
        prompt_hash=fingerprint(prompt),
        seed=seed,
        tokens=len(written.ids),
        # Set by the caller once the batch's time is known.
        seconds=0.0,
        finish=written.finish,
        directives_json=directives_json,
        rejected=rejected,
        sampled_json=Sampled(written.sampled, written.logprobs).as_json(),
    )
