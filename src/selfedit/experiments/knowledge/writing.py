"""Writing many texts a passage: prompts put to the run's model or to an endpoint, in groups that a
kill cannot tear.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from selfedit.config.endpoint import EndpointSettings
from selfedit.endpoint import Bill, EndpointClient, ask
from selfedit.lm.chat import chat_prompt
from selfedit.rl.sample import sampled
from selfedit.rl.session import Session, timed
from selfedit.run.ledger import Ledger
from selfedit.run.records import Phase, Place, SelfEditRow, TimingRow
from selfedit.run.seeds import derive
from selfedit.storage.files import fingerprint
from selfedit.tasks.knowledge.writers import entigraph, spa
from selfedit.tasks.task import Context

ROWS = 64
"""Texts written together: what a kill can lose; more where one passage has more prompts."""

Prompts = Mapping[str, Sequence[str]]
"""For each context's id, what is asked about it."""
_BILLED = ("replies", "refused", "tokens_in", "tokens_out", "cost")


class _Written(NamedTuple):
    text: str
    tokens: int
    finish: str


def write_entigraph(session: Session, contexts: Sequence[Context]) -> list[SelfEditRow]:
    """EntiGraph: first the entities of every passage, then a text for each pair and triple drawn of
    them.
    """
    prompts = {context.id: [entigraph.entities_prompt(context)] for context in contexts}
    endpoint = _writer(session)
    listed = write_texts(session, Place(Phase.WRITE, "entities"), contexts, prompts, endpoint)
    entities = {row.context_id: entigraph.read_entities(row.text) for row in listed}
    cpt, seed = session.settings.cpt, session.settings.seed
    relations = {
        c.id: entigraph.relation_prompts(
            c, entities[c.id], cpt.pairs, cpt.triples, derive(seed, "relations", c.id)
        )
        for c in contexts
    }
    return write_texts(session, Place(Phase.WRITE, "entigraph"), contexts, relations, endpoint)


def write_spa(session: Session, contexts: Sequence[Context]) -> list[SelfEditRow]:
    """SPA: the seven prompts about every passage."""
    rounds = session.settings.cpt.spa_rounds
    return write_texts(
        session,
        Place(Phase.WRITE, "spa"),
        contexts,
        {c.id: spa.spa_prompts(c, rounds) for c in contexts},
        _writer(session),
    )


def _writer(session: Session) -> EndpointSettings | None:
    return session.settings.external.endpoint if session.settings.cpt.writer == "endpoint" else None


def write_texts(
    session: Session,
    place: Place,
    contexts: Sequence[Context],
    prompts: Prompts,
    endpoint: EndpointSettings | None = None,
) -> list[SelfEditRow]:
    """The answer to every prompt, sampled as self-edits are; what the ledger has is not written
    again.

    Contexts are taken in fixed groups, so that a resumed run makes the batches of one that was
    never stopped.

    Args:
        session: the run.
        place: where the texts are in the ledger.
        contexts: what the prompts are about.
        prompts: for each context.
        endpoint: who is asked; None asks the run's model. What it cost is in the ledger too (see
            `costs`).
    """
    ledger = session.run.ledger
    have = {row.context_id for row in ledger.self_edits(place)}
    total = sum(len(prompts[context.id]) for context in contexts)
    done = sum(len(prompts[context.id]) for context in contexts if context.id in have)
    with session.progress.task(f"writing ({place})", total=total, unit="texts", done=done) as task:
        for group in _groups(contexts, prompts):
            if all(context.id in have for context in group):
                continue
            session.interrupt.check()
            rows = _write_text_group(session, place, group, prompts, endpoint)
            task.advance(len(rows))
    return ledger.self_edits(place)


def _groups(contexts: Sequence[Context], prompts: Prompts) -> list[list[Context]]:
    """Contexts in order, together as long as they have at most `ROWS` prompts; those without any
    are left out.
    """
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


