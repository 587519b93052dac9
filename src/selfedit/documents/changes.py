"""What has changed in what a model recalls, as results keep it."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict

from selfedit.grading.stats import EstimateDict, PairedDict


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
