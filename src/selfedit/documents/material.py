"""What is trained on of documents: the passages, the model's self-edits of them as far as the
passages support them, and questions to the facts that stand in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from selfedit.config import DocumentSettings
from selfedit.documents.facts import FactRecord, learned_facts
from selfedit.rl.sample import sample
from selfedit.rl.session import Session
from selfedit.run.records import Phase, Place, SelfEditRow
from selfedit.tasks.knowledge.directives import combined
from selfedit.tasks.knowledge.edits import Directives, ParsedEdit
from selfedit.tasks.knowledge.support import DroppedLine, passage_sentences, supported_edit
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context

PLACE = Place(Phase.ADAPT)


@dataclass(frozen=True)
class PassageMaterial:
    """What is trained on of one passage, besides the passage itself.

    Attributes:
        context: the passage.
        edit: lines and questions.
        dropped: sentences of its self-edits that are not trained on, and why.
    """

    context: Context
    edit: ParsedEdit
    dropped: tuple[DroppedLine, ...] = ()


def document_material(
    session: Session[KnowledgeTask], contexts: Sequence[Context], samples: int
) -> tuple[list[PassageMaterial], Directives]:
    """The material of every passage, its self-edits sampled first, and what they together ask of
    the training.
    """
    written: dict[str, list[SelfEditRow]] = {context.id: [] for context in contexts}
    for row in sample(session, PLACE, contexts, samples) if samples else []:
        written[row.context_id].append(row)
    task, chosen = session.task, session.settings.documents
    # One training for all: what single self-edits ask of theirs is put together.
    together = combined(
        [task.parse(row.text).directives for rows in written.values() for row in rows]
    )
    facts = learned_facts(session, contexts)
    material: list[PassageMaterial] = []
    for context in contexts:
        edit, dropped = _merged(task, context, written[context.id], chosen)
        edit = _with_own_words(context, edit, facts[context.id], chosen)
        material.append(PassageMaterial(context, replace(edit, directives=together), dropped))
    return material, together


def _merged(
    task: KnowledgeTask, context: Context, rows: Sequence[SelfEditRow], chosen: DocumentSettings
) -> tuple[ParsedEdit, tuple[DroppedLine, ...]]:
    """A passage's self-edits as one, every line and pair once, without what is not supported."""
    lines: dict[str, None] = {}
    pairs: dict[tuple[str, str], None] = {}
    dropped: dict[DroppedLine, None] = {}
    for row in rows:
        edit = task.parse(row.text)
        # Before lines are merged: whether one was cut off is known here alone.
        if chosen.support:
            edit, left_out = supported_edit(context, edit, cut_off=row.finish == "length")
            dropped.update(dict.fromkeys(left_out))
        lines.update(dict.fromkeys(edit.lines))
        pairs.update(dict.fromkeys(edit.pairs))
    return ParsedEdit(tuple(lines), tuple(pairs)), tuple(dropped)


def _with_own_words(
    context: Context, edit: ParsedEdit, facts: Sequence[FactRecord], chosen: DocumentSettings
) -> ParsedEdit:
    """With the passage's own sentences, and questions to its facts."""
    sentences = passage_sentences(context) if chosen.sentences else ()
    pairs = [(question, fact["answers"][0]) for fact in facts for question in fact["trained"]]
    lines = tuple(dict.fromkeys((*sentences, *edit.lines)))
    return replace(edit, lines=lines, bare=tuple(dict.fromkeys(pairs)))
