"""Pseudorehearsal: what the model wrote of its own accord before it was edited, held to what it
predicted then.

Robins 1995 ("Catastrophic forgetting, rehearsal and pseudorehearsal"); for large language models
self-synthesized rehearsal (Huang et al. 2024, arXiv 2403.01244). Replay needs what was taught, this
needs nothing but the model, and keeps what no edit was ever about. Two thirds of the texts begin
from nothing; the others are conversations, the user's side written by the model too, from its chat
template up to where the user speaks (Magpie, Xu et al. 2024, arXiv 2406.08464): a model that
forgets how to do as it is told writes worse self-edits. Beside them, where
``retention.pseudorehearsal.questions`` says so, everyday questions with its likeliest answers: what
is asked shortly of a passage is learned, and else spreads to all that is asked shortly.

The texts carry KL(unedited model ‖ model) alone, not a next-token loss: a sample is to be predicted
as it was before, not to be learned by heart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from selfedit.config.retention import PseudorehearsalSettings
from selfedit.errors import UsageError
from selfedit.inner.job import TrainSequence
from selfedit.lm.chat import chat_prompt, chat_turns, user_opening
from selfedit.lm.generate import Completion, generate
from selfedit.lm.load import LanguageModel
from selfedit.retention.remedies.base import EditBatch, OwnText, Remedy, Setup
from selfedit.retention.remedies.replay import sample_items
from selfedit.retention.self_teaching import taught_by_itself
from selfedit.run.seeds import derive
from selfedit.tasks.knowledge.task import KnowledgeTask

TOP_P = 0.95


def write_own_texts(
    task: KnowledgeTask, settings: PseudorehearsalSettings, seed: int
) -> list[OwnText]:
    """What the unedited model writes: texts from nothing and conversations, of which the reply is
    held.

    A model without a chat template writes no conversations.
    """
    lm = task.lm
    chats = settings.texts // 3 if lm.has_chat else 0
    plain = _sample(lm, [lm.text_start] * (settings.texts - chats), settings.tokens, seed, "text")
    texts: list[OwnText] = [
        ([*completion.ids, *[lm.end_id] * (completion.finish == "stop")], 1) for completion in plain
    ]
    openings = [user_opening(lm)] * chats if chats else []
    questions = [
        completion.text for completion in _sample(lm, openings, settings.tokens, seed, "question")
    ]
    replies = _sample(lm, questions, settings.tokens, seed, "reply")
    talks = [
        _held(*chat_turns(lm, [(q, completion.text)]))
        for q, completion in zip(questions, replies, strict=True)
    ]
    talks += _everyday(task, settings) if lm.has_chat else []
    return [(ids, start) for ids, start in [*texts, *talks] if start < len(ids)]


def _everyday(task: KnowledgeTask, settings: PseudorehearsalSettings) -> list[OwnText]:
    """Everyday questions, asked as passages' are or as any chat asks, with the likeliest answer."""
    lines = Path(__file__).parents[1].joinpath("questions.txt").read_text(encoding="utf-8")
    questions = enumerate(lines.splitlines()[: settings.questions])
    turns = [task.turn(None if number % 2 else "", line) for number, line in questions]
    prompts = [chat_prompt(task.lm, *each) for each in turns]
    replies = generate(task.lm, prompts, max_new_tokens=settings.tokens)
    talks = zip(turns, replies, strict=True)
    return [_held(*chat_turns(task.lm, [(text, r.text)], system)) for (text, system), r in talks]


def _sample(
    lm: LanguageModel, prompts: Sequence[str | Sequence[int]], tokens: int, seed: int, kind: str
) -> list[Completion]:
    seeds = [derive(seed, "pseudorehearsal", kind, number) for number in range(len(prompts))]
    return generate(lm, prompts, max_new_tokens=tokens, temperature=1.0, top_p=TOP_P, seeds=seeds)


def _held(ids: Sequence[int], loss: Sequence[bool]) -> OwnText:
    """A finished turn from its beginning to the end of the reply."""
    end = max(position for position, carries in enumerate(loss) if carries)
    return list(ids[: end + 1]), list(loss).index(True)


def own_sequences(
    lm: LanguageModel, texts: Sequence[OwnText], weight: float
) -> list[TrainSequence]:
    """The texts as training sequences whose only loss is the unedited model's, with this weight."""
    bare = []
    for ids, start in texts:
        loss = tuple(position >= start for position in range(len(ids)))
        bare.append(TrainSequence(tuple(ids), loss))
    return [replace(s, weight=0.0) for s in taught_by_itself(lm, bare, [None] * len(bare), weight)]


class Pseudorehearsal(Remedy):
    """The own texts are mixed in, ``retention.pseudorehearsal.share`` of them for each new
    sequence.

    Raises:
        UsageError: there are no own texts.
    """

    turn = 40
    wants_own_texts = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if not self.own_texts:
            raise UsageError(
                "pseudorehearsal needs texts of the unedited model", fix="give write_own_texts(…)"
            )

    @cached_property
    def rehearsed(self) -> list[TrainSequence]:
        """The own texts with their teacher; read by the model at the first edit, not where all
        edits are stored.
        """
        return own_sequences(self.task.lm, self.own_texts, self.settings.pseudorehearsal.weight)

    def change(self, batch: EditBatch) -> None:
        """See `Remedy`."""
        for number, edit in enumerate(batch.edits):
            count = math.ceil(self.settings.pseudorehearsal.share * len(batch.new[number]))
            batch.mixed[number] += sample_items(
                self.rehearsed, count, derive(edit.seed, "pseudorehearsal")
            )


REMEDY = Pseudorehearsal
