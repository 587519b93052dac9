"""Self-edits from outside: put where the model's own are, from a file or from an endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from selfedit.config import Settings
from selfedit.errors import UsageError
from selfedit.experiments.knowledge.writing import write_texts
from selfedit.rl.session import Session
from selfedit.run.records import Place, SelfEditRow
from selfedit.storage.files import fingerprint
from selfedit.tasks.knowledge.formats import edit_request
from selfedit.tasks.knowledge.written import read_self_edits
from selfedit.tasks.task import Context


def write_external(
    session: Session, place: Place, contexts: Sequence[Context], samples: int
) -> list[SelfEditRow]:
    """The self-edits of the method ``external``: from its file, or asked for as the model's own
    are, of an endpoint.
    """
    external, edit = session.settings.external, session.settings.edit
    if external.file is not None:
        return store_written(
            session, place, contexts, read_self_edits(external.file).of(contexts, samples)
        )
    prompts = {context.id: [edit_request(context, edit, True)] * samples for context in contexts}
    return write_texts(session, place, contexts, prompts, external.endpoint)


def check_external(
    settings: Settings, contexts: Sequence[Context], samples: int, where: str
) -> dict[str, str]:
    """What is to be hashed of an external writer's material, once it is known that there is enough.

    Raises:
        UsageError: neither a file nor an endpoint's model is named.
        DataError, FormatError: the file has not what is needed.
    """
    external = settings.external
    if external.file is None and external.endpoint.model is None:
        fix = (
            "set external.file to a file of self-edits, or external.endpoint.model, or leave the"
            f" method out of {where}"
        )
        raise UsageError("the method 'external' has no writer", where="external", fix=fix)
    if external.file is None:
        return {}
    file = read_self_edits(external.file)
    file.of(contexts, samples)
    return {"external": file.sha256}


def store_written(
    session: Session, place: Place, contexts: Sequence[Context], texts: Mapping[str, Sequence[str]]
) -> list[SelfEditRow]:
    """Put self-edits from outside into the ledger, once, where the model's own are."""
    ledger = session.run.ledger
    have = {(row.context_id, row.candidate) for row in ledger.self_edits(place)}
    rows = [
        _external_row(session, place, context, candidate, text)
        for context in contexts
        for candidate, text in enumerate(texts[context.id])
        if (context.id, candidate) not in have
    ]
    if rows:
        ledger.add_self_edits(rows)
    return ledger.self_edits(place)


def _external_row(
    session: Session, place: Place, context: Context, candidate: int, text: str
) -> SelfEditRow:
    return SelfEditRow(
        place=place,
        context_id=context.id,
        candidate=candidate,
        text=text,
        prompt_hash=fingerprint([]),
        seed=0,
        tokens=len(session.lm.encode(text)),
        seconds=0.0,
        finish="stop",
        rejected="nothing in it to train on" if session.task.parse(text).empty else None,
    )
