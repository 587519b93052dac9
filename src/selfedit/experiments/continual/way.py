"""What the steps of continual edits share: plan, remedies, and where adapters are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from selfedit.errors import RunFolderError
from selfedit.lm.lora import Adapter
from selfedit.retention.learner import Edit
from selfedit.retention.remedies.base import Remedies
from selfedit.rl.session import Session
from selfedit.run.records import Phase, Place
from selfedit.storage.files import folder_atomic, hash_folder
from selfedit.tasks.knowledge.edits import ParsedEdit
from selfedit.tasks.knowledge.task import KnowledgeTask
from selfedit.tasks.task import Context

KIND = "continual"


@dataclass(frozen=True)
class Setting:
    """What all of a run's steps share.

    Attributes:
        session: the run and the model, whose weights stay as they are.
        plan: the passages of each sequence, in order.
        probes: passages, or facts, that are never edited.
    """

    session: Session[KnowledgeTask]
    plan: list[list[Context]]
    probes: list[Context]


@dataclass(frozen=True)
class Way:
    """One set of remedies, by its name."""

    name: str
    remedies: Remedies

    def place(self, step: int) -> Place:
        """Where a step's self-edits are in the ledger; a candidate is a sequence's number."""
        return Place(Phase.CONTINUAL, self.name, step)

    def step_name(self, group: int, step: int) -> str:
        """What the ledger calls a finished step of a group of sequences."""
        return f"{self.name}/group-{group}/step-{step}"


def adapters_folder(setting: Setting, way: Way, number: int) -> Path:
    """Where a sequence's adapters are."""
    return setting.session.run.adapters / way.name / f"sequence-{number}"


def keep_adapter(setting: Setting, way: Way, number: int, step: int, adapter: Adapter) -> str:
    """Store a step's adapter; returns its hash."""
    folder = adapters_folder(setting, way, number) / f"step-{step}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_atomic(folder) as new:
        adapter.save(new)
    return hash_folder(folder)


def kept_adapter(setting: Setting, way: Way, number: int, step: int, digest: str) -> Adapter:
    """A finished step's adapter, read from its file.

    Raises:
        RunFolderError: it is not the one that was stored.
    """
    folder = adapters_folder(setting, way, number) / f"step-{step}"
    if not folder.exists() or hash_folder(folder) != digest:
        raise RunFolderError(
            "the adapter of a finished step is not the one this run made: a file is missing or"
            " altered",
            where=folder,
            fix="put the folder back from a copy, or start in a new one",
        )
    adapter = Adapter.load(folder)
    adapter.base = setting.session.lm.name
    return adapter


def edit_of(
    setting: Setting, context: Context, edit: ParsedEdit, adapter: Adapter, factor: float
) -> Edit:
    """An edit as a learner remembers it: its words, what it was trained on, its adapter."""
    pairs = [f"{question} {answer}" for question, answer in edit.pairs]
    text = "\n".join([context.title, context.text, *edit.lines, *pairs])
    return Edit(text, tuple(setting.session.task.sequences(context, edit)), adapter, factor)
