"""Writing many texts a passage: the prompts of a writer put to the run's model, in groups that a kill cannot tear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from selfedit.config import Settings
from selfedit.lm.chat import chat_prompt
from selfedit.lm.generate import Completion, generate
from selfedit.outer.session import Session, timed
from selfedit.run.files import fingerprint
from selfedit.run.ledger import SelfEditRow, TimingRow
from selfedit.run.seeds import derive
from selfedit.tasks.knowledge.writers import entigraph, spa
from selfedit.tasks.task import Context

ROUND = 0
ROWS = 64
"""Texts written together: what a kill can lose; more where one passage has more prompts."""

Prompts = Mapping[str, Sequence[str]]
"""For each context's id, what is asked about it."""


def write_entigraph(session: Session, contexts: Sequence[Context]) -> list[SelfEditRow]:
    """EntiGraph: first the entities of every passage, then a text for each pair and triple drawn of them."""
    asked = {context.id: [entigraph.entities_prompt(context)] for context in contexts}
    listed = write(session, "write:entities", contexts, asked)
    entities = {row.context_id: entigraph.read_entities(row.text) for row in listed}
    cpt, seed = session.settings.cpt, session.settings.seed
    relations = {
        c.id: entigraph.relation_prompts(c, entities[c.id], cpt.pairs, cpt.triples, derive(seed, "relations", c.id))
        for c in contexts
    }
    return write(session, "write:entigraph", contexts, relations)


def write_spa(session: Session, contexts: Sequence[Context]) -> list[SelfEditRow]:
    """SPA: the seven prompts about every passage."""
    rounds = session.settings.cpt.spa_rounds
    return write(session, "write:spa", contexts, {c.id: spa.prompts(c, rounds) for c in contexts})


def write(session: Session, phase: str, contexts: Sequence[Context], prompts: Prompts) -> list[SelfEditRow]:
    """The model's answer to every prompt, sampled as self-edits are; what the ledger has is not written again.

    Contexts are taken in fixed groups, so that a resumed run makes the batches of one that was never stopped.
    """
    ledger = session.run.ledger
    have = {row.context_id for row in ledger.self_edits(phase, ROUND)}
    total = sum(len(prompts[context.id]) for context in contexts)
    done = sum(len(prompts[context.id]) for context in contexts if context.id in have)
    with session.progress.task(f"writing ({phase})", total=total, unit="texts", done=done) as task:
        for group in _groups(contexts, prompts):
            if all(context.id in have for context in group):
                continue
            session.interrupt.check()
            rows = _write_group(session, phase, group, prompts)
            task.advance(len(rows))
    return ledger.self_edits(phase, ROUND)


def _groups(contexts: Sequence[Context], prompts: Prompts) -> list[list[Context]]:
    """Contexts in order, together as long as they have at most `ROWS` prompts; those without any are left out."""
    groups: list[list[Context]] = []
    room = 0
    for context in contexts:
        count = len(prompts[context.id])
        if not count:
            continue
        if not groups or count > room:
            groups.append([])
            room = ROWS
        groups[-1].append(context)
        room -= count
    return groups


def _write_group(session: Session, phase: str, group: Sequence[Context], prompts: Prompts) -> list[SelfEditRow]:
    settings = session.settings
    wanted = [(c, number, text) for c in group for number, text in enumerate(prompts[c.id])]
    ids = [tuple(chat_prompt(session.lm, text, _system(session, settings))) for *_, text in wanted]
    seeds = [derive(settings.seed, "write", phase, context.id, number) for context, number, _ in wanted]
    timings: list[TimingRow] = []
    with timed(timings, phase, ROUND, "sampling", len(wanted)):
        written = generate(
            session.lm,
            ids,
            max_new_tokens=settings.edit.max_new_tokens,
            temperature=settings.edit.temperature,
            top_p=settings.edit.top_p,
            seeds=seeds,
        )
    made = zip(wanted, ids, seeds, written, strict=True)
    rows = [_row(phase, c, number, prompt, seed, text) for (c, number, _), prompt, seed, text in made]
    seconds = timings[0].seconds / len(rows)
    rows = [replace(row, seconds=seconds) for row in rows]
    session.run.ledger.add_self_edits(rows, timings)
    return rows


def _system(session: Session, settings: Settings) -> str | None:
    return settings.edit.system if session.lm.has_chat else None


def _row(
    phase: str, context: Context, number: int, prompt: tuple[int, ...], seed: int, written: Completion
) -> SelfEditRow:
    return SelfEditRow(
        phase=phase,
        round=ROUND,
        context_id=context.id,
        candidate=number,
        text=written.text,
        prompt_hash=fingerprint(prompt),
        seed=seed,
        tokens=len(written.ids),
        seconds=0.0,
        finish=written.finish,
        rejected=None if written.text.strip() else "nothing in it to train on",
    )
