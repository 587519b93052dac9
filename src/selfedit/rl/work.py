"""What a run's parts cost: tokens that are trained and written, questions that are answered, with
the seconds of each on two cores.

The prices are those of SmolLM2-135M in float32. Lengths are means: a passage's by its words, a
self-edit's by the limit on its tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from selfedit.config import Settings
from selfedit.results.tabular import Cell, Column, Table
from selfedit.tasks.task import Context

SECONDS = {
    "start": 40.0,  # loading the model here and in the workers, results and pictures
    "trained": 0.0031,  # a token through an inner loop, forward and backward
    "full": 0.0045,  # a token through full finetuning
    "policy": 0.0038,  # a token through the M-step
    "written": 0.0107,  # a token of a self-edit, sampled with others
    "begun": 0.0107,  # a token of a text that begins from nothing, many of them together
    "answered": 0.1,  # a question
    "read": 0.0012,  # a token of a text whose loss is measured
    "mstep": 10.0,  # the rest of an M-step: merging and storing the policy
}
"""Seconds of each unit of work."""

TOKENS_A_WORD = 1.4
"""Of SmolLM2's tokenizer on the project's passages."""
WRITTEN_SHARE = 0.7
"""How long a self-edit is on average, as a share of the limit."""
LINES_SHARE = 1.35
"""Tokens trained for each that was written: every line stands under its passage's title."""
PROMPT = 90
"""Tokens of a prompt for a self-edit besides the passage."""
GOLD_TURN = 45
"""Tokens of a question with its answer, as a turn to train on."""
LINES = 6
"""Lines of a self-edit, for credit by line."""


@dataclass(frozen=True)
class WorkPart:
    """One part of a run: how often something is done, and the seconds of all of it."""

    name: str
    count: int
    unit: str
    seconds: float


@dataclass(frozen=True)
class Passages:
    """So many passages of a mean length with a mean number of questions."""

    count: int
    tokens: float
    questions: float

    @classmethod
    def of(cls, contexts: Sequence[Context], count: int | None = None) -> Passages:
        """These, or so many with their means."""
        if not contexts:
            return cls(0, 0.0, 0.0)
        words = sum(len(context.text.split()) for context in contexts) / len(contexts)
        questions = sum(len(context.questions) for context in contexts) / len(contexts)
        return cls(len(contexts) if count is None else count, TOKENS_A_WORD * words, questions)


class Prices:
    """Parts of a run with these settings.

    Args:
        settings: the run's.
        seconds: of each unit of work; `SECONDS`, where nothing was measured.
    """

    def __init__(self, settings: Settings, seconds: Mapping[str, float] = SECONDS) -> None:
        self.settings, self.seconds = settings, seconds
        self.edit_tokens = WRITTEN_SHARE * settings.edit.max_new_tokens

    def writing(self, name: str, count: int) -> WorkPart:
        """So many self-edits, or texts as long, are sampled."""
        return WorkPart(
            f"{name}: writing", count, "texts", count * self.edit_tokens * self.seconds["written"]
        )

    def loops(
        self,
        name: str,
        passages: Passages,
        count: int,
        *,
        edited: bool = True,
        gold: bool = False,
        more_questions: float = 0.0,
    ) -> WorkPart:
        """So many inner loops, each on a passage and what else it trains on, with its questions."""
        tokens = passages.tokens if self.settings.edit.passage else 0.0
        tokens += LINES_SHARE * self.edit_tokens if edited else 0.0
        tokens += GOLD_TURN * passages.questions if gold else 0.0
        trained = tokens * self.settings.inner.optim.epochs * self.seconds["trained"]
        answering = (passages.questions + more_questions) * self.seconds["answered"]
        return WorkPart(name, count, "inner loops", count * (trained + answering))

    def answers(self, name: str, count: float) -> WorkPart:
        """So many questions are put to a model as it is."""
        return WorkPart(name, round(count), "answers", count * self.seconds["answered"])

    def documents(self, name: str, tokens: float) -> WorkPart:
        """Continued pretraining on so many tokens."""
        cpt, inner = self.settings.cpt, self.settings.inner.optim
        full = cpt.update == "full"
        epochs = cpt.full.optim.epochs if full else inner.epochs
        price = self.seconds["full" if full else "trained"]
        return WorkPart(
            f"{name}: training", round(tokens * epochs), "tokens", tokens * epochs * price
        )

    def mstep(self, name: str, passages: Passages, edits: int) -> WorkPart:
        """The policy learns from so many self-edits of these passages."""
        one = PROMPT + passages.tokens + self.edit_tokens
        epochs = self.settings.rl.mstep.optim.epochs
        seconds = self.seconds["mstep"] + edits * epochs * one * self.seconds["policy"]
        return WorkPart(f"{name}: the policy learns", edits, "self-edits", seconds)

    def movement(self, name: str, heldout: bool) -> WorkPart:
        """Two policies are held against each other: what each writes, and what the new one samples,
        on the round's prompts and on held-out ones.
        """
        prompts = min(self.settings.rl.movement.prompts, self.settings.rl.contexts)
        texts = 3 * prompts * (2 if heldout else 1)
        return self.writing(f"{name}: did the policy move?", texts)


@dataclass(frozen=True)
class WorkEstimate:
    """The parts of a run, and the seconds of its start."""

    parts: tuple[WorkPart, ...]
    start: float = SECONDS["start"]
    machine: str = "two cores"

    @property
    def seconds(self) -> float:
        """Of all of them, and of the start."""
        return self.start + sum(part.seconds for part in self.parts)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"parts": [asdict(part) for part in self.parts], "seconds": self.seconds}

    def table(self) -> Table:
        """For a terminal."""
        rows: list[list[Cell]] = []
        for part in self.parts:
            rows.append([part.name, part.count, part.unit, part.seconds / 60])
        rows.append(["all", "", "", self.seconds / 60])
        columns = ["part", "count", "of", Column(f"minutes on {self.machine}", "number1")]
        return Table.make("", columns, rows)
