"""Measure, learn, measure again: what a run on documents finds, as ``results.json`` has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NotRequired, get_args

from typing_extensions import TypedDict

from selfedit.config import Settings
from selfedit.documents.answers import AskedRecord, asked_records
from selfedit.documents.changes import Change
from selfedit.documents.known_language import LanguageRecord, tell_languages
from selfedit.documents.material import PassageMaterial, document_material
from selfedit.documents.measuring import answered, answers_in_prompt, measured
from selfedit.documents.recall import RecallRecord, compared
from selfedit.documents.tables import NAMES, TITLE, document_tables, verdict_rows
from selfedit.documents.training import train_adapter
from selfedit.documents.verdict import Circumstances, DocumentVerdict, verdict_of
from selfedit.rl.session import Session
from selfedit.run.progress import ProgressTask
from selfedit.storage.files import JsonObject
from selfedit.tasks.knowledge.folder import SkippedRecord
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context

KIND = "adapt"
_SETTINGS = (
    "model", "prompting", "device", "dtype", "seed", "task", "edit", "inner", "answer", "documents",
    "retention",
)  # fmt: skip


Phase = Literal["questions", "before", "in the prompt", "material", "training", "after"]
PHASES: tuple[Phase, ...] = get_args(Phase)
"""Questions made, asked, asked with the passage, material written, trained, asked again."""


class PhaseBar:
    """One bar over all phases, in per cent of a run: each is as long as it is expected to be."""

    def __init__(self, task: ProgressTask, percents: Sequence[int]) -> None:
        self._task = task
        self._left = list(zip(PHASES, percents, strict=True))

    def finish(self, phase: Phase) -> None:
        """Say that a phase is done; the phases end in their order."""
        # A phase that is passed over would leave the bar short for good.
        name, percent = self._left.pop(0)
        if name != phase:
            raise ValueError(f"{phase} ends before {name}")
        following = self._left[0][0] if self._left else ""
        self._task.advance(percent, note=f"next: {following}" if following else "")


class AdaptResults(TypedDict):
    """What is written to ``results.json``.

    Keys:
        experiment: ``adapt``.
        passages, sequences, tokens: how many there were to learn, and were trained on.
        skipped: files of the folders that were left out, each with its reason.
        languages: of the passages, where they are not all English, and how well the model knows
            them.
        accuracy, loss, general_loss: what is recalled, on questions where there are any (by
            passage), the passages' own tokens, and a text that has nothing to do with them.
        verdict: what that comes to, its sentences among it.
        answers: every question with its answers.
        title, names, rows, tables, notes: the same as a report shows it
            (`selfedit.results.results`).
        model, grader, data, settings: where the numbers come from.
    """

    experiment: str
    passages: int
    sequences: int
    tokens: int
    skipped: NotRequired[list[SkippedRecord]]
    languages: NotRequired[list[LanguageRecord]]
    accuracy: NotRequired[Change]
    loss: Change
    general_loss: Change
    verdict: DocumentVerdict
    answers: list[AskedRecord]
    title: str
    names: dict[str, str]
    rows: list[JsonObject]
    paired: list[JsonObject]
    tables: list[JsonObject]
    notes: list[str]
    model: dict[str, str]
    grader: str
    data: dict[str, str]
    settings: JsonObject


def used_settings(settings: Settings) -> JsonObject:
    """The settings that a run on documents depends on."""
    return settings.model_dump(mode="json", include=set(_SETTINGS))


def learn_documents(
    session: Session[KnowledgeTask],
    contexts: Sequence[Context],
    probes: Sequence[Context],
    covered: float | None,
    hashes: dict[str, str],
    samples: int,
    phases: PhaseBar,
) -> AdaptResults:
    """Measure, train, measure again; ``phases`` is told at the end of each of them."""
    languages = tell_languages(session, contexts)
    before = measured(session, "before", contexts, None, probes)
    phases.finish("before")
    in_prompt = answers_in_prompt(session, probes)
    phases.finish("in the prompt")
    material, directives = document_material(session, contexts, samples)
    phases.finish("material")
    adapter = train_adapter(session, material, directives)
    phases.finish("training")
    after = measured(session, "after", contexts, adapter, probes, before["known"])
    phases.finish("after")
    questions = {q.id: (q.text, q.answers) for context in probes for q in context.questions}
    records = asked_records(questions, answered(before), answered(after), in_prompt)
    general = compared(before["general"], after["general"])
    known = (len(before["known"]), len(after["known"]))
    verdict = verdict_of(records, general, known, covered, _circumstances(session, material))
    training = session.run.ledger.step("adapter") or {}
    results: AdaptResults = {
        "experiment": KIND,
        "passages": len(contexts),
        "sequences": training["sequences"],
        "tokens": training["tokens"],
        "loss": compared(before["loss"], after["loss"]),
        "general_loss": general,
        "verdict": verdict,
        "answers": records,
        "title": TITLE,
        "names": NAMES,
        "rows": [row.as_dict() for row in verdict_rows(verdict)],
        "paired": [],
        "tables": [table.as_dict() for table in document_tables(material, records)],
        "notes": verdict["words"],
        "model": {"name": session.settings.model, "fingerprint": session.lm.fingerprint},
        "grader": session.settings.answer.grader,
        "data": hashes,
        "settings": used_settings(session.settings),
    }
    if languages:
        results["languages"] = languages
    return _with_accuracy(results, before, after)


def _with_accuracy(
    results: AdaptResults, before: RecallRecord, after: RecallRecord
) -> AdaptResults:
    # As means over passages, as every other accuracy here.
    # Plain documents may have no questions, and a judge may come to no verdict at all.
    if before["accuracy"] and after["accuracy"]:
        results["accuracy"] = compared(before["accuracy"], after["accuracy"])
    return results


def _circumstances(
    session: Session[KnowledgeTask], material: Sequence[PassageMaterial]
) -> Circumstances:
    dropped = sum(len(each.dropped) for each in material)
    kept = sum(len(each.edit.lines) + len(each.edit.pairs) for each in material)
    parameters = sum(weight.numel() for weight in session.lm.model.parameters())
    return Circumstances(kept + dropped, dropped, parameters)
