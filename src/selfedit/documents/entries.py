"""What ``library.json`` says: the documents a library knows, and what is recalled of each. Read
without a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NotRequired

from pydantic import BaseModel, StringConstraints
from typing_extensions import TypedDict

from selfedit.errors import ModelFileError
from selfedit.grading.stats import EstimateDict, PairedDict
from selfedit.storage.bounded import BoundedReader

STATE = "library.json"


class Change(TypedDict):
    """A measure before and after, and the difference paired over passages."""

    before: EstimateDict
    after: EstimateDict
    paired: PairedDict


class Recalled(TypedDict):
    """What is recalled of documents before and after they were learned: their questions where there
    are any, their own tokens, a text that has nothing to do with them.
    """

    accuracy: NotRequired[Change]
    loss: Change
    general_loss: Change


@dataclass(frozen=True)
class Entry:
    """What the library knows of a document.

    Attributes:
        name: the document's.
        version: hash of what it said when it was learned.
        adapter: folder of its adapter, within the library.
        passages: how many.
        recall: what is recalled of it, before and after it was learned: ``accuracy`` (where there
            are questions), ``loss`` and ``general_loss`` as `adapt_documents` measures them.
    """

    name: str
    version: str
    adapter: Annotated[str, StringConstraints(pattern=r"^documents/[a-z0-9-]+$")]
    passages: int
    recall: Recalled


class _State(BaseModel):
    """What ``library.json`` holds."""

    model: str
    documents: list[Entry]


_STATE = BoundedReader(
    "the library's state",
    error=ModelFileError,
    fix="remove it: the next `selfedit adapt --library` makes it anew from the documents",
)


def read_library(folder: str | Path) -> list[Entry]:
    """The documents a library knows, by name; none for a library that has just been begun.

    Raises:
        ModelFileError: ``library.json`` cannot be read.
    """
    return read_state(folder).documents if is_library(folder) else []


def read_state(folder: str | Path) -> _State:
    """What the file of a library holds.

    Raises:
        ModelFileError: it cannot be read.
    """
    path = Path(folder) / STATE
    return _STATE.shape(_STATE.json(path), _State, path)


def is_library(folder: str | Path) -> bool:
    """Whether a folder is a library of documents."""
    return (Path(folder) / STATE).exists()