def _write_text_group(
    session: Session,
    place: Place,
    group: Sequence[Context],
    prompts: Prompts,
    endpoint: EndpointSettings | None,
) -> list[SelfEditRow]:
    parts = [(context, number) for context in group for number in range(len(prompts[context.id]))]
    texts = [prompts[context.id][number] for context, number in parts]
    named = f"{place.phase}:{place.method}"  # as seeds have always spelt it
    seeds = [
        derive(session.settings.seed, "write", named, context.id, number)
        for context, number in parts
    ]
    timings: list[TimingRow] = []
    bill: Bill | None = None
    with timed(timings, place, "sampling", len(parts)):
        if endpoint is None:
            written = _own(session, texts, seeds)
        else:
            written, bill = _ask_endpoint(
                session, endpoint, texts, seeds, [number for _, number in parts]
            )
    seconds = timings[0].seconds / len(parts)
    rows = [
        _written_row(place, *part, prompt, seed, seconds, text)
        for part, prompt, seed, text in zip(parts, texts, seeds, written, strict=True)
    ]
    with session.run.ledger.transaction():
        session.run.ledger.add_self_edits(rows, timings)
        if bill is not None:
            session.run.ledger.finish_step(
                f"bill {place} {group[0].id}", bill.as_dict() | {"for": named}
            )
    return rows


def _own(session: Session, texts: Sequence[str], seeds: Sequence[int]) -> list[_Written]:
    system = session.settings.edit.system if session.lm.has_chat else None
    done = sampled(session, [tuple(chat_prompt(session.lm, text, system)) for text in texts], seeds)
    return [_Written(one.text, len(one.ids), one.finish) for one in done]


def _ask_endpoint(
    session: Session,
    endpoint: EndpointSettings,
    texts: Sequence[str],
    seeds: Sequence[int],
    numbers: Sequence[int],
) -> tuple[list[_Written], Bill]:
    """What an endpoint writes; every reply is kept by its client before it is seen here, so a kill
    loses none.
    """
    edit = session.settings.edit
    chosen: Any = {
        "max_tokens": edit.max_new_tokens,
        "temperature": edit.temperature,
        "top_p": edit.top_p,
    }
    requests = [
        ask(text, system=edit.system, seed=seed % 2**31, sample=number, **chosen)
        for text, seed, number in zip(texts, seeds, numbers, strict=True)
    ]
    with EndpointClient(endpoint) as client:
        replies = client.replies(requests, session.interrupt.check)
        bill = client.bill
    written: list[_Written] = []
    for reply in replies:
        # Not every endpoint says how many tokens it wrote.
        tokens = reply.tokens_out or len(session.lm.encode(reply.text))
        written.append(_Written("" if reply.refused else reply.text, tokens, reply.finish))
    return written, bill


def costs(ledger: Ledger) -> dict[str, Any] | None:
    """What endpoints were asked in this run and what that cost, by phase; None where none was
    asked.

    Only what does not depend on how often the run was stopped: a reply kept from before has its
    price too.
    """
    by_phase: dict[str, dict[str, Any]] = {}
    for step in ledger.steps():
        if step.name.startswith("bill "):
            bill = json.loads(step.payload_json)
            sums = by_phase.setdefault(bill["for"], dict.fromkeys(_BILLED, 0))
            for name in _BILLED:
                sums[name] = None if None in (sums[name], bill[name]) else sums[name] + bill[name]
    return by_phase or None


def _written_row(
    place: Place,
    context: Context,
    number: int,
    prompt: str,
    seed: int,
    seconds: float,
    written: _Written,
) -> SelfEditRow:
    return SelfEditRow(
        place=place,
        context_id=context.id,
        candidate=number,
        text=written.text,
        prompt_hash=fingerprint(prompt),
        seed=seed,
        tokens=written.tokens,
        seconds=seconds,
        finish=written.finish,
        rejected=None if written.text.strip() else "nothing in it to train on",
    )
